using System.Text;
using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.Domain.History;

namespace SiteRecovery.DataPlane.Capture;

/// <content>The one loop that gives ordinals: buffered writes, synchronized blocks and markers become batches here, in log order.</content>
public sealed partial class MachineCapture
{
    private const int BatchBytesMax = 1 << 20, BatchExtentsMax = 512;
    /// <summary>No frame is longer. A process server counts on it where many send to it at once.</summary>
    public const int FrameBytesMax = BatchCodec.HeaderBytes + BatchExtentsMax * BatchCodec.ExtentBytes + BatchBytesMax;
    private readonly Extent[] _extents = new Extent[BatchExtentsMax];
    private readonly CaptureRing.Entry[] _entries = new CaptureRing.Entry[BatchExtentsMax];
    private readonly Queue<(PointKind Kind, string Label, TaskCompletionSource<Sequence> Done)> _points = new(); // under _log
    private long _lastMarker, _lastPoint, _reusableFrom = long.MaxValue;
    private bool _consistent;

    /// <summary>Marks a recovery point at the newest write; the result is its sequence.</summary>
    /// <exception cref="InvalidOperationException">The stream is no prefix of the history now: no point would be consistent.</exception>
    public Task<Sequence> TakePointAsync(string label, PointKind kind)
    {
        var done = new TaskCompletionSource<Sequence>(TaskCreationOptions.RunContinuationsAsynchronously);
        lock (_log)
        {
            if (!_connected || !_accepting || !_consistent || _points.Count >= 64)
                throw new InvalidOperationException("no recovery point can be taken now: " + (_reason ?? "the stream is not connected"));
            _points.Enqueue((kind, label, done));
        }
        _signal.Set();
        return done.Task;
    }

    private async Task PumpAsync(IStreamSession session, CancellationToken stop)
    {
        try
        {
            await BeginAsync(session, stop).ConfigureAwait(false);
            while (true)
            {
                stop.ThrowIfCancellationRequested();
                Settle();
                var full = Volatile.Read(ref _unacknowledgedBytes) >= _options.UnacknowledgedBytesMax;
                var worked = !full && (await ShipWritesAsync(session, stop).ConfigureAwait(false) | await ShipBlocksAsync(session, stop).ConfigureAwait(false));
                if (!full) await ShipMarkersAsync(session, stop).ConfigureAwait(false);
                if (worked && (_walk is not null || _ring.Bytes >= BatchBytesMax / 4)) continue;
                // Completing a walk polls for writes under way; else the wait ends with any event.
                if (!worked) await _signal.WaitAsync(_walk is null ? TimeSpan.FromMilliseconds(Math.Min(100, _options.TickInterval.TotalMilliseconds)) : TimeSpan.FromMilliseconds(2), stop).ConfigureAwait(false);
                // Also after a batch: else writes that come one by one would make a batch each.
                if (_options.Linger > TimeSpan.Zero && _walk is null && _ring.Bytes < BatchBytesMax / 4)
                    await Task.Delay(_options.Linger, _time, stop).ConfigureAwait(false);
            }
        }
        finally
        {
            lock (_log)
            {
                _reusableFrom = long.MaxValue;
                while (_points.TryDequeue(out var point))
                    point.Done.TrySetException(new InvalidOperationException("no recovery point was taken: the stream ended"));
            }
        }
    }

    private async Task BeginAsync(IStreamSession session, CancellationToken stop)
    {
        Batch[] again;
        lock (_log)
        {
            again = _unacknowledged.ToArray();
            // What an earlier session may still be sending, or say it has received while it is sent again here, keeps its memory.
            _reusableFrom = session.LetsGoOfReceived ? _ordinal + 1 : long.MaxValue;
        }
        foreach (var batch in again)
        {
            await session.OfferAsync(batch, stop).ConfigureAwait(false);
            Interlocked.Add(ref _bytesResent, batch.Frame.Length);
        }
        _targetEmpty = session.Opened.TargetEmpty && _ordinal == 0;
        if (_ordinal > 0) return;
        if (_targetEmpty && _state.EverSynchronized) MarkAllUnsynced("the target is empty");
        lock (_log)
        {
            // Who asks for a synchronization may know of a gap that this side knows nothing of; and one whose end is not known to be durable may still be there.
            _consistent = !SynchronizationRequested && !_state.Synchronizing && _ring.Count == 0 && _newest == session.Opened.DurableSequence.Value && _disks.TrueForAll(d => d.Bitmap.Unsynced.None);
            _accepting = _consistent && !_paused;
            _shipped = session.Opened.DurableSequence.Value;
            if (_consistent) _reason = null;
            else _reason ??= "the target does not stand where the source stands";
        }
        await ShipMarkerAsync(session, MarkerKind.StreamStart, _consistent ? "continue" : "gap", stop).ConfigureAwait(false);
    }

    /// <summary>Turns the oldest buffered writes into one delta batch.</summary>
    private async ValueTask<bool> ShipWritesAsync(IStreamSession session, CancellationToken stop)
    {
        int count = 0, bytes = 0;
        lock (_log)
        {
            for (; count < Math.Min(_ring.Count, BatchExtentsMax); count++)
            {
                var entry = _ring.Peek(count);
                var size = entry.Extent.Kind == ExtentKind.Data ? entry.Extent.Length : 0;
                if (bytes + size > BatchBytesMax || (count > 0 && entry.Sequence != _entries[count - 1].Sequence + 1)) break;
                (_entries[count], _extents[count]) = (entry, entry.Extent);
                bytes += size;
            }
        }
        if (count == 0) return false;
        var frame = BatchCodec.Begin(count, bytes);
        CopyWrites(count, BatchCodec.PayloadOf(frame, count));
        for (var i = 0; i < count; i++) MarkStale(_extents[i]);
        var (first, last) = (_entries[0].Sequence, _entries[count - 1].Sequence);
        var batch = Encode(BatchKind.Delta, MarkerKind.None, new Sequence(first), new Sequence(last), _extents.AsSpan(0, count), frame);
        lock (_log)
        {
            _ring.Release(count);
            _shipped = last;
        }
        await session.OfferAsync(batch, stop).ConfigureAwait(false);
        return true;
    }

