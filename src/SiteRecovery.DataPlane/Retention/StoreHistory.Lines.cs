using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.Domain.History;

namespace SiteRecovery.DataPlane.Retention;

/// <summary>Frames of the log that belong together; of the last one only sequences up to the limit.</summary>
/// <param name="To">Behind the last one.</param>
internal readonly record struct FrameRange(FramePosition From, FramePosition To, long Limit);

/// <content>Positions: where they are reached, and which frames lie below them.</content>
internal sealed partial class StoreHistory
{
    internal RecoveryPoint? Choose(PointSelector selector) => selector switch
    {
        PointSelector.Latest => ConsistentUpTo,
        PointSelector.ById byId => RecoveryPoint.TryParseId(byId.Id, out var epoch, out var sequence) ? Resolve(epoch, sequence) : null,
        PointSelector.AtTime at => NewestAt(at.Time),
        _ => selector.Choose(PointsOnLine()),
    };

    internal RecoveryPoint? Resolve(Epoch epoch, Sequence sequence)
    {
        if (_points.FindLast(p => p.Point.Epoch == epoch && p.Point.Sequence == sequence).Point is { } marked) return marked;
        var branch = IndexOf(epoch);
        if (branch < 0) return null;
        if (Find(branch, sequence) is { } at) return new RecoveryPoint(epoch, sequence, FrameAt(at).Header.Time, PointKind.CrashConsistent);
        return _branches[branch].Forks(sequence) && Resolve(new Epoch(_branches[branch].Record.ForkedFromEpoch), sequence) is { } parent ? parent with { Epoch = epoch } : null;
    }

    /// <summary>Whether a frame reaches a position, be it viewable or not; but for what a synchronization brings, which never is.</summary>
    internal bool Holds(Epoch epoch, Sequence sequence)
    {
        var branch = IndexOf(epoch);
        if (branch < 0) return false;
        var (first, end) = (_branches[branch].First, EndOf(branch));
        foreach (var segment in _segments.Where(s => first.Segment <= s.Number && s.Number <= end.Segment))
        {
            var frames = segment.Kept?.Select(f => f.Entry) ?? _framesOf(segment.Number);
            if (frames.Any(e => e.Header.Epoch == epoch && e.Header is { Thinned: false, Kind: not BatchKind.Sync } && Reaches(e.Header, sequence))) return true;
        }
        return _branches[branch].Forks(sequence) && Holds(new Epoch(_branches[branch].Record.ForkedFromEpoch), sequence);
    }

    /// <summary>The frames of a view in log order.</summary>
    internal List<FrameRange> RangesOf(Epoch epoch, Sequence sequence)
    {
        var (branch, at) = Locate(epoch, sequence);
        if (at is not { } frame) return RangesBelow(branch);
        var limit = FrameAt(frame).Header.Last == sequence ? long.MaxValue : sequence.Value;
        return [.. RangesBelow(branch), new FrameRange(_branches[branch].First, Behind(frame), limit)];
    }

    /// <summary>The newest that was marked on the current line.</summary>
    internal RecoveryPoint? NewestPoint => ConsistentUpTo is null ? null : PointsOnLine().LastOrDefault();

    /// <summary>The frames of a view behind those of an earlier position on the same line, with the one at which that was reached; null where it is not one, or shows something else by now.</summary>
    /// <param name="ranges">Of the view.</param>
    internal List<FrameRange>? Since((Epoch Epoch, Sequence Sequence, FramePosition Behind) earlier, List<FrameRange> ranges)
    {
        if (Resolve(earlier.Epoch, earlier.Sequence) is null) return null;
        var before = RangesOf(earlier.Epoch, earlier.Sequence);
        if (before.Count == 0) return earlier.Behind == default ? ranges : null;
        var last = before.Count - 1;
        if (before[last].To != earlier.Behind || last >= ranges.Count || !before.Take(last).SequenceEqual(ranges.Take(last))
            || before[last].From != ranges[last].From || before[last].To > ranges[last].To) return null;
        return [ranges[last] with { From = InFrontOf(before[last].To) }, .. ranges.Skip(last + 1)];
    }

    /// <summary>All frames of the current epoch's line, consistent or not.</summary>
    internal List<FrameRange> RangesOfNewest() => WholeLine(_branches.Count - 1);

