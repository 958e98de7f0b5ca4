using SiteRecovery.DataPlane.Blocks;

namespace SiteRecovery.DataPlane.Retention;

/// <summary>A file of the log. Thinning puts one in the place of several: then its number is that of the last of them.</summary>
/// <param name="Generation">0: as it was logged. Of two files for the same segments the one with the higher generation counts.</param>
/// <param name="First">The first of the segments that it stands for.</param>
public readonly record struct SegmentId(int Number, int Generation, int First)
{
    internal static SegmentId Of(int number) => new(number, 0, number);

    internal bool Supersedes(SegmentId other) => Generation > other.Generation && First <= other.First && other.Number <= Number;
}

/// <summary>A frame of the log: where it lies and what its header says.</summary>
public sealed record LogEntry(SegmentId Segment, long Offset, BatchHeader Header);

/// <summary>Bytes of a store that are not what was written.</summary>
/// <param name="Ranges">Of disks, in bytes, that may read wrongly because of it; null: not known.</param>
public sealed record StoreDamage(string File, long Offset, string Reason, IReadOnlyList<(ushort Disk, long Offset, long Length)>? Ranges = null);
