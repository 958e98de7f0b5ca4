using SiteRecovery.DataPlane.Keys;

namespace SiteRecovery.DataPlane.Retention;

/// <summary>When a segment of the log is full, and what its keys are wrapped with. Each limit bounds something: the file, what opening has to verify, and what the last segment keeps in memory.</summary>
public sealed record StoreOptions
{
    public long SegmentBytesMax { get; init; } = 256 << 20;
    public int SegmentFramesMax { get; init; } = 32 << 10;
    public int SegmentExtentsMax { get; init; } = 128 << 10;
    /// <summary>So many blocks of 4 KiB wait in memory for a flush of the base: what is promoted may be the zeroes of a whole disk.</summary>
    public int BaseBlocksUnflushedMax { get; init; } = 128 << 10;
    /// <summary>What cannot be read of the last segment is taken for damaged; else the store does not open, for it may be readable again in a moment.</summary>
    public bool GivesUpUnreadable { get; init; }
    /// <summary>Null: what is encrypted cannot be read, and nothing can be encrypted.</summary>
    public KeyWrappings? Keys { get; init; }
}
