namespace SiteRecovery.DataPlane.Retention;

/// <summary>A run of a region. Frame -1: nothing written, reads as zeroes; raw offset -1: zeroes written.</summary>
internal readonly record struct Run(int Start, int Length, int Frame, int RawOffset);

/// <summary>Which frame holds each byte of a disk: per 1 MiB region a sorted array of runs that do not overlap.</summary>
internal sealed class ExtentMap
{
    internal const int RegionBytes = 1 << 20;
    private readonly Dictionary<long, Run[]> _regions = [];

    internal void Set(long offset, int length, int frame, int rawOffset)
    {
        while (length > 0)
        {
            var start = (int)(offset % RegionBytes);
            var part = Math.Min(length, RegionBytes - start);
            var region = offset / RegionBytes;
            _regions[region] = Insert(_regions.GetValueOrDefault(region) ?? [], new Run(start, part, frame, rawOffset));
            if (rawOffset >= 0) rawOffset += part;
            (offset, length) = (offset + part, length - part);
        }
    }

    /// <summary>Runs that cover the range in order and without gaps, with absolute offsets.</summary>
    internal List<(long Offset, int Length, int Frame, int RawOffset)> Cover(long offset, long length)
    {
        var cover = new List<(long, int, int, int)>();
        while (length > 0)
        {
            var start = (int)(offset % RegionBytes);
            var part = (int)Math.Min(length, RegionBytes - start);
            var origin = offset - start;
            var (at, end) = (start, start + part);
            foreach (var run in _regions.GetValueOrDefault(offset / RegionBytes) ?? [])
            {
                if (run.Start + run.Length <= at) continue;
                if (run.Start >= end) break;
                if (run.Start > at) cover.Add((origin + at, run.Start - at, -1, -1));
                at = Math.Max(at, run.Start);
                var stop = Math.Min(end, run.Start + run.Length);
                cover.Add((origin + at, stop - at, run.Frame, run.RawOffset < 0 ? -1 : run.RawOffset + at - run.Start));
                at = stop;
            }
            if (at < end) cover.Add((origin + at, end - at, -1, -1));
            (offset, length) = (offset + part, length - part);
        }
        return cover;
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
