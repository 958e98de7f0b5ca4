using System.Globalization;
using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.DataPlane.Storage;
using SiteRecovery.Domain.History;

namespace SiteRecovery.DataPlane.Retention;

/// <summary>
/// What the log means: epochs, what is viewable, and which frames make up a view. In memory are a few words per segment and the frames of the last one; those
/// of another segment are read again when a position is looked for in it. Not safe for concurrent calls.
/// </summary>
internal sealed partial class StoreHistory
{
    internal sealed record Branch(EpochRecord Record, FramePosition First)
    {
        internal Epoch Epoch => new(Record.Epoch);
        /// <summary>Where it begins in the base; null: it has all its frames, and what it comes from is there too.</summary>
        internal RecoveryPoint? Floor { get; init; }
        internal bool Forks(Sequence at) => Floor is null && Record.ForkedFromEpoch > 0 && Record.ForkedFromSequence == at.Value;
        /// <summary>It shows the position without any frame of its own.</summary>
        internal bool BeginsAt(Sequence at) => Floor is { } floor ? floor.Sequence == at : Forks(at);
        /// <summary>Where it stood when the next branch began.</summary>
        internal (RecoveryPoint? ConsistentUpTo, DateTimeOffset CurrentAsOf, StreamPosition Held) End { get; set; }
    }

    /// <summary>An epoch that is about to begin.</summary>
    internal sealed record Beginning(Branch Branch, HistoryState State);

    private const int SegmentsRemembered = 4;
    private const int FramesExpectedMax = 1 << 16; // room is made for more when they are there
    private readonly Func<int, IEnumerable<LogEntry>> _framesOf;
    private readonly Func<LogEntry, byte[]> _textOf;
    private readonly Func<IEnumerable<(Epoch, Sequence)>> _origins;
    private readonly UnreadablePlaces _starts;
    private readonly List<SegmentHistory> _segments = []; // ascending; numbers may be missing at the beginning
    private readonly List<Branch> _branches = [];
    private readonly List<(RecoveryPoint Point, int Segment)> _points = [];
    private readonly Dictionary<int, List<HistoryFrame>> _remembered = [];
    private readonly Queue<int> _rememberedInTurn = new();
    private HistoryState _state = new();
    private int _pointsOfSealed;
    private DateTimeOffset _floorAsOf; // what the oldest position that is kept was current as of
    private bool _begun; // an epoch, since the last frame

    /// <param name="framesOf">The frames of a segment that is not the last, in log order.</param>
    /// <param name="textOf">The text of a marker.</param>
    /// <param name="origins">Where epochs have forked: each of these positions was viewable.</param>
    /// <param name="starts">Those of streams that cannot be read.</param>
    internal StoreHistory(
        EpochRecord first, PromotedRecord? promoted, Func<int, IEnumerable<LogEntry>> framesOf, Func<LogEntry, byte[]> textOf, Func<IEnumerable<(Epoch, Sequence)>> origins, UnreadablePlaces starts)
    {
        (_framesOf, _textOf, _origins, _starts) = (framesOf, textOf, origins, starts);
        _branches.Add(new Branch(first, promoted is null ? default : new FramePosition(promoted.Segment + 1, 0)) { Floor = promoted?.Point });
        if (promoted is null) return;
        _floorAsOf = promoted.CurrentAsOf;
        _points.Add((promoted.Point, promoted.Segment));
        _state = new HistoryState { Held = promoted.Held, Newest = new Sequence(promoted.Sequence), CurrentAsOf = promoted.CurrentAsOf, ConsistentUpTo = promoted.Point with { Kind = PointKind.CrashConsistent, Label = null } };
    }

