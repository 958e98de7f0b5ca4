using System.Text.Json;
using System.Text.Json.Serialization;
using SiteRecovery.DataPlane.Storage;

namespace SiteRecovery.DataPlane.Capture;

/// <summary>
/// capture.json: what a machine's capture must know for sure after any crash; and, since one bad sector would keep the machine from its disks, capture.copy, which is never older.
/// </summary>
internal sealed record CaptureState
{
    public int Epoch { get; init; }
    public bool Fenced { get; init; }
    /// <summary>A planned failover is moving the machine away.</summary>
    public bool Frozen { get; init; }
    /// <summary>And has promised to stay so, however long it hears nothing.</summary>
    public bool Held { get; init; }
    /// <summary>For the drain of this round: no order of one before it ends that.</summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingDefault)] // an agent of before would not take the file
    public int FrozenRound { get; init; }
    /// <summary>The drain of this round, and any before it, is over: nothing was heard for too long.</summary>
    public int LapsedRound { get; init; }
    /// <summary>The boot of the host in which the machine was last known to be at home here.</summary>
    public string? BootId { get; init; }
    public long Incarnation { get; init; }
    /// <summary>No sequence at or below it is given out again, unless <see cref="CleanAt"/> says where the last run ended.</summary>
    public long Reserved { get; init; }
    public long? CleanAt { get; init; }
    /// <summary>A lower bound of what the target has said is durable in this epoch: less than that later is a loss.</summary>
    public long Durable { get; init; }
    public bool EverSynchronized { get; init; }
    public bool Synchronizing { get; init; }
    public bool Paused { get; init; }
    /// <summary>The boot of the host in which a flush of a disk failed: what the disk shows since then it may forget, at the latest with its power.</summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] // an agent of before would not take the file
    public string? FlushFailedIn { get; init; }

    /// <summary>Null where there is none.</summary>
    /// <exception cref="IOException">Neither of the two can be read.</exception>
    /// <exception cref="JsonException">What is there is damaged, and so is its copy.</exception>
    public static CaptureState? TryLoad(IFileSystem files, string path)
    {
        try
        {
            // One that is not there while its copy is has been lost: it is written behind the copy. Where that cannot be read either, the first of all saves ended between the two, and nothing had been told.
            return Read(files, path) ?? TryReadCopy(files, path);
        }
        catch (Exception lost) when (lost is IOException or JsonException && TryReadCopy(files, path) is not null)
        {
            return TryReadCopy(files, path);
        }
    }

    /// <summary>Durable when it returns.</summary>
    public void Save(IFileSystem files, string path)
    {
        var stored = SealedJson.Seal(JsonSerializer.SerializeToUtf8Bytes(this, CaptureJson.Default.CaptureState));
        // First: where only it was written, it says what was to be, and nobody has been told that.
        files.Replace(CopyOf(path), stored);
        files.Replace(path, stored);
    }

    private static string CopyOf(string path) => Path.ChangeExtension(path, ".copy");

    private static CaptureState? TryReadCopy(IFileSystem files, string path)
    {
        try
        {
            return Read(files, CopyOf(path));
        }
        catch (Exception lost) when (lost is IOException or JsonException)
        {
            return null;
        }
    }

    private static CaptureState? Read(IFileSystem files, string path)
    {
        var bytes = files.TryReadAll(path);
        try
        {
            return bytes is null ? null : JsonSerializer.Deserialize(SealedJson.Open(bytes), CaptureJson.Default.CaptureState);
        }
        catch (Exception damage) when (damage is InvalidDataException or JsonException)
        {
            throw new JsonException($"{path}: {damage.Message}; nobody knows whether the machine is fenced here, so it does not get its disks: fail it over, or disable its protection and protect it anew", damage);
        }
    }
}

[JsonSourceGenerationOptions(UnmappedMemberHandling = JsonUnmappedMemberHandling.Disallow)]
[JsonSerializable(typeof(CaptureState))]
internal sealed partial class CaptureJson : JsonSerializerContext;
