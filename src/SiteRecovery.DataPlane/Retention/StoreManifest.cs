using System.Text.Json;
using System.Text.Json.Serialization;

namespace SiteRecovery.DataPlane.Retention;

public sealed record EpochRecord(int Epoch, int ForkedFromEpoch, long ForkedFromSequence, DateTimeOffset OpenedAt);

public sealed record DiskRecord(ushort Index, string Name, long SizeBytes);

/// <summary>MANIFEST.json; the current epoch is the last one.</summary>
public sealed record StoreManifest(int Version, string Machine, IReadOnlyList<DiskRecord> Disks, int BlockSize, IReadOnlyList<EpochRecord> Epochs)
{
    public const string FileName = "MANIFEST.json";
    public const int CurrentVersion = 1;

    public byte[] ToBytes() => JsonSerializer.SerializeToUtf8Bytes(this, StoreManifestJson.Default.StoreManifest);

    public static StoreManifest Parse(ReadOnlySpan<byte> bytes)
    {
        try
        {
            var manifest = JsonSerializer.Deserialize(bytes, StoreManifestJson.Default.StoreManifest);
            if (manifest is not { Version: CurrentVersion, Epochs.Count: > 0, Disks: not null, Machine: not null })
                throw new InvalidDataException("the store's manifest is of an unknown version or incomplete");
            return manifest;
        }
        catch (JsonException damage)
        {
            throw new InvalidDataException("the store's manifest is damaged: " + damage.Message, damage);
        }
    }
}

[JsonSourceGenerationOptions(WriteIndented = true, PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase)]
[JsonSerializable(typeof(StoreManifest))]
internal sealed partial class StoreManifestJson : JsonSerializerContext;
