using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.Domain.History;

namespace SiteRecovery.DataPlane.Retention;

/// <summary>Which frames of a unit stay as they are: those that reach the positions that are kept. Everything in between becomes a part of the next of them.</summary>
internal sealed class ThinningPlan
{
    private sealed class Position(long sequence)
    {
        internal long Sequence => sequence;
        /// <summary>It was reached before, and what was written since is another state under the same name.</summary>
        internal bool Again { get; set; }
        internal Keep Last { get; set; }
        /// <summary>The last frame that says that nothing newer exists: the position's time.</summary>
        internal Keep Until { get; set; }
        internal List<Keep> Marks { get; } = [];
        internal List<Keep> Keeps => Marks.Count > 0 ? Marks : [Last];
    }

    /// <summary>A frame that stays, and with it the position that it reaches.</summary>
    internal readonly record struct Keep(FramePosition At, BatchHeader Header);

    private enum Rank { Position, Point, Labelled, ApplicationConsistent, Protected }

    private readonly ThinnableUnit _unit;
    private readonly IReadOnlySet<long> _asked, _protected;
    private readonly Func<DateTimeOffset, (TimeSpan Every, DateTimeOffset End)?> _slotAt;
    private readonly Dictionary<(TimeSpan, DateTimeOffset), (Rank Rank, List<Keep> Keeps)> _slots = [], _waiting = [];
    private readonly List<Keep> _keeps = [];
    private readonly List<(FramePosition From, FramePosition Last)> _verbatim = [];
    private readonly HashSet<long> _kept = [];
    private readonly HashSet<FramePosition> _keptAt = [];
    private readonly Dictionary<int, Keep> _ends = [];
    private Position? _position;
    private Keep? _beginsUntil; // the time of the position that the unit begins at
    private Keep? _lastViewable; // since the last verbatim frame
    private Keep? _lastFrame; // of the segment: but for ticks, and null where it reaches no position
    private FramePosition _verbatimFrom;
    private HistoryState _state;
    private long _reached;
    private bool _written; // since the last position

    /// <param name="framesOf">The frames of a segment, with the text of those that start a stream.</param>
    /// <param name="asked">Sequences of the unit's epoch that have to stay.</param>
    /// <param name="protectedOnes">Those of them that somebody protects.</param>
    internal ThinningPlan(ThinnableUnit unit, Func<int, IEnumerable<(BatchHeader Header, byte[] Text)>> framesOf, Func<DateTimeOffset, (TimeSpan Every, DateTimeOffset End)?> slotAt,
        IReadOnlySet<long> asked, IReadOnlySet<long> protectedOnes)
    {
        (_unit, _slotAt, _asked, _protected, _state, _reached) = (unit, slotAt, asked, protectedOnes, unit.Before, unit.Reached);
        _written = unit.Before is { Gap: true } or { Run: not null } or { ThinnedUntil: not null };
        _verbatimFrom = new FramePosition(unit.Segments[0], 0);
        foreach (var number in unit.Segments)
        {
            var index = 0;
            _lastFrame = null;
            foreach (var (header, text) in framesOf(number)) Look(new FramePosition(number, index++), header, text);
            if (_lastFrame is { } end && _state is { Gap: false, Run: null, ThinnedUntil: null }) _ends[number] = end;
        }
        ClosePosition();
        foreach (var (_, keeps) in _slots.Values) KeepAll(keeps);
        KeepWhatWaits();
        if (_beginsUntil is { } until && _asked.Contains(until.Header.Last.Value)) Add(until);
        _keeps.Sort((a, b) => a.At.CompareTo(b.At));
        Segments = [.. unit.Segments.TakeWhile(s => _keeps.Count > 0 && s <= _keeps[^1].At.Segment)];
        if (Segments.Count == 0 || unit.EpochEnded) return;
        if (EndBehind(_keeps[^1].At.Segment) is not null)
        {
            KeepWhatWaits();
            _keeps.Sort((a, b) => a.At.CompareTo(b.At));
            return;
        }
        // A segment of which a part has to wait waits as a whole, so that nothing is written twice.
        var skipped = 0;
        foreach (var (header, _) in framesOf(_keeps[^1].At.Segment))
            if (skipped++ > _keeps[^1].At.Index && (header.ExtentCount > 0 || !IsSilent(header)))
            {
                Segments.RemoveAt(Segments.Count - 1);
                break;
            }
    }

    internal ThinnableUnit Unit => _unit;
    internal IReadOnlyList<Keep> Keeps => _keeps;
    /// <summary>Those that are rewritten.</summary>
    internal List<int> Segments { get; }
    /// <summary>How many of them are done.</summary>
    internal int Done { get; set; }

    /// <summary>The frame that a frame is or becomes a part of; null: it stays as it is.</summary>
    internal Keep? EndOf(FramePosition at)
    {
        if (_verbatim.Exists(v => v.From <= at && at <= v.Last)) return null;
        var (low, high) = (0, _keeps.Count);
        while (low < high)
        {
            var middle = (low + high) / 2;
            if (_keeps[middle].At < at) low = middle + 1;
            else high = middle;
        }
        return low < _keeps.Count ? _keeps[low] : null;
    }

