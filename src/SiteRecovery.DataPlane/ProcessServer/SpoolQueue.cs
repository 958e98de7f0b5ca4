using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.Domain.History;

namespace SiteRecovery.DataPlane.ProcessServer;

/// <summary>Where a frame lies.</summary>
/// <param name="Time">The source's; of one that waits behind others it may be that of the frame before it, which is no later.</param>
internal readonly record struct SpoolFrame(SpoolSegment Segment, long Offset, StreamPosition Position, DateTimeOffset Time);

/// <summary>Order and positions of what a machine's spool holds: durable ≤ handed on ≤ held. No I/O; the owner's lock guards every call.</summary>
internal sealed class SpoolQueue
{
    private readonly List<SpoolSegment> _segments = [];
    private readonly Queue<SpoolFrame> _handed = new();
    private readonly Queue<(StreamPosition Position, int Bytes)> _underWay = new();
    private SpoolSegment? _cursorSegment;
    private long _cursorOffset, _cursorOrdinal;
    private DateTimeOffset _cursorTime;

    public IReadOnlyList<SpoolSegment> Segments => _segments;
    public StreamPosition Held { get; private set; }
    public StreamPosition Durable { get; private set; }
    public Sequence DurableSequence { get; private set; }
    public int HandedFrames => _handed.Count;
    /// <summary>Handed on and not yet received by the next room: its memory.</summary>
    public long UnderWayBytes { get; private set; }
    public bool HasCursor => _cursorSegment is not null;
    public bool HasPending => _handed.Count > 0 || TryPeek(out _);

    public void Start(StreamPosition durable, Sequence sequence)
    {
        (Durable, DurableSequence) = (durable, sequence);
        if (Held.CompareTo(durable) < 0) Held = durable;
    }

    public void Add(SpoolSegment segment)
    {
        _segments.Add(segment);
        if (!segment.IsEmpty && segment.Last.CompareTo(Held) > 0) Held = segment.Last;
    }

    public void Appended(SpoolSegment segment, StreamPosition position, DateTimeOffset time, int bytes)
    {
        if (segment.IsEmpty) (segment.FirstOrdinal, segment.FirstTime) = (position.Ordinal, time);
        // It waits behind nothing: however long ago the one before it was, it is no older than it is.
        if (_cursorSegment == segment && _cursorOffset == segment.End) _cursorTime = time;
        segment.LastOrdinal = position.Ordinal;
        segment.End += bytes;
        Held = position;
    }

    /// <summary>At start: the oldest frame that is not durable.</summary>
    public void PointAt(SpoolSegment segment, long offset, long ordinal, DateTimeOffset time) => (_cursorSegment, _cursorOffset, _cursorOrdinal, _cursorTime) = (segment, offset, ordinal, time);

    private void PointAt(SpoolSegment segment) => PointAt(segment, segment.HeaderBytes, segment.FirstOrdinal, segment.FirstTime);

    /// <summary>The next frame to hand on.</summary>
    public bool TryPeek(out SpoolFrame frame)
    {
        frame = default;
        if (_segments.Count == 0) return false;
        if (_cursorSegment is null) PointAt(_segments[0]);
        var index = -1;
        while (_cursorOffset >= _cursorSegment!.End)
        {
            if (index < 0) index = _segments.IndexOf(_cursorSegment);
            if (++index >= _segments.Count) return false;
            PointAt(_segments[index]);
        }
        // A segment that was empty when the cursor came to it had no first ordinal yet.
        if (_cursorOffset == _cursorSegment.HeaderBytes) PointAt(_cursorSegment);
        frame = new SpoolFrame(_cursorSegment, _cursorOffset, new StreamPosition(_cursorSegment.Opening.Incarnation, _cursorOrdinal), _cursorTime);
        return true;
    }

    /// <summary>The frame that <see cref="TryPeek"/> showed is handed on, or held by the next room already.</summary>
    public void Hand(SpoolFrame frame, BatchHeader header, bool underWay)
    {
        _handed.Enqueue(frame with { Time = header.Time });
        PointAt(frame.Segment, frame.Offset + header.FrameBytes, frame.Position.Ordinal + 1, header.Time);
        if (!underWay) return;
        _underWay.Enqueue((frame.Position, header.FrameBytes));
        UnderWayBytes += header.FrameBytes;
    }

    public void Received(StreamPosition position)
    {
        while (_underWay.TryPeek(out var first) && first.Position.CompareTo(position) <= 0) UnderWayBytes -= _underWay.Dequeue().Bytes;
    }

    /// <summary>The link is gone: what is not known to be durable may have to be handed on again.</summary>
    public void Rewind()
    {
        if (_handed.TryPeek(out var first)) PointAt(first.Segment, first.Offset, first.Position.Ordinal, first.Time);
        _handed.Clear();
        _underWay.Clear();
        UnderWayBytes = 0;
    }

    /// <summary>What the next room says of itself, taken as the truth; the caller has compared it with what it said before.</summary>
    public void Settle(StreamPosition durable, Sequence sequence)
    {
        (Durable, DurableSequence) = (durable, sequence);
        Received(durable);
        while (_handed.TryPeek(out var first) && first.Position.CompareTo(durable) <= 0) _handed.Dequeue();
        if (Held.CompareTo(durable) < 0) Held = durable;
    }

    /// <summary>Takes out what is wholly durable; the segment that is being written only from <paramref name="openBytes"/> on.</summary>
    public List<SpoolSegment>? TakeDurable(long openBytes)
    {
        List<SpoolSegment>? taken = null;
        while (_segments.Count > 0 && _segments[0] is var first && (first.IsEmpty ? first.Sealed : first.Last.CompareTo(Durable) <= 0))
        {
            if (!first.Sealed && first.End - first.HeaderBytes < openBytes) break;
            if (_cursorSegment == first && _cursorOffset < first.End) break;
            if (_cursorSegment == first) _cursorSegment = null;
            first.Sealed = true;
            _segments.RemoveAt(0);
            (taken ??= []).Add(first);
        }
        return taken;
    }

    /// <summary>Forgets everything that is not durable.</summary>
    public List<SpoolSegment> Drop(StreamPosition durable, Sequence sequence)
    {
        List<SpoolSegment> dropped = [.. _segments];
        foreach (var segment in dropped) segment.Sealed = true;
        Rewind();
        _segments.Clear();
        _cursorSegment = null;
        (Durable, DurableSequence, Held) = (durable, sequence, durable);
        return dropped;
    }

    public (long Bytes, long Batches, SpoolFrame? Oldest) Pending()
    {
        if (!_handed.TryPeek(out var oldest) && !TryPeek(out oldest)) return default;
        var (bytes, batches) = (oldest.Segment.End - oldest.Offset, oldest.Segment.LastOrdinal - oldest.Position.Ordinal + 1);
        for (var i = _segments.IndexOf(oldest.Segment) + 1; i < _segments.Count; i++)
        {
            bytes += _segments[i].End - _segments[i].HeaderBytes;
            if (!_segments[i].IsEmpty) batches += _segments[i].LastOrdinal - _segments[i].FirstOrdinal + 1;
        }
        return (bytes, batches, oldest);
    }
}