    /// <summary>
    /// The frames from the one on that reaches a point, or from the first of its epoch if that forks there, up to where <paramref name="before"/> begins: what other
    /// epochs wrote in between is among them.
    /// </summary>
    internal (FramePosition From, FramePosition To, bool Reaches) From(Epoch epoch, Sequence sequence, Epoch before)
    {
        var (branch, at) = Locate(epoch, sequence);
        var end = _branches.FindIndex(b => b.Epoch >= before);
        return (at ?? _branches[branch].First, end < 0 ? End : _branches[end].First, at is not null);
    }

    /// <summary>The frames since a point's line and that of the last stream before <paramref name="before"/> parted, and whatever other epochs wrote in between.</summary>
    internal (FramePosition From, FramePosition To, bool Reaches) FromParting(Epoch epoch, Sequence sequence, Epoch before)
    {
        var own = From(epoch, sequence, before);
        var source = StreamBefore(before);
        // Behind the frame at which each branch of the source's line was left.
        var left = new Dictionary<int, FramePosition>();
        for (var (branch, at) = (source, new FramePosition(int.MaxValue, 0)); branch >= 0; (branch, at) = ParentOf(branch)) left[branch] = at;
        for (var (branch, at) = (IndexOf(epoch), own.Reaches ? own.From : InFrontOf(own.From)); branch >= 0; (branch, at) = ParentOf(branch))
        {
            if (!left.TryGetValue(branch, out var theirs)) continue;
            if (branch == IndexOf(epoch) && at <= theirs) return own;
            var (parted, first) = (at < theirs ? at : theirs, _branches[branch].First);
            return (parted > first ? parted : first, own.To, false);
        }
        if (_branches[0].Floor is { } floor) throw new InvalidDataException($"the two sides parted before {floor.Id}, the oldest position that is kept: only a comparison of everything tells where they differ");
        return (default, own.To, false);
    }

    /// <summary>How far the last stream before an epoch has come here.</summary>
    internal StreamPosition HeldOfStream(Epoch before) => StreamBefore(before) switch
    {
        < 0 => default,
        var branch when branch == _branches.Count - 1 => Held,
        var branch => _branches[branch].End.Held,
    };

    /// <summary>Of an epoch that is over and still known: its stream had not come as far as a position of it. Incarnations are an epoch's (BATCH.md), but for a fold's, which counts on from the stream before it: such a position may be taken for one of that stream.</summary>
    internal bool Lacks(StreamPosition told) =>
        _branches.FindIndex(b => b.Epoch.Value == told.Incarnation >> 32) is >= 0 and var branch && branch < _branches.Count - 1 && _branches[branch].End.Held.CompareTo(told) < 0;

    private int StreamBefore(Epoch epoch) => _branches.FindLastIndex(b => b.Epoch < epoch && b.Record.ForkedFromEpoch == 0);

    /// <summary>The branch that one comes from, and the last of its frames that it shows, if only in part; before the branch's first where it shows none.</summary>
    private (int Branch, FramePosition Frame) ParentOf(int branch)
    {
        var record = _branches[branch].Record;
        if (_branches[branch].Floor is not null) return (-1, default);
        if (record.ContinuesAfter is { } after)
        {
            var parent = IndexOf(new Epoch(after));
            return (parent, EndOf(parent));
        }
        if (record.ForkedFromEpoch == 0) return (-1, default);
        var (origin, at) = Locate(new Epoch(record.ForkedFromEpoch), new Sequence(record.ForkedFromSequence));
        return (origin, at ?? InFrontOf(_branches[origin].First));
    }

    private static FramePosition Behind(FramePosition frame) => frame with { Index = frame.Index + 1 };

    private static FramePosition InFrontOf(FramePosition frame) => frame with { Index = frame.Index - 1 };

    private List<FrameRange> WholeLine(int branch) => [.. RangesBelow(branch), new FrameRange(_branches[branch].First, EndOf(branch), long.MaxValue)];

    private List<FrameRange> RangesBelow(int branch)
    {
        var epoch = _branches[branch].Record;
        if (_branches[branch].Floor is not null) return [];
        if (epoch.ContinuesAfter is { } after) return WholeLine(IndexOf(new Epoch(after)));
        return epoch.ForkedFromEpoch == 0 ? [] : RangesOf(new Epoch(epoch.ForkedFromEpoch), new Sequence(epoch.ForkedFromSequence));
    }

    private int IndexOf(Epoch epoch) => _branches.FindIndex(b => b.Epoch == epoch);

