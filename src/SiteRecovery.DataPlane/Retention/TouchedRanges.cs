namespace SiteRecovery.DataPlane.Retention;

/// <summary>Ranges of disks, each byte once: as much memory as their merged list needs, however often they are written.</summary>
internal sealed class TouchedRanges
{
    private const int MergedAtLeastEvery = 64 << 10;
    private List<(ushort Disk, long Offset, long Length)> _ranges = [];
    private int _mergeAt = MergedAtLeastEvery;

    internal void Add(ushort disk, long offset, long length)
    {
        _ranges.Add((disk, offset, length));
        if (_ranges.Count < _mergeAt) return;
        _mergeAt = Math.Max(MergedAtLeastEvery, 2 * Merged().Count);
    }

    /// <summary>Ascending by disk and offset; neighbours are one.</summary>
    internal List<(ushort Disk, long Offset, long Length)> Merged()
    {
        _ranges.Sort();
        var merged = new List<(ushort Disk, long Offset, long Length)>();
        foreach (var range in _ranges)
        {
            if (merged.Count > 0 && merged[^1] is var last && last.Disk == range.Disk && range.Offset <= last.Offset + last.Length)
                merged[^1] = last with { Length = Math.Max(last.Length, range.Offset + range.Length - last.Offset) };
            else merged.Add(range);
        }
        return _ranges = merged;
    }
}
