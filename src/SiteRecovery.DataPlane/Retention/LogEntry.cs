using SiteRecovery.DataPlane.Blocks;

namespace SiteRecovery.DataPlane.Retention;

/// <summary>A frame of the log: where it lies and what its header says.</summary>
public sealed record LogEntry(int Segment, long Offset, BatchHeader Header);

/// <summary>Bytes of a store that are not what was written.</summary>
/// <param name="Ranges">Of disks, in bytes, that may read wrongly because of it; null: not known.</param>
public sealed record StoreDamage(string File, long Offset, string Reason, IReadOnlyList<(ushort Disk, long Offset, long Length)>? Ranges = null);
