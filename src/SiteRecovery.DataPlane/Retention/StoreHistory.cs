using System.Globalization;
using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.Domain.History;

namespace SiteRecovery.DataPlane.Retention;

/// <summary>What the log means: epochs, what is viewable, and which frames make up a view. Not safe for concurrent calls.</summary>
internal sealed class StoreHistory
{
    private sealed record Branch(EpochRecord Record, int FirstEntry)
    {
        internal Epoch Epoch => new(Record.Epoch);
        internal bool Forks(Sequence at) => Record.ForkedFromEpoch > 0 && Record.ForkedFromSequence == at.Value;
        /// <summary>Where it stood when the next branch began.</summary>
        internal (RecoveryPoint? ConsistentUpTo, DateTimeOffset CurrentAsOf) End { get; set; }
    }

    private readonly List<LogEntry> _entries = [];
    private readonly List<bool> _viewable = [];
    private readonly List<Branch> _branches = [];
    private readonly List<RecoveryPoint> _points = [];
    private bool _gap;
    // Behind absorbed deltas: where the log ends. Held and Newest stay in front of them, because their data is in a batch to come.
    private (StreamPosition Held, Sequence Newest)? _run;

    internal StoreHistory(EpochRecord first) => _branches.Add(new Branch(first, 0));

    internal IReadOnlyList<LogEntry> Entries => _entries;
    internal IReadOnlyList<RecoveryPoint> Points => _points;
    internal Epoch Current => _branches[^1].Epoch;
    internal StreamPosition Held { get; private set; }
    internal Sequence Newest { get; private set; }
    internal DateTimeOffset CurrentAsOf { get; private set; }
    internal RecoveryPoint? ConsistentUpTo { get; private set; }
    internal bool Consistent => !_gap;
    /// <summary>It continues another epoch's log, and its stream has not made it whole yet.</summary>
    internal bool LacksItsStream => _gap && _branches[^1].Record.ContinuesAfter is not null && ConsistentUpTo?.Epoch != Current;

    /// <summary>False for a duplicate; throws where the batch does not continue the log.</summary>
    internal bool Accepts(BatchHeader header)
    {
        if (header.Epoch < Current) throw new StaleEpochException(Current);
        if (header.Epoch > Current) throw new InvalidDataException($"batch of epoch {header.Epoch}, but the store is in epoch {Current}");
        var (held, newest) = InRun(header) ? _run!.Value : (Held, Newest);
        if (header.Incarnation == held.Incarnation && header.Ordinal <= held.Ordinal) return false;
        if (header.Incarnation < held.Incarnation) throw new StreamGapException(Held);
        var begins = header is { Kind: BatchKind.Marker, Marker: MarkerKind.StreamStart };
        // Within an incarnation a second start is how a source says that it lost writes: what it lacks follows as sync batches.
        if (header.Incarnation > held.Incarnation ? header.Ordinal != 1 || !begins : header.Ordinal != held.Ordinal + 1)
            throw new StreamGapException(Held);
        // What continues another epoch's log has no stream to go on with.
        if (!begins && _branches[^1] is { Record.ContinuesAfter: not null } branch && branch.FirstEntry == _entries.Count) throw new StreamGapException(Held);
        if (InRun(header) && !header.IsTick && !(header.Kind == BatchKind.Delta && header.Coalesced)) throw new StreamGapException(Held);
        if (header.Last < header.First) throw new InvalidDataException("batch ends before it begins");
        if (header.Kind != BatchKind.Delta) return true;
        if (!_gap && header.First.Value != newest.Value + 1)
            throw new InvalidDataException($"delta begins at {header.First}, but the store is at {newest}");
        if (!header.Coalesced && header.Last.Value - header.First.Value + 1 != header.ExtentCount)
            throw new InvalidDataException("delta whose extents are not its sequences");
        return true;
    }

    internal void Apply(LogEntry entry, ReadOnlySpan<byte> text)
    {
        var header = entry.Header;
        var position = new StreamPosition(header.Incarnation, header.Ordinal);
        if (header.Absorbed || (header.IsTick && InRun(header)))
        {
            _run = (position, header.Absorbed ? header.Last : _run!.Value.Newest);
            _entries.Add(entry);
            _viewable.Add(false);
            return;
        }
        (_run, Held) = (null, position);
        if (header.Kind == BatchKind.Marker)
        {
            // A stream that continues from elsewhere than here is a gap, whatever it calls itself.
            if (header.Marker == MarkerKind.StreamStart && (!text.SequenceEqual("continue"u8) || header.First != Newest)) _gap = true;
            if (header.Marker == MarkerKind.SyncCompleted) _gap = false;
        }
        if (header.Kind == BatchKind.Delta || header.Marker == MarkerKind.SyncCompleted) Newest = header.Last;
        _entries.Add(entry);
        _viewable.Add(!_gap && header.Last == Newest);
        if (_gap) return;
        CurrentAsOf = header.Time;
        ConsistentUpTo = new RecoveryPoint(Current, Newest, header.Time, PointKind.CrashConsistent);
        if (header.Marker is MarkerKind.CrashConsistentPoint or MarkerKind.ApplicationConsistentPoint && header.Last == Newest)
            _points.Add(ConsistentUpTo with
            {
                Kind = header.Marker == MarkerKind.ApplicationConsistentPoint ? PointKind.ApplicationConsistent : PointKind.CrashConsistent,
                Label = text.IsEmpty ? null : System.Text.Encoding.UTF8.GetString(text),
            });
    }

