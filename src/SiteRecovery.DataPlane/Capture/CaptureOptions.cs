using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.DataPlane.Storage;
using SiteRecovery.Domain.History;

namespace SiteRecovery.DataPlane.Capture;

/// <param name="Path">Of the raw file or block device; what <paramref name="File"/> is, is opened already and belongs to the capture.</param>
public sealed record CaptureDisk(DiskGeometry Geometry, string Path, IBlockFile? File = null);

public sealed record CaptureOptions
{
    public required MachineId Machine { get; init; }
    public required Epoch Epoch { get; init; }
    public required IReadOnlyList<CaptureDisk> Disks { get; init; }
    public required string StateFolder { get; init; }
    public const int BufferBytesDefault = 48 << 20;
    public int BufferBytes { get; init; } = BufferBytesDefault;
    public int BufferWrites { get; init; } = 64 << 10;
    /// <summary>Batches the next room has not received yet; with the buffer most of what capture keeps in memory. A channel's window is not larger.</summary>
    public long UnacknowledgedBytesMax { get; init; } = 16 << 20;
    /// <summary>How many sequences are reserved durably at once; the next are reserved when half are used.</summary>
    public const long SequencesReservedDefault = 1_000_000;
    public long SequencesReserved { get; init; } = SequencesReservedDefault;
    public TimeSpan Linger { get; init; } = TimeSpan.FromMilliseconds(5);
    /// <summary>How long at least a block that was written stays marked as possibly not durable at the target. Shorter costs bitmap writes, longer
    /// a few more blocks to compare after a crash.</summary>
    public TimeSpan RotationInterval { get; init; } = TimeSpan.FromSeconds(1);
    public TimeSpan TickInterval { get; init; } = TimeSpan.FromMilliseconds(500);
    public TimeSpan PointInterval { get; init; } = TimeSpan.FromSeconds(5);
    public TimeSpan ReconnectDelayMax { get; init; } = TimeSpan.FromSeconds(10);
    /// <summary>After the first completed synchronization a later gap starts the next one by itself.</summary>
    public bool ResynchronizeAutomatically { get; init; } = true;
    /// <summary>Set for a machine that continues at a fork of its history: its first write comes after this one, and until it is written to nothing differs
    /// from the fork. Means nothing to a state folder that is in use already.</summary>
    public Sequence? ForkedAt { get; init; }
    /// <summary>The disks were written to since that fork, and where the state folder knows nothing, what it knew is lost: all of them differ, and the first write comes after any that there can have been.
    /// Means nothing to one that is in use.</summary>
    public bool HasLostState { get; init; }
    /// <summary>What the state folder holds was of another protection, or of other disks: nothing is known of what befell these.</summary>
    public bool BeginsAnew { get; init; }
    /// <summary>Null: the operating system's boot id.</summary>
    public Guid? BootId { get; init; }
    /// <summary>After a boot of the host writes wait until <see cref="MachineCapture.Answer"/>, or a fence: meanwhile the machine may have been failed over.</summary>
    public bool AsksAfterBoot { get; init; }
}

public enum CaptureMode { Tracking, Streaming, Synchronizing, Paused, Fenced }

public sealed record SynchronizationProgress(long BytesTotal, long BytesDone, long BytesSent, double BytesPerSecond, TimeSpan? Remaining);

/// <param name="Synchronizing">A synchronization is wanted or under way, or its end is not durable yet.</param>
/// <param name="Complete">The stream is consistent, and the marker that made it so is durable: the target holds a prefix and knows it.</param>
public sealed record CaptureStatus(
    CaptureMode Mode, Epoch Epoch, bool Connected, Sequence Newest, Sequence Durable, long DirtyBytes, SynchronizationProgress Progress,
    string? ResynchronizationReason, long BytesShipped, long BytesResent, string? LastError, bool Complete, bool Synchronizing);
