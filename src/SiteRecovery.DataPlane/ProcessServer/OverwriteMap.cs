namespace SiteRecovery.DataPlane.ProcessServer;

/// <summary>Who wrote each byte of a disk last: sorted runs that do not overlap. Tells how much of an earlier extent is still visible.</summary>
internal sealed class OverwriteMap
{
    private readonly record struct Run(long Start, long End, int Owner);

    private readonly List<Run> _runs = [];

    /// <summary>The range is its owner's now; <paramref name="hidden"/> hears how many bytes each earlier owner has lost.</summary>
    public void Write(long start, long end, int owner, Action<int, long> hidden)
    {
        var at = FirstEndingAfter(start);
        var (from, keepLeft, keepRight) = (at, default(Run?), default(Run?));
        for (; at < _runs.Count && _runs[at].Start < end; at++)
        {
            var run = _runs[at];
            if (run.Start < start) keepLeft = run with { End = start };
            if (run.End > end) keepRight = run with { Start = end };
            hidden(run.Owner, Math.Min(run.End, end) - Math.Max(run.Start, start));
        }
        _runs.RemoveRange(from, at - from);
        if (keepRight is { } right) _runs.Insert(from, right);
        _runs.Insert(from, new Run(start, end, owner));
        if (keepLeft is { } left) _runs.Insert(from, left);
    }

    private int FirstEndingAfter(long start)
    {
        var (low, high) = (0, _runs.Count);
        while (low < high)
        {
            var middle = (low + high) / 2;
            if (_runs[middle].End <= start) low = middle + 1;
            else high = middle;
        }
        return low;
    }
}