    /// <summary>Whether it comes behind the absorbed deltas; else it begins their run anew, or another incarnation.</summary>
    private bool InRun(BatchHeader header) =>
        _run is { } run && header.Incarnation == run.Held.Incarnation && !(header.Incarnation == Held.Incarnation && header.Ordinal <= Held.Ordinal + 1);

    /// <summary>The next epoch begins.</summary>
    internal void Begin(EpochRecord epoch)
    {
        _branches[^1].End = (ConsistentUpTo, CurrentAsOf);
        if (epoch.ContinuesAfter is { } after) Continue(epoch, after);
        else Fork(epoch);
        _run = null;
    }

    internal bool Knows(Epoch epoch) => IndexOf(epoch) >= 0;

    private void Fork(EpochRecord fork)
    {
        var origin = Resolve(new Epoch(fork.ForkedFromEpoch), new Sequence(fork.ForkedFromSequence))
            ?? throw new InvalidDataException(string.Create(CultureInfo.InvariantCulture, $"epoch {fork.Epoch} forks from a position that the log does not have"));
        _branches.Add(new Branch(fork, _entries.Count));
        (_gap, Newest, CurrentAsOf) = (false, origin.Sequence, origin.At);
        ConsistentUpTo = origin with { Epoch = Current, Kind = PointKind.CrashConsistent, Label = null };
    }

    private void Continue(EpochRecord epoch, int after)
    {
        var parent = IndexOf(new Epoch(after));
        if (parent < 0) throw new InvalidDataException(string.Create(CultureInfo.InvariantCulture, $"epoch {epoch.Epoch} continues epoch {after}, which the store does not have"));
        _branches.Add(new Branch(epoch, _entries.Count));
        // The sequences of the other epoch's end say nothing about this one's, which may be lower.
        (_gap, Newest) = (true, Sequence.None);
        (ConsistentUpTo, CurrentAsOf) = _branches[parent].End;
    }

    internal RecoveryPoint? Choose(PointSelector selector) => selector switch
    {
        PointSelector.Latest => ConsistentUpTo,
        PointSelector.ById byId => RecoveryPoint.TryParseId(byId.Id, out var epoch, out var sequence) ? Resolve(epoch, sequence) : null,
        PointSelector.AtTime at => NewestAt(at.Time),
        _ => selector.Choose(PointsOnLine()),
    };

    internal RecoveryPoint? Resolve(Epoch epoch, Sequence sequence)
    {
        if (_points.FindLast(p => p.Epoch == epoch && p.Sequence == sequence) is { } marked) return marked;
        var branch = IndexOf(epoch);
        if (branch < 0) return null;
        var at = Find(branch, sequence);
        if (at >= 0) return new RecoveryPoint(epoch, sequence, _entries[at].Header.Time, PointKind.CrashConsistent);
        return _branches[branch].Forks(sequence) && Resolve(new Epoch(_branches[branch].Record.ForkedFromEpoch), sequence) is { } parent ? parent with { Epoch = epoch } : null;
    }

    /// <summary>The frames of a view in log order; of the last one of each range only sequences up to the limit.</summary>
    internal List<(int From, int To, long Limit)> RangesOf(Epoch epoch, Sequence sequence)
    {
        var (branch, at) = Locate(epoch, sequence);
        return at < 0 ? RangesBelow(branch) : [.. RangesBelow(branch), (_branches[branch].FirstEntry, at, sequence.Value)];
    }

    /// <summary>All frames of the current epoch's line, consistent or not.</summary>
    internal List<(int From, int To, long Limit)> RangesOfNewest() => WholeLine(_branches.Count - 1);

    /// <summary>
    /// The frames from the one on that reaches a point, or from the first of its epoch if that forks there, up to where <paramref name="before"/> begins: what other
    /// epochs wrote in between is among them.
    /// </summary>
    internal (int From, int To, bool Reaches) From(Epoch epoch, Sequence sequence, Epoch before)
    {
        var (branch, at) = Locate(epoch, sequence);
        var end = _branches.FindIndex(b => b.Epoch >= before);
        return (at < 0 ? _branches[branch].FirstEntry : at, (end < 0 ? EndOf(_branches.Count - 1) : _branches[end].FirstEntry) - 1, at >= 0);
    }

