using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.Domain.History;

namespace SiteRecovery.DataPlane.Retention;

/// <summary>Neighbours of one epoch whose positions are too close together for their age.</summary>
/// <param name="Before">In front of the first.</param>
/// <param name="Reached">The highest sequence of the epoch in front of them; -1: none.</param>
/// <param name="Following">When the first position behind them was, in the same epoch.</param>
/// <param name="EpochEnded">Nothing will come behind them.</param>
/// <param name="Step">To which they are thinned.</param>
internal sealed record ThinnableUnit(Epoch Epoch, IReadOnlyList<int> Segments, HistoryState Before, long Reached, DateTimeOffset Following, bool EpochEnded, TimeSpan Step,
    long FirstSequence, long LastSequence);

/// <content>Which segments may be thinned, and a history in which one stands for others.</content>
internal sealed partial class StoreHistory
{
    /// <summary>Oldest first.</summary>
    /// <param name="stepAt">How far apart positions of a time should be; zero: all are kept.</param>
    /// <param name="stepOf">How far apart those of a segment are.</param>
    internal List<ThinnableUnit> Thinnable(Func<DateTimeOffset, TimeSpan> stepAt, Func<int, TimeSpan> stepOf)
    {
        var steps = new TimeSpan[_segments.Count];
        // The last one grows. What shows nothing is as old as what follows.
        for (var (i, time) = (_segments.Count - 2, DateTimeOffset.MaxValue); i >= 0; i--)
        {
            if (_segments[i].LastSequence >= 0) time = _segments[i].LastTime;
            var step = _segments[i].HasSeveralEpochs ? TimeSpan.Zero : stepAt(time);
            steps[i] = step > TimeSpan.Zero && stepOf(_segments[i].Number) < step ? step : TimeSpan.Zero;
        }
        var units = new List<ThinnableUnit>();
        for (var i = 0; i + 1 < _segments.Count; i++)
        {
            if (steps[i] == TimeSpan.Zero) continue;
            var (first, owner) = (i, OwnerIndex(i));
            while (i + 2 < _segments.Count && steps[i + 1] == steps[first] && OwnerIndex(i + 1) == owner) i++;
            units.Add(UnitOf(first, i, owner, steps[i]));
        }
        return units;
    }

    private ThinnableUnit UnitOf(int first, int last, int owner, TimeSpan step)
    {
        var record = _branches[owner].Record;
        var reached = _branches[owner].Floor?.Sequence.Value ?? (record.ForkedFromEpoch > 0 ? record.ForkedFromSequence : -1);
        // It may have begun within a segment.
        for (var i = first - 1; i >= 0 && _branches[owner].First < new FramePosition(_segments[i].Number, _segments[i].Frames); i--) reached = Math.Max(reached, _segments[i].LastSequence);
        var next = last + 1;
        while (next < _segments.Count && OwnerIndex(next) == owner && _segments[next].LastSequence < 0) next++;
        var follows = next < _segments.Count && OwnerIndex(next) == owner;
        var ended = last + 1 < _segments.Count && OwnerIndex(last + 1) != owner;
        var segments = _segments.GetRange(first, last - first + 1);
        return new ThinnableUnit(_branches[owner].Epoch, [.. segments.Select(s => s.Number)], _segments[first].Before, reached,
            // Behind it there may be segments in which nothing came to be whole before the epoch ended.
            ended || (next < _segments.Count && !follows) ? DateTimeOffset.MaxValue : follows ? _segments[next].FirstTime : DateTimeOffset.MinValue, ended, step,
            segments.Min(s => s.FirstSequence), segments.Max(s => s.LastSequence));
    }

    private int OwnerIndex(int index) => OwnerOf(new FramePosition(_segments[index].Number, 0));

    /// <summary>Positions without which others could not be viewed, or the next epoch not begin.</summary>
    internal IEnumerable<(Epoch Epoch, Sequence Sequence)> Needed()
    {
        foreach (var branch in _branches)
        {
            if (branch.Floor is null && branch.Record.ForkedFromEpoch > 0) yield return (new Epoch(branch.Record.ForkedFromEpoch), new Sequence(branch.Record.ForkedFromSequence));
            if ((branch == _branches[^1] ? ConsistentUpTo : branch.End.ConsistentUpTo) is { } end) yield return (end.Epoch, end.Sequence);
        }
    }

    internal HistoryState BeforeOf(int number) => _segments.Find(s => s.Number == number)!.Before;