    internal IEnumerable<RecoveryPoint> Points => _points.Select(p => p.Point);
    internal int PointCount => _points.Count;
    /// <summary>The one that was marked last, on whatever line.</summary>
    internal RecoveryPoint? LastPoint => _points.Count > 0 ? _points[^1].Point : null;
    internal RecoveryPoint? OldestPoint => _points.Count > 0 ? _points[0].Point : null;
    internal Epoch Current => _branches[^1].Epoch;
    internal StreamPosition Held => _state.Held;
    internal Sequence Newest => _state.Newest;
    internal DateTimeOffset CurrentAsOf => _state.CurrentAsOf;
    internal RecoveryPoint? ConsistentUpTo => _state.ConsistentUpTo;
    internal bool Consistent => !_state.Gap;
    internal bool HasExtents => _segments.Exists(s => s.Extents > 0);
    /// <summary>Behind the last frame.</summary>
    internal FramePosition End => _segments.Count == 0 ? default : new FramePosition(_segments[^1].Number, _segments[^1].Frames);
    internal IEnumerable<int> Segments => _segments.Select(s => s.Number);

    internal int FramesIn(int segment) => _segments.FindLast(s => s.Number == segment)?.Frames ?? 0;

    /// <summary>It continues another epoch's log, and its stream has not made it whole yet.</summary>
    internal bool LacksItsStream => _state.Gap && _branches[^1].Record.ContinuesAfter is not null && ConsistentUpTo?.Epoch != Current;

    /// <summary>The newest sequence that the current epoch's source has given; none before its stream is whole, for where the epoch before has ended may be far above what it gives.</summary>
    internal Sequence NewestOfSource => LacksItsStream ? Sequence.None : Newest;

    /// <summary>False for a duplicate; throws where the batch does not continue the log.</summary>
    internal bool Accepts(BatchHeader header)
    {
        if (header.Epoch < Current) throw new StaleEpochException(Current);
        if (header.Thinned) throw new InvalidDataException("only a store thins");
        if (header.Epoch > Current) throw new InvalidDataException($"batch of epoch {header.Epoch}, but the store is in epoch {Current}");
        var inRun = _state.InRun(header);
        var (held, newest) = inRun ? _state.Run!.Value : (Held, Newest);
        if (header.Incarnation == held.Incarnation && header.Ordinal <= held.Ordinal) return false;
        if (header.Incarnation < held.Incarnation) throw new StreamGapException(Held);
        var begins = header is { Kind: BatchKind.Marker, Marker: MarkerKind.StreamStart };
        // Within an incarnation a second start is how a source says that it lost writes: what it lacks follows as sync batches.
        if (header.Incarnation > held.Incarnation ? header.Ordinal != 1 || !begins : header.Ordinal != held.Ordinal + 1)
            throw new StreamGapException(Held);
        // What continues another epoch's log has no stream to go on with.
        if (!begins && _branches[^1] is { Record.ContinuesAfter: not null } branch && branch.First >= End) throw new StreamGapException(Held);
        if (inRun && !header.IsTick && !(header.Kind == BatchKind.Delta && header.Coalesced)) throw new StreamGapException(Held);
        if (header.Last < header.First) throw new InvalidDataException("batch ends before it begins");
        if (header.Kind != BatchKind.Delta) return true;
        if (!_state.Gap && header.First.Value != newest.Value + 1)
            throw new InvalidDataException($"delta begins at {header.First}, but the store is at {newest}");
        if (!header.Coalesced && header.Last.Value - header.First.Value + 1 != header.ExtentCount)
            throw new InvalidDataException("delta whose extents are not its sequences");
        return true;
    }

    internal void Apply(LogEntry entry, ReadOnlySpan<byte> text)
    {
        var header = entry.Header;
        if (_segments.Count == 0 || _segments[^1].Number != entry.Segment.Number) Start(entry.Segment.Number);
        else if (_begun) _segments[^1].HasSeveralEpochs = true;
        _begun = false;
        (_state, var viewable) = _state.After(header, text);
        _segments[^1].Add(entry, viewable);
        _segments[^1].After = _state;
        if (PointAt(_state, header, viewable, text) is { } point) _points.Add((point, entry.Segment.Number));
    }