    private FramePosition EndOf(int branch) => branch + 1 < _branches.Count ? _branches[branch + 1].First : End;

    /// <summary>The time of the last frame at which a position was reached.</summary>
    private DateTimeOffset? ReachedAt(Epoch epoch, Sequence sequence)
    {
        if (IndexOf(epoch) is not (>= 0 and var branch)) return null;
        if (Find(branch, sequence) is { } at) return FrameAt(at).Header.Time;
        if (_branches[branch].Floor is { } floor) return floor.Sequence == sequence ? _floorAsOf : null;
        return _branches[branch].Forks(sequence) ? ReachedAt(new Epoch(_branches[branch].Record.ForkedFromEpoch), sequence) : null;
    }

    /// <summary>The frame at which a position is reached; null where that is the fork itself.</summary>
    private (int Branch, FramePosition? Frame) Locate(Epoch epoch, Sequence sequence)
    {
        var branch = IndexOf(epoch);
        if (branch < 0) throw new InvalidDataException($"no epoch {epoch} in this store");
        var at = Find(branch, sequence);
        return at is not null || _branches[branch].BeginsAt(sequence) ? (branch, at) : throw NotViewable(epoch, sequence);
    }

    /// <exception cref="IOException">It is not found, but may be there: it cannot be read just now.</exception>
    private FramePosition? Find(int branch, Sequence sequence)
    {
        var (first, end) = (_branches[branch].First, EndOf(branch));
        IOException? unsure = null;
        for (var s = _segments.Count - 1; s >= 0 && _segments[s].Number >= first.Segment; s--)
        {
            var segment = _segments[s];
            if (segment.Number > end.Segment || !segment.MayShow(sequence)) continue;
            var (frames, from) = (FramesOf(segment, ref unsure), segment.Number == first.Segment ? first.Index : 0);
            for (var i = (segment.Number == end.Segment ? end.Index : frames.Count) - 1; i >= from; i--)
                if (frames[i].Viewable && Reaches(frames[i].Entry.Header, sequence)) return new FramePosition(segment.Number, i);
        }
        return unsure is null ? null : throw unsure;
    }

    internal static bool Reaches(BatchHeader header, Sequence sequence) => header.Last == sequence
        || (header is { Kind: BatchKind.Delta, Coalesced: false } && header.First <= sequence && sequence < header.Last);

    private LogEntry FrameAt(FramePosition frame)
    {
        IOException? unsure = null; // of which may be viewed
        return FramesOf(_segments[_segments.FindLastIndex(s => s.Number == frame.Segment)], ref unsure)[frame.Index].Entry;
    }

    private RecoveryPoint? NewestAt(DateTimeOffset time)
    {
        var line = Line();
        for (var s = _segments.Count - 1; s >= 0; s--)
        {
            if (_segments[s].FirstTime > time) continue;
            var frames = FramesOf(_segments[s]);
            for (var i = frames.Count - 1; i >= 0; i--)
                if (frames[i].Viewable && frames[i].Entry.Header is var header && header.Time <= time && IsOn(line, header.Epoch, header.Last))
                    return Resolve(header.Epoch, header.Last);
        }
        return _branches[0].Floor is { } floor && floor.At <= time ? floor : null;
    }

    private List<RecoveryPoint> PointsOnLine()
    {
        var line = Line();
        return [.. Points.Where(p => IsOn(line, p.Epoch, p.Sequence))];
    }

    private static bool IsOn(List<(Epoch Epoch, long Limit)> line, Epoch epoch, Sequence sequence) => line.Exists(l => l.Epoch == epoch && sequence.Value <= l.Limit);

    /// <summary>The current epoch and those that it comes from, each up to where the next leaves it.</summary>
    private List<(Epoch Epoch, long Limit)> Line()
    {
        var (line, limit) = (new List<(Epoch, long)>(), long.MaxValue);
        for (var branch = _branches.Count - 1; branch >= 0;)
        {
            line.Add((_branches[branch].Epoch, limit));
            if (_branches[branch].Floor is not null) break;
            var epoch = _branches[branch].Record;
            limit = epoch.ContinuesAfter is null ? epoch.ForkedFromSequence : long.MaxValue;
            branch = IndexOf(new Epoch(epoch.ContinuesAfter ?? epoch.ForkedFromEpoch));
        }
        return line;
    }
}
