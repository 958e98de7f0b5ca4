using System.Globalization;
using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.Domain.History;

namespace SiteRecovery.DataPlane.Retention;

/// <summary>What the log means: epochs, what is viewable, and which frames make up a view. Not safe for concurrent calls.</summary>
internal sealed class StoreHistory
{
    private sealed record Branch(EpochRecord Fork, int FirstEntry);

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
    internal Epoch Current => new(_branches[^1].Fork.Epoch);
    internal StreamPosition Held { get; private set; }
    internal Sequence Newest { get; private set; }
    internal DateTimeOffset CurrentAsOf { get; private set; }
    internal RecoveryPoint? ConsistentUpTo { get; private set; }
    internal bool Consistent => !_gap;

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

    internal void Fork(EpochRecord fork)
    {
        var origin = Resolve(new Epoch(fork.ForkedFromEpoch), new Sequence(fork.ForkedFromSequence))
            ?? throw new InvalidDataException(string.Create(CultureInfo.InvariantCulture, $"epoch {fork.Epoch} forks from a position that the log does not have"));
        _branches.Add(new Branch(fork, _entries.Count));
        _run = null;
        (_gap, Newest, CurrentAsOf) = (false, origin.Sequence, origin.At);
        ConsistentUpTo = origin with { Epoch = Current, Kind = PointKind.CrashConsistent, Label = null };
    }

    internal RecoveryPoint? Choose(PointSelector selector) => selector switch
    {
        PointSelector.Latest => ConsistentUpTo,
        PointSelector.ById byId => RecoveryPoint.TryParseId(byId.Id, out var epoch, out var sequence) ? Resolve(epoch, sequence) : null,
        PointSelector.AtTime at => NewestAt(at.Time),
        _ => selector.Choose(_points),
    };

    internal RecoveryPoint? Resolve(Epoch epoch, Sequence sequence)
    {
        if (_points.FindLast(p => p.Epoch == epoch && p.Sequence == sequence) is { } marked) return marked;
        var branch = _branches.FindIndex(b => b.Fork.Epoch == epoch.Value);
        if (branch < 0) return null;
        var at = Find(branch, sequence);
        if (at >= 0) return new RecoveryPoint(epoch, sequence, _entries[at].Header.Time, PointKind.CrashConsistent);
        var fork = _branches[branch].Fork;
        return branch > 0 && fork.ForkedFromSequence == sequence.Value
            ? Resolve(new Epoch(fork.ForkedFromEpoch), sequence) is { } parent ? parent with { Epoch = epoch } : null
            : null;
    }

    /// <summary>The frames of a view in log order; of the last one of each range only sequences up to the limit.</summary>
    internal List<(int From, int To, long Limit)> RangesOf(Epoch epoch, Sequence sequence)
    {
        var branch = _branches.FindIndex(b => b.Fork.Epoch == epoch.Value);
        if (branch < 0) throw new InvalidDataException($"no epoch {epoch} in this store");
        var at = Find(branch, sequence);
        if (at >= 0) return [.. RangesBelow(branch), (_branches[branch].FirstEntry, at, sequence.Value)];
        if (branch > 0 && _branches[branch].Fork.ForkedFromSequence == sequence.Value) return RangesBelow(branch);
        throw new InvalidDataException($"{RecoveryPoint.IdOf(epoch, sequence)} is not viewable in this store");
    }

    /// <summary>All frames of the current epoch's line, consistent or not.</summary>
    internal List<(int From, int To, long Limit)> RangesOfNewest() =>
        [.. RangesBelow(_branches.Count - 1), (_branches[^1].FirstEntry, _entries.Count - 1, long.MaxValue)];

    private List<(int From, int To, long Limit)> RangesBelow(int branch)
    {
        var fork = _branches[branch].Fork;
        return branch == 0 ? [] : RangesOf(new Epoch(fork.ForkedFromEpoch), new Sequence(fork.ForkedFromSequence));
    }

    private int Find(int branch, Sequence sequence)
    {
        var end = branch + 1 < _branches.Count ? _branches[branch + 1].FirstEntry : _entries.Count;
        for (var i = end - 1; i >= _branches[branch].FirstEntry; i--)
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
        for (var i = _entries.Count - 1; i >= 0; i--)
            if (_viewable[i] && _entries[i].Header.Time <= time && OnCurrentLine(i))
                return Resolve(_entries[i].Header.Epoch, _entries[i].Header.Last);
        return null;
    }

    private bool OnCurrentLine(int index) => RangesOfNewest().Exists(r => index >= r.From && index <= r.To && _entries[index].Header.Last.Value <= r.Limit);
}