    /// <summary>The point that a frame marks; null: none.</summary>
    /// <param name="state">Behind the frame.</param>
    internal static RecoveryPoint? PointAt(HistoryState state, BatchHeader header, bool viewable, ReadOnlySpan<byte> text)
    {
        if (state.Gap || !viewable || header.Marker is not (MarkerKind.CrashConsistentPoint or MarkerKind.ApplicationConsistentPoint)) return null;
        return state.ConsistentUpTo! with
        {
            Kind = header.Marker == MarkerKind.ApplicationConsistentPoint ? PointKind.ApplicationConsistent : PointKind.CrashConsistent,
            Label = text.IsEmpty ? null : System.Text.Encoding.UTF8.GetString(text),
        };
    }

    /// <summary>What is to be known of the last segment, which ends here; null where it cannot be told apart from epochs that began in it or behind it.</summary>
    internal SegmentEnd? EndOf(int segment, ulong tag, long bytes)
    {
        if (_begun || _segments.Count == 0 || _segments[^1].Number != segment || _segments[^1].HasSeveralEpochs) return null;
        return SegmentEnd.Of(tag, bytes, Current, _segments[^1], _state, _points.Skip(_pointsOfSealed).Select(p => p.Point));
    }

    /// <summary>A sealed segment of the current epoch, by what its end says. False: thinning has changed what lies in front of it, so that its frames have to tell.</summary>
    internal bool TryRestore(SegmentEnd end)
    {
        if (end.ThinnedBefore != _state.ThinnedUntil) return false;
        Start(end.Segment);
        _segments[^1].Restore(end);
        _points.AddRange(end.Points.Select(p => (p.ToPoint(), end.Segment)));
        _segments[^1].After = _state = end.State;
        return true;
    }

    /// <summary>What the store is once it has begun an epoch. It may have to read the log for it; nothing changes here.</summary>
    /// <exception cref="InvalidDataException">The log does not have what it forks from or continues.</exception>
    internal Beginning Plan(EpochRecord epoch) => epoch.ContinuesAfter is { } after ? Continued(epoch, after) : Forked(epoch);

    /// <summary>Nothing of it can fail: what is on the disk by now must not be otherwise here.</summary>
    internal void Begin(Beginning planned)
    {
        _branches[^1].End = (ConsistentUpTo, CurrentAsOf, Held);
        _begun = true;
        _branches.Add(planned.Branch);
        _state = planned.State;
    }

    internal bool Knows(Epoch epoch) => IndexOf(epoch) >= 0;

    private void Start(int segment)
    {
        if (_segments.Count > 0 && !_segments[^1].HasSeveralEpochs) _segments[^1].Kept = null;
        _pointsOfSealed = _points.Count;
        _segments.Add(new SegmentHistory(segment, _state));
    }

    private Beginning Forked(EpochRecord fork)
    {
        var origin = Resolve(new Epoch(fork.ForkedFromEpoch), new Sequence(fork.ForkedFromSequence))
            ?? throw new InvalidDataException(string.Create(CultureInfo.InvariantCulture, $"epoch {fork.Epoch} forks from a position that the log does not have"));
        // Not that of a mark, which thinning may take away before the position.
        var at = ReachedAt(origin.Epoch, origin.Sequence) ?? origin.At;
        return new Beginning(new Branch(fork, End), new HistoryState
        {
            Held = _state.Held, Newest = origin.Sequence, CurrentAsOf = at,
            ConsistentUpTo = origin with { At = at, Epoch = new Epoch(fork.Epoch), Kind = PointKind.CrashConsistent, Label = null },
        });
    }

    private Beginning Continued(EpochRecord epoch, int after)
    {
        var parent = IndexOf(new Epoch(after));
        if (parent < 0) throw new InvalidDataException(string.Create(CultureInfo.InvariantCulture, $"epoch {epoch.Epoch} continues epoch {after}, which the store does not have"));
        var (consistent, asOf, _) = parent == _branches.Count - 1 ? (ConsistentUpTo, CurrentAsOf, Held) : _branches[parent].End;
        // The sequences of the other epoch's end say nothing about this one's, which may be lower.
        return new Beginning(new Branch(epoch, End), new HistoryState { Gap = true, Held = _state.Held, Newest = Sequence.None, ConsistentUpTo = consistent, CurrentAsOf = asOf });
    }

