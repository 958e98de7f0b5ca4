using System.Text.Json;
using System.Text.Json.Serialization;
using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.DataPlane.Storage;
using SiteRecovery.Domain.History;

namespace SiteRecovery.DataPlane.Retention;

/// <param name="ContinuesAfter">The epoch whose whole log it continues, with a gap; null: it forks.</param>
public sealed record EpochRecord(int Epoch, int ForkedFromEpoch, long ForkedFromSequence, DateTimeOffset OpenedAt, int? ContinuesAfter = null);

/// <param name="Base">Absolute path of a raw file with the disk's state before the log; null: zeroes.</param>
public sealed record DiskRecord(ushort Index, string Name, long SizeBytes, string? Base = null);

/// <summary>The oldest position that the store keeps: what was logged up to the end of a segment is in the base.</summary>
/// <param name="Epoch">That of the frames behind it.</param>
/// <param name="Encrypted">Some of it, or all, is in the encrypted images.</param>
public sealed record PromotedRecord(int Segment, int Epoch, long Sequence, DateTimeOffset At, PointKind Kind, string? Label, StreamPosition Held, DateTimeOffset CurrentAsOf, bool? Encrypted = null)
{
    internal RecoveryPoint Point => new(new Epoch(Epoch), new Sequence(Sequence), At, Kind, Label);
}

/// <summary>MANIFEST.json; the current epoch is the last one.</summary>
/// <param name="Thinned">There are segments that stand for others, or were on their way: a reader of version 3 would not know them.</param>
/// <param name="Encrypted">Whether what is appended from here on is encrypted; null: nothing ever was.</param>
/// <param name="Promoting">Segments up to it are on their way into the base: no position in them is viewable any more.</param>
public sealed record StoreManifest(
    int Version, string Machine, IReadOnlyList<DiskRecord> Disks, int BlockSize, IReadOnlyList<EpochRecord> Epochs, PromotedRecord? Promoted = null, int? Promoting = null,
    bool? Thinned = null, bool? Encrypted = null)
{
    public const string FileName = "MANIFEST.json";
    /// <summary>1: the first. 2: bases and continued epochs, which a reader of version 1 would pass over and show wrong bytes. 3: promotion, likewise. 4: thinning, likewise. 5: encryption.</summary>
    public const int FirstVersion = 1, CurrentVersion = 5;

    /// <summary>Each epoch comes from one before it: from itself or a later one there would be no end to what a view is made of.</summary>
    private bool HasLines()
    {
        var before = 0;
        foreach (var epoch in Epochs)
        {
            if (epoch is null || epoch.Epoch <= before || epoch.ForkedFromEpoch < 0 || epoch.ForkedFromEpoch >= epoch.Epoch || epoch.ContinuesAfter is { } after && (after < 0 || after >= epoch.Epoch)) return false;
            before = epoch.Epoch;
        }
        return true;
    }

    public byte[] ToBytes() => SealedJson.Seal(JsonSerializer.SerializeToUtf8Bytes(this, StoreManifestJson.Default.StoreManifest));

    /// <summary>With the lowest version that says all of it.</summary>
    internal StoreManifest Versioned() =>
        this with
        {
            Version = Encrypted is not null ? CurrentVersion : Thinned is not null ? 4 : Promoted is not null || Promoting is not null ? 3 : Disks.Any(d => d.Base is not null) || Epochs.Any(e => e.ContinuesAfter is not null) ? 2 : FirstVersion,
        };

    public static StoreManifest Parse(byte[] bytes)
    {
        try
        {
            var manifest = JsonSerializer.Deserialize(SealedJson.Open(bytes), StoreManifestJson.Default.StoreManifest);
            if (manifest is not { Version: >= FirstVersion and <= CurrentVersion, Epochs.Count: > 0, Disks: not null, Machine: not null })
                throw new InvalidDataException("the store's manifest is of an unknown version or incomplete");
            if (manifest.Disks.Any(d => d is not { Name: not null, SizeBytes: >= 0 }) || !manifest.HasLines()) throw new InvalidDataException("the store's manifest is damaged: its disks or its epochs cannot be");
            return manifest;
        }
        catch (JsonException damage)
        {
            throw new InvalidDataException("the store's manifest is damaged: " + damage.Message, damage);
        }
    }
}

[JsonSourceGenerationOptions(WriteIndented = true, PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase, DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull, UnmappedMemberHandling = JsonUnmappedMemberHandling.Disallow)]
[JsonSerializable(typeof(StoreManifest))]
internal sealed partial class StoreManifestJson : JsonSerializerContext;
