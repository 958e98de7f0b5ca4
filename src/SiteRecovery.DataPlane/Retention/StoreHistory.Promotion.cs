using SiteRecovery.Domain.History;

namespace SiteRecovery.DataPlane.Retention;

/// <content>Which segments may go into the base, and a history that begins behind them.</content>
internal sealed partial class StoreHistory
{
    /// <summary>When the first viewable position of the last segment was; null where it has none.</summary>
    internal DateTimeOffset? OldestInLast => _segments.Count > 0 && _segments[^1].LastSequence >= 0 ? _segments[^1].FirstTime : null;

    /// <summary>The segment in which a position is reached, or in front of which it lies; null where it is not viewable.</summary>
    internal int? SegmentOf(Epoch epoch, Sequence sequence)
    {
        if (IndexOf(epoch) < 0) return null;
        if (Find(IndexOf(epoch), sequence) is { } frame) return frame.Segment;
        var branch = _branches[IndexOf(epoch)];
        if (branch.Floor is { } floor) return floor.Sequence == sequence ? 0 : null;
        return branch.Forks(sequence) ? SegmentOf(new Epoch(branch.Record.ForkedFromEpoch), sequence) : null;
    }

    /// <summary>The last segment of those that may be promoted now; null: none.</summary>
    /// <param name="now">When the store's newest position was. What is said to be of later was written by a clock that was ahead, and is as old as what follows it.</param>
    /// <param name="cutoff">Segments that show anything newer stay, unless there are bytes too many.</param>
    /// <param name="bytesOver">Of the oldest segments so many may go, however young they are.</param>
    /// <param name="below">Segments from this one on are in use.</param>
    internal int? PromotableUpTo(DateTimeOffset now, DateTimeOffset cutoff, long bytesOver, int below, int segmentsMax, Func<int, long> bytesOf)
    {
        int? found = null;
        var lastTimes = LastTimes(now);
        for (var i = 0; i + 1 < _segments.Count && (i < segmentsMax || found is null); i++)
        {
            var segment = _segments[i];
            if (segment.Number >= below || (lastTimes[i] > cutoff && bytesOver <= 0)) break;
            bytesOver -= bytesOf(segment.Number);
            if (MayEndBehind(i)) found = segment.Number;
        }
        return found;
    }

    private DateTimeOffset[] LastTimes(DateTimeOffset now)
    {
        var times = new DateTimeOffset[_segments.Count];
        for (var (i, following) = (times.Length - 1, now); i >= 0; i--)
        {
            times[i] = _segments[i].LastTime <= now ? _segments[i].LastTime : following;
            if (_segments[i].LastSequence >= 0) following = times[i];
        }
        return times;
    }

    /// <summary>What the base will show once everything up to a segment is in it.</summary>
    internal PromotedRecord PromotedAt(int segment)
    {
        var state = _segments.Find(s => s.Number > segment)?.Before ?? _state;
        var epoch = _branches[OwnerOf(new FramePosition(segment + 1, 0))].Epoch;
        var point = state.ConsistentUpTo!;
        if (_points.FindLast(p => p.Segment <= segment && p.Point.Epoch == epoch && p.Point.Sequence == point.Sequence).Point is { } marked) point = marked;
        return new PromotedRecord(segment, epoch.Value, point.Sequence.Value, point.At, point.Kind, point.Label, state.Held, state.CurrentAsOf);
    }

    /// <summary>The frames of the current line up to a segment's end.</summary>
    internal List<FrameRange> LineUpTo(int segment) => Clip(RangesOfNewest(), new FramePosition(segment + 1, 0));

    /// <summary>Everything up to a segment's end is gone but for the position there.</summary>
    internal void Forget(PromotedRecord promoted)
    {
        var end = new FramePosition(promoted.Segment + 1, 0);
        var owner = OwnerOf(end);
        _branches[owner] = _branches[owner] with { First = end, Floor = promoted.Point };
        _floorAsOf = promoted.CurrentAsOf;
        _branches.RemoveRange(0, owner);
        var pointsOfOthers = _points.FindIndex(p => p.Segment > promoted.Segment);
        if (pointsOfOthers < 0) pointsOfOthers = _points.Count;
        _points.RemoveRange(0, pointsOfOthers);
        _points.Insert(0, (promoted.Point, promoted.Segment));
        _pointsOfSealed = Math.Max(1, _pointsOfSealed - pointsOfOthers + 1);
        _segments.RemoveAll(s => s.Number <= promoted.Segment);
        _remembered.Clear();
        _rememberedInTurn.Clear();
    }

    /// <summary>Whether the base may hold what is in front of the next segment: every position behind it has to be made of the same frames there.</summary>
    private bool MayEndBehind(int index)
    {
        var next = _segments[index + 1];
        if (next.Before is { Gap: true } or { Run: not null } or { ThinnedUntil: not null } or { ConsistentUpTo: null }) return false;
        var end = new FramePosition(next.Number, 0);
        var (owner, line) = (OwnerOf(end), Clip(RangesOfNewest(), end));
        for (var branch = owner; branch < _branches.Count; branch++)
        {
            if (!Clip(WholeLine(branch), end).SequenceEqual(line)) return false;
            var record = _branches[branch].Record;
            if (branch > owner && (record.ContinuesAfter ?? record.ForkedFromEpoch) < _branches[owner].Record.Epoch) return false;
        }
        return true;
    }

    /// <summary>The branch to which the frame there belongs, or would.</summary>
    private int OwnerOf(FramePosition position) => _branches.FindLastIndex(b => b.First <= position);

    private static List<FrameRange> Clip(List<FrameRange> ranges, FramePosition end) =>
        [.. ranges.Where(r => r.From < end && r.From < r.To).Select(r => r.To > end ? r with { To = end, Limit = long.MaxValue } : r)];
}
