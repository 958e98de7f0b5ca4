namespace SiteRecovery.DataPlane.Retention;

/// <summary>A range of a disk and where its bytes lie in the log.</summary>
/// <param name="FrameOffset">Of the frame in its segment.</param>
/// <param name="RawOffset">In the frame's uncompressed payload; -1: zeroes.</param>
internal readonly record struct MappedExtent(long Offset, int Length, SegmentId Segment, long FrameOffset, int RawOffset)
{
    internal long End => Offset + Length;

    /// <summary>Its part between two offsets.</summary>
    internal MappedExtent Clip(long from, long to)
    {
        var (start, end) = (Math.Max(Offset, from), Math.Min(End, to));
        return this with { Offset = start, Length = (int)(end - start), RawOffset = RawOffset < 0 ? -1 : RawOffset + (int)(start - Offset) };
    }
}

/// <summary>What a part of the log has written to the disks, each byte as the last of its frames left it. Safe for concurrent calls.</summary>
internal interface IExtentSource
{
    /// <summary>Adds what was written between two offsets of a disk, ascending and without overlap.</summary>
    /// <exception cref="IOException">The source is damaged and cannot be made again.</exception>
    void Find(ushort disk, long from, long to, List<MappedExtent> into);
}