    private void CopyWrites(int count, Span<byte> payload)
    {
        for (var i = 0; i < count; i++)
        {
            if (_extents[i].Kind != ExtentKind.Data) continue;
            _ring.CopyTo(_entries[i], payload[.._extents[i].Length]);
            payload = payload[_extents[i].Length..];
        }
    }

    private async ValueTask ShipMarkersAsync(IStreamSession session, CancellationToken stop)
    {
        await ShipPointsAsync(session, stop).ConfigureAwait(false);
        if (_time.GetElapsedTime(_lastPoint).Ticks >= Volatile.Read(ref _pointIntervalTicks) && IsPrefix())
        {
            _lastPoint = _time.GetTimestamp();
            await ShipMarkerAsync(session, MarkerKind.CrashConsistentPoint, "", stop).ConfigureAwait(false);
        }
        if (_time.GetElapsedTime(_lastMarker) >= _options.TickInterval && IsDrained())
            await ShipMarkerAsync(session, MarkerKind.Tick, "", stop).ConfigureAwait(false);
    }

    private async ValueTask ShipPointsAsync(IStreamSession session, CancellationToken stop)
    {
        while (true)
        {
            (PointKind Kind, string Label, TaskCompletionSource<Sequence> Done) point;
            lock (_log)
                if (_ring.Count > 0 || !_points.TryDequeue(out point)) return;
            if (!IsPrefix())
            {
                point.Done.TrySetException(new InvalidOperationException("no recovery point was taken: " + _reason));
                continue;
            }
            var sequence = new Sequence(_shipped);
            await ShipMarkerAsync(session, point.Kind == PointKind.ApplicationConsistent ? MarkerKind.ApplicationConsistentPoint : MarkerKind.CrashConsistentPoint, point.Label, stop).ConfigureAwait(false);
            point.Done.TrySetResult(sequence);
        }
    }

    private bool IsPrefix()
    {
        lock (_log) return _accepting && _consistent;
    }

    // A tick claims that nothing newer than its time exists: only with an empty buffer, and never while writes are missing.
    private bool IsDrained()
    {
        lock (_log) return _accepting && _consistent && _ring.Count == 0;
    }

    private ValueTask ShipMarkerAsync(IStreamSession session, MarkerKind kind, string text, CancellationToken stop)
    {
        _lastMarker = _time.GetTimestamp();
        var last = new Sequence(_shipped);
        var marker = Encode(BatchKind.Marker, kind, last, last, [], Encoding.UTF8.GetBytes(text));
        if (kind == MarkerKind.SyncCompleted || (kind == MarkerKind.StreamStart && text == "continue"))
            lock (_log) _completeOrdinal = marker.Header.Ordinal;
        return session.OfferAsync(marker, stop);
    }

    /// <summary>A batch claims that everything acknowledged before its time is in it or before it: never more than until the next write waits.</summary>
    private DateTimeOffset CompleteUntil(int taken)
    {
        lock (_log)
        {
            if (_ring.Count > taken) return new DateTimeOffset(_ring.Peek(taken).LandedTicks, TimeSpan.Zero);
            return _accepting ? _time.GetUtcNow() : new DateTimeOffset(_lostTicks, TimeSpan.Zero);
        }
    }

    // Under _log.
    private void Forget(Batch received)
    {
        _unacknowledgedBytes -= FramePool.MemoryOf(received.Frame);
        if (received.Header.Ordinal >= _reusableFrom) FramePool.Shared.Return(received.Frame);
    }

    private Batch Encode(BatchKind kind, MarkerKind marker, Sequence first, Sequence last, ReadOnlySpan<Extent> extents, ReadOnlySpan<byte> payload)
    {
        var frame = BatchCodec.Begin(extents.Length, payload.Length);
        payload.CopyTo(BatchCodec.PayloadOf(frame, extents.Length));
        return Encode(kind, marker, first, last, extents, frame);
    }

    /// <param name="frame">With its payload already in place.</param>
    private Batch Encode(BatchKind kind, MarkerKind marker, Sequence first, Sequence last, ReadOnlySpan<Extent> extents, Memory<byte> frame)
    {
        var taken = kind == BatchKind.Delta ? extents.Length : 0;
        var batch = BatchCodec.Complete(new BatchHeader
        {
            Kind = kind, Marker = marker, MachineTag = BatchCodec.TagOf(_options.Machine), Epoch = new Epoch(_state.Epoch), Incarnation = _incarnation,
            Ordinal = _ordinal + 1, First = first, Last = last, Time = CompleteUntil(taken),
        }, extents, frame);
        lock (_log)
        {
            _ordinal++;
            _unacknowledged.Enqueue(batch);
            _unacknowledgedBytes += FramePool.MemoryOf(batch.Frame);
        }
        Interlocked.Add(ref _bytesShipped, batch.Frame.Length);
        return batch;
    }
}