    /// <summary>One segment stands for others from here on.</summary>
    /// <param name="kept">What it shows.</param>
    /// <param name="state">Behind it.</param>
    /// <param name="end">Where what it shows a part of ends: the segment with that position, as it is to be seen then; null: it ends with the segment.</param>
    internal void Replace(SegmentId thinned, SegmentHistory kept, HistoryState state, IReadOnlyList<RecoveryPoint> points, (SegmentHistory Segment, IReadOnlyList<RecoveryPoint> Points)? end)
    {
        var first = _segments.FindIndex(s => s.Number >= thinned.First);
        var last = _segments.FindIndex(s => s.Number == thinned.Number);
        // An epoch begins behind the last frame of the one before it.
        for (var b = 0; b < _branches.Count; b++)
            if (_branches[b].First is { Index: > 0 } at && at.Segment == thinned.Number) _branches[b] = _branches[b] with { First = at with { Index = kept.Frames } };
        kept.After = state;
        _segments.RemoveRange(first, last - first + 1);
        _segments.Insert(first, kept);
        PutPoints(thinned.First, thinned.Number, points);
        if (end is { } shown)
        {
            var reaches = _segments.FindIndex(s => s.Number == shown.Segment.Number);
            for (var i = first + 1; i < reaches; i++)
            {
                PutPoints(_segments[i].Number, _segments[i].Number, []);
                _segments[i] = _segments[i].Hidden(state);
            }
            PutPoints(shown.Segment.Number, shown.Segment.Number, shown.Points);
            _segments[reaches] = shown.Segment;
        }
        _remembered.Clear();
        _rememberedInTurn.Clear();
    }

    /// <summary>A sealed segment's history as its frames tell it behind another state.</summary>
    internal (SegmentHistory Segment, IReadOnlyList<RecoveryPoint> Points) Retold(int number, HistoryState before)
    {
        var (segment, state, points) = (new SegmentHistory(number, before) { Kept = null }, before, new List<RecoveryPoint>());
        foreach (var entry in _framesOf(number))
        {
            var text = entry.Header.Kind == BatchKind.Marker ? _textOf(entry) : [];
            (state, var viewable) = state.After(entry.Header, text);
            segment.Add(entry, viewable);
            if (PointAt(state, entry.Header, viewable, text) is { } point) points.Add(point);
        }
        segment.After = state;
        return (segment, points);
    }

    /// <summary>A position of an epoch that was viewable once: those on both sides of it that still are; null: it is not between any.</summary>
    internal (RecoveryPoint? Before, RecoveryPoint? After)? Around(Epoch epoch, Sequence sequence)
    {
        if (IndexOf(epoch) < 0 || Resolve(epoch, sequence) is not null) return null;
        var (own, first, end) = (_branches[IndexOf(epoch)], _branches[IndexOf(epoch)].First, EndOf(IndexOf(epoch)));
        long before = own.Floor?.Sequence.Value ?? (own.Record.ForkedFromEpoch > 0 ? own.Record.ForkedFromSequence : -1), after = long.MaxValue;
        foreach (var segment in _segments.Where(s => s.Number >= first.Segment && s.Number <= end.Segment && s.LastSequence >= 0))
        {
            if (segment.LastSequence < sequence.Value) before = Math.Max(before, segment.LastSequence);
            else if (segment.FirstSequence > sequence.Value) after = Math.Min(after, segment.FirstSequence);
            else
                foreach (var header in FramesOf(segment).Where(f => f.Viewable && f.Entry.Header.Epoch == epoch).Select(f => f.Entry.Header))
                {
                    var low = header is { Kind: BatchKind.Delta, Coalesced: false } ? header.First : header.Last;
                    if (header.Last < sequence) before = Math.Max(before, header.Last.Value);
                    if (low > sequence) after = Math.Min(after, low.Value);
                }
        }
        return before < 0 || before >= sequence.Value || after == long.MaxValue ? null : (Resolve(epoch, new Sequence(before)), Resolve(epoch, new Sequence(after)));
    }

    internal InvalidDataException NotViewable(Epoch epoch, Sequence sequence) => new(Around(epoch, sequence) is ({ } before, { } after)
        ? $"{RecoveryPoint.IdOf(epoch, sequence)} was thinned away in this store: the nearest that are left are {before.Id} and {after.Id}"
        : _branches[0].Floor is { } floor && (epoch < floor.Epoch || (epoch == floor.Epoch && sequence < floor.Sequence))
        ? $"{RecoveryPoint.IdOf(epoch, sequence)} is from before what this store keeps: the oldest that is left is {floor.Id}"
        : $"{RecoveryPoint.IdOf(epoch, sequence)} is not viewable in this store");

    private void PutPoints(int first, int last, IReadOnlyList<RecoveryPoint> points)
    {
        var at = _points.FindIndex(p => p.Segment >= first);
        if (at < 0) at = _points.Count;
        var count = _points.Skip(at).TakeWhile(p => p.Segment <= last).Count();
        _points.RemoveRange(at, count);
        _points.InsertRange(at, points.Select(p => (p, last)));
        _pointsOfSealed += points.Count - count;
    }
}
