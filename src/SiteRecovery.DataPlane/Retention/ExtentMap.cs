using SiteRecovery.DataPlane.Blocks;

namespace SiteRecovery.DataPlane.Retention;

/// <summary>
/// What a few frames have written, in memory: per 1 MiB region of a disk a sorted array of runs that do not overlap. Frames may be added while others look.
/// </summary>
internal sealed class ExtentMap : IExtentSource
{
    /// <summary>A run of a region. Raw offset -1: zeroes written.</summary>
    private readonly record struct Run(int Start, int Length, int Frame, int RawOffset);

    private const int RegionBytes = 1 << 20, LengthMax = 1 << 30;
    private readonly Lock _gate = new();
    private readonly Dictionary<(ushort Disk, long Region), Run[]> _regions = [];
    private readonly List<(SegmentId Segment, long Offset)> _frames = [];

    /// <summary>The extents of a frame, over those of the frames before it.</summary>
    /// <param name="limit">Sequences beyond it are left out.</param>
    internal void Add(LogEntry entry, Batch prefix, long limit)
    {
        var (header, raw) = (entry.Header, 0);
        lock (_gate)
        {
            _frames.Add((entry.Segment, entry.Offset));
            for (var i = 0; i < header.ExtentCount; i++)
            {
                if (header is { Kind: BatchKind.Delta, Coalesced: false } && header.First.Value + i > limit) break;
                var extent = prefix.ExtentAt(i);
                var data = extent.Kind == ExtentKind.Data;
                Set(extent, data ? raw : -1);
                if (data) raw += extent.Length;
            }
        }
    }

    public void Find(ushort disk, long from, long to, List<MappedExtent> into)
    {
        lock (_gate)
            for (var region = from / RegionBytes; region * RegionBytes < to; region++)
            {
                if (!_regions.TryGetValue((disk, region), out var runs)) continue;
                var origin = region * RegionBytes;
                foreach (var run in runs)
                {
                    if (origin + run.Start + run.Length <= from) continue;
                    if (origin + run.Start >= to) break;
                    into.Add(Mapped(origin, run).Clip(from, to));
                }
            }
    }

    /// <summary>All of it, ascending by disk and offset; neighbours of one frame are one, of up to 1 GiB: a frame may hold zeroes for more than a length can say.</summary>
    internal IEnumerable<(ushort Disk, MappedExtent Extent)> InOrder()
    {
        (ushort Disk, MappedExtent Extent)? last = null;
        foreach (var key in _regions.Keys.Order())
            foreach (var run in _regions[key])
            {
                var next = Mapped(key.Region * RegionBytes, run);
                if (last is { } before && before.Disk == key.Disk && Continues(before.Extent, next))
                {
                    last = (key.Disk, before.Extent with { Length = before.Extent.Length + next.Length });
                    continue;
                }
                if (last is { } whole) yield return whole;
                last = (key.Disk, next);
            }
        if (last is { } end) yield return end;
    }

    private MappedExtent Mapped(long origin, Run run) => new(origin + run.Start, run.Length, _frames[run.Frame].Segment, _frames[run.Frame].Offset, run.RawOffset);

    private static bool Continues(MappedExtent before, MappedExtent next) => before.End == next.Offset && before.Segment == next.Segment && before.FrameOffset == next.FrameOffset
        && before.Length <= LengthMax - next.Length && (before.RawOffset < 0 ? next.RawOffset < 0 : next.RawOffset == before.RawOffset + before.Length);

    private void Set(Extent extent, int rawOffset)
    {
        for (var (offset, length) = (extent.Offset, extent.Length); length > 0;)
        {
            var start = (int)(offset % RegionBytes);
            var part = Math.Min(length, RegionBytes - start);
            var region = (extent.Disk, offset / RegionBytes);
            _regions[region] = Insert(_regions.GetValueOrDefault(region) ?? [], new Run(start, part, _frames.Count - 1, rawOffset));
            if (rawOffset >= 0) rawOffset += part;
            (offset, length) = (offset + part, length - part);
        }
    }

    private static Run[] Insert(Run[] runs, Run added)
    {
        var result = new List<Run>(runs.Length + 2);
        var placed = false;
        var end = added.Start + added.Length;
        foreach (var run in runs)
        {
            var runEnd = run.Start + run.Length;
            if (run.Start < added.Start) result.Add(run with { Length = Math.Min(runEnd, added.Start) - run.Start });
            if (runEnd > added.Start && !placed) placed = Place(result, added);
            if (runEnd <= end) continue;
            var cut = Math.Max(0, end - run.Start);
            result.Add(new Run(run.Start + cut, run.Length - cut, run.Frame, run.RawOffset < 0 ? -1 : run.RawOffset + cut));
        }
        if (!placed) result.Add(added);
        return [.. result];
    }

    private static bool Place(List<Run> result, Run added)
    {
        result.Add(added);
        return true;
    }
}