    /// <summary>The frames of a segment; of one that is not in memory as its end was restored or written.</summary>
    /// <exception cref="IOException">What a start said cannot be read just now, and nothing else tells it for sure.</exception>
    private List<HistoryFrame> FramesOf(SegmentHistory segment)
    {
        IOException? unsure = null;
        var frames = FramesOf(segment, ref unsure);
        return unsure is null ? frames : throw unsure;
    }

    /// <param name="unsure">Set where some of them may be viewable that are not shown so: what a start said cannot be read just now.</param>
    private List<HistoryFrame> FramesOf(SegmentHistory segment, ref IOException? unsure)
    {
        if (segment.Kept is { } kept) return kept;
        if (_remembered.TryGetValue(segment.Number, out var remembered)) return remembered;
        var (frames, unread, isGuess) = Read(segment, ref unsure);
        if (unread is not null && !ShowsPoints(segment, frames)) throw unread;
        // It may be readable the next time.
        if (isGuess) return frames;
        if (_rememberedInTurn.Count == SegmentsRemembered) _remembered.Remove(_rememberedInTurn.Dequeue());
        _rememberedInTurn.Enqueue(segment.Number);
        return _remembered[segment.Number] = frames;
    }

    private bool? HasContinued(SegmentHistory segment, int index) => StreamStarts.HasContinued([.. _framesOf(segment.Number).Select(e => e.Header)], index, segment.After.Gap,
        PointsOf(segment), segment.LastSequence < 0 ? null : segment.After.ConsistentUpTo, _origins());

    private IEnumerable<RecoveryPoint> PointsOf(SegmentHistory segment) => _points.Where(p => p.Segment == segment.Number).Select(p => p.Point);

    private bool ShowsPoints(SegmentHistory segment, List<HistoryFrame> frames) =>
        PointsOf(segment).All(p => frames.Exists(f => f.Viewable && f.Entry.Header.Epoch == p.Epoch && Reaches(f.Entry.Header, p.Sequence)));

    /// <returns>With an error where what a start said was told by what became of it; a guess where that is not sure, and the disk may give it again.</returns>
    private (List<HistoryFrame> Frames, IOException? Unread, bool IsGuess) Read(SegmentHistory segment, ref IOException? unsure)
    {
        var (frames, state) = (new List<HistoryFrame>(Math.Min(segment.Frames, FramesExpectedMax)), segment.Before);
        var (unread, isGuess) = ((IOException?)null, false);
        foreach (var entry in _framesOf(segment.Number))
        {
            ReadOnlySpan<byte> text = default;
            try
            {
                // Of no other marker the text matters here.
                if (entry.Header.Marker == MarkerKind.StreamStart)
                {
                    text = _textOf(entry);
                    _starts.WasRead(entry.Segment.Number, entry.Offset);
                }
            }
            catch (IOException failure)
            {
                var continued = HasContinued(segment, frames.Count);
                text = continued == true ? "continue"u8 : "gap"u8;
                unread = failure;
                // All of them are looked at, so that none has to be waited for behind another.
                if (continued is null && !_starts.IsDamage(failure, entry.Segment.Number, entry.Offset)) unsure ??= failure;
                isGuess |= continued is null && !DiskFailure.IsDamage(failure);
            }
            (state, var viewable) = state.After(entry.Header, text);
            frames.Add(new HistoryFrame(entry, viewable));
        }
        // Everything else counts on it, epochs that began behind the segment above all.
        if (frames.Count != segment.Frames) throw StoreLog.OtherFrames(segment.Number, frames.Count, segment.Frames);
        return (frames, unread, isGuess);
    }
}