    /// <summary>Whether a position that somebody needs now stays, or is none of the unit's.</summary>
    internal bool Spares(Epoch epoch, Sequence sequence) => epoch != _unit.Epoch || sequence.Value < _unit.FirstSequence || sequence.Value > _unit.LastSequence
        || _kept.Contains(sequence.Value) || _asked.Contains(sequence.Value);

    /// <summary>
    /// The first segment, from one on in which a position is kept, that ends with a viewable position: what is written may end there, and be promoted, for that position is kept too from here on.
    /// Null: nothing is kept in it, or none ends so.
    /// </summary>
    internal int? EndBehind(int number)
    {
        if (!_keeps.Exists(k => k.At.Segment == number)) return null;
        foreach (var segment in Segments.Where(s => s >= number))
            if (_ends.TryGetValue(segment, out var end))
            {
                if (!_keptAt.Add(end.At)) return segment;
                var at = _keeps.FindIndex(k => k.At > end.At);
                _keeps.Insert(at < 0 ? _keeps.Count : at, end);
                return segment;
            }
        return null;
    }

    private static bool IsSilent(BatchHeader header) => header.IsTick || header is { Kind: BatchKind.Marker, Marker: MarkerKind.StreamStart };

    private void Look(FramePosition at, BatchHeader header, byte[] text)
    {
        (_state, var viewable) = _state.After(header, text);
        var writes = header.ExtentCount > 0;
        var sequence = header.Last.Value;
        // The very first stream begins at a position that nothing else reaches.
        if (!viewable || (IsSilent(header) && (header.IsTick || sequence <= _reached)))
        {
            _written |= writes;
            if (!header.IsTick) _lastFrame = null;
            if (!viewable || _written) return;
            if (_position is null) _beginsUntil = new Keep(at, header);
            else if (_position.Sequence == sequence) _position.Until = new Keep(at, header);
            return;
        }
        if (_position is null || _position.Sequence != sequence)
        {
            ClosePosition();
            _position = new Position(sequence) { Again = sequence <= _reached && (_written || writes) };
        }
        else if (_written || writes)
        {
            _position.Marks.Clear();
            _position.Again = true;
        }
        (_written, _reached) = (false, Math.Max(_reached, sequence));
        // Of a frame of several writes one may be asked for that is not the last.
        if (header is { Kind: BatchKind.Delta, Coalesced: false } && header.First < header.Last && _asked.Any(s => header.First.Value <= s && s < sequence)) KeepVerbatim(at);
        _position.Last = _position.Until = new Keep(at, header);
        _lastViewable = _lastFrame = _position.Last;
        if (header.Marker is MarkerKind.CrashConsistentPoint or MarkerKind.ApplicationConsistentPoint) _position.Marks.Add(_position.Last);
    }

    /// <summary>In front of it everything has to be whole.</summary>
    private void KeepVerbatim(FramePosition at)
    {
        if (_lastViewable is { } whole)
        {
            Add(whole);
            _verbatimFrom = whole.At;
        }
        _verbatim.Add((_verbatimFrom, at));
        (_lastViewable, _verbatimFrom) = (null, at);
    }

    private void ClosePosition()
    {
        if (_position is not { } position) return;
        _position = null;
        var isProtected = _protected.Contains(position.Sequence);
        var isAsked = isProtected || _asked.Contains(position.Sequence);
        // Who forked from it has its time.
        if (isAsked) Add(position.Until);
        // One at which nobody wrote for long has marks in many slots.
        foreach (var group in position.Keeps.GroupBy(k => _slotAt(k.Header.Time)).ToArray())
        {
            var rank = isProtected ? Rank.Protected : position.Marks.Count == 0 ? Rank.Position : group.Max(m => RankOf(m.Header));
            var keeps = group.Where(k => RankOf(k.Header) > Rank.Point).ToList();
            if (keeps.Count == 0) keeps = [group.Last()];
            if (position.Again || isAsked) KeepAll(keeps);
            if (group.Key is not { } slot) continue;
            var slots = slot.End > _unit.Following ? _waiting : _slots;
            if (!slots.TryGetValue(slot, out var best) || best.Rank <= rank) slots[slot] = (rank, keeps);
        }
    }

    /// <summary>What waits for the rest of its slot would else become a part of what is kept behind it.</summary>
    private void KeepWhatWaits()
    {
        foreach (var (_, keeps) in _waiting.Values)
            if (_keeps.Exists(k => k.At > keeps[0].At)) KeepAll(keeps);
    }

    private static Rank RankOf(BatchHeader point) =>
        point.Marker == MarkerKind.ApplicationConsistentPoint ? Rank.ApplicationConsistent : point.RawBytes > 0 ? Rank.Labelled : Rank.Point;

    private void KeepAll(List<Keep> keeps)
    {
        foreach (var keep in keeps)
        {
            _kept.Add(keep.Header.Last.Value);
            Add(keep);
        }
    }

    private void Add(Keep keep)
    {
        if (_keptAt.Add(keep.At)) _keeps.Add(keep);
    }
}