    /// <summary>The frames since a point's line and that of the last stream before <paramref name="before"/> parted, and whatever other epochs wrote in between.</summary>
    internal (int From, int To, bool Reaches) FromParting(Epoch epoch, Sequence sequence, Epoch before)
    {
        var own = From(epoch, sequence, before);
        var source = _branches.FindLastIndex(b => b.Epoch < before && b.Record.ForkedFromEpoch == 0);
        // Behind the frame at which each branch of the source's line was left.
        var left = new Dictionary<int, int>();
        for (var (branch, at) = (source, int.MaxValue); branch >= 0; (branch, at) = ParentOf(branch)) left[branch] = at;
        for (var (branch, at) = (IndexOf(epoch), own.Reaches ? own.From : own.From - 1); branch >= 0; (branch, at) = ParentOf(branch))
            if (left.TryGetValue(branch, out var theirs))
                return branch == IndexOf(epoch) && at <= theirs ? own : (Math.Max(Math.Min(at, theirs), _branches[branch].FirstEntry), own.To, false);
        return (0, own.To, false);
    }

    /// <summary>The branch that one comes from, and the last of its frames that it shows, if only in part; before the branch's first where it shows none.</summary>
    private (int Branch, int Entry) ParentOf(int branch)
    {
        var record = _branches[branch].Record;
        if (record.ContinuesAfter is { } after)
        {
            var parent = IndexOf(new Epoch(after));
            return (parent, EndOf(parent));
        }
        if (record.ForkedFromEpoch == 0) return (-1, -1);
        var (origin, at) = Locate(new Epoch(record.ForkedFromEpoch), new Sequence(record.ForkedFromSequence));
        return (origin, at >= 0 ? at : _branches[origin].FirstEntry - 1);
    }

    private List<(int From, int To, long Limit)> WholeLine(int branch) => [.. RangesBelow(branch), (_branches[branch].FirstEntry, EndOf(branch) - 1, long.MaxValue)];

    private List<(int From, int To, long Limit)> RangesBelow(int branch)
    {
        var epoch = _branches[branch].Record;
        if (epoch.ContinuesAfter is { } after) return WholeLine(IndexOf(new Epoch(after)));
        return branch == 0 ? [] : RangesOf(new Epoch(epoch.ForkedFromEpoch), new Sequence(epoch.ForkedFromSequence));
    }

    private int IndexOf(Epoch epoch) => _branches.FindIndex(b => b.Epoch == epoch);

    private int EndOf(int branch) => branch + 1 < _branches.Count ? _branches[branch + 1].FirstEntry : _entries.Count;

    /// <summary>The entry at which a position is reached; -1 where that is the fork itself.</summary>
    private (int Branch, int Entry) Locate(Epoch epoch, Sequence sequence)
    {
        var branch = IndexOf(epoch);
        if (branch < 0) throw new InvalidDataException($"no epoch {epoch} in this store");
        var at = Find(branch, sequence);
        return at >= 0 || _branches[branch].Forks(sequence) ? (branch, at) : throw new InvalidDataException($"{RecoveryPoint.IdOf(epoch, sequence)} is not viewable in this store");
    }

    private int Find(int branch, Sequence sequence)
    {
        for (var i = EndOf(branch) - 1; i >= _branches[branch].FirstEntry; i--)
        {
            if (!_viewable[i]) continue;
            var header = _entries[i].Header;
            if (header.Last == sequence) return i;
            if (header is { Kind: BatchKind.Delta, Coalesced: false } && header.First <= sequence && sequence < header.Last) return i;
        }
        return -1;
    }

    private RecoveryPoint? NewestAt(DateTimeOffset time)
    {
        var line = Line();
        for (var i = _entries.Count - 1; i >= 0; i--)
            if (_viewable[i] && _entries[i].Header is var header && header.Time <= time && IsOn(line, header.Epoch, header.Last))
                return Resolve(header.Epoch, header.Last);
        return null;
    }

    private List<RecoveryPoint> PointsOnLine()
    {
        var line = Line();
        return _points.FindAll(p => IsOn(line, p.Epoch, p.Sequence));
    }

    private static bool IsOn(List<(Epoch Epoch, long Limit)> line, Epoch epoch, Sequence sequence) => line.Exists(l => l.Epoch == epoch && sequence.Value <= l.Limit);

    /// <summary>The current epoch and those that it comes from, each up to where the next leaves it.</summary>
    private List<(Epoch Epoch, long Limit)> Line()
    {
        var (line, limit) = (new List<(Epoch, long)>(), long.MaxValue);
        for (var branch = _branches.Count - 1; branch >= 0;)
        {
            line.Add((_branches[branch].Epoch, limit));
            var epoch = _branches[branch].Record;
            limit = epoch.ContinuesAfter is null ? epoch.ForkedFromSequence : long.MaxValue;
            branch = IndexOf(new Epoch(epoch.ContinuesAfter ?? epoch.ForkedFromEpoch));
        }
        return line;
    }
}
