using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.Domain.History;

namespace SiteRecovery.DataPlane.ProcessServer;

public sealed record SpoolOptions
{
    public required string Folder { get; init; }
    /// <summary>Of all machines together; a stream waits while it is reached.</summary>
    public long BytesMax { get; init; } = 10L << 30;
    public int SegmentBytes { get; init; } = 16 << 20;
    /// <summary>Above this part of <see cref="BytesMax"/> what waits is coalesced: fewer bytes, fewer viewable positions.</summary>
    public double CoalesceAtFraction { get; init; } = 0.5;
    public TimeSpan ReconnectDelayMax { get; init; } = TimeSpan.FromSeconds(10);
    /// <summary>Null: the operating system's boot id.</summary>
    public Guid? BootId { get; init; }
}

/// <summary>What a machine's spool holds that is not known to be durable at the target.</summary>
/// <param name="Bytes">Pending on disk.</param>
/// <param name="OldestAt">Source clock of the oldest pending batch, or of the one before it.</param>
/// <param name="Connected">To the next room.</param>
/// <param name="CoalescedBatches">Since the start of this process.</param>
public sealed record SpoolStatus(long Bytes, long Batches, DateTimeOffset? OldestAt, bool Connected, string? LastError,
    StreamPosition Durable, Sequence DurableSequence, long CoalescedBatches)
{
    public static SpoolStatus Nothing { get; } = new(0, 0, null, false, null, default, Sequence.None, 0);
}
