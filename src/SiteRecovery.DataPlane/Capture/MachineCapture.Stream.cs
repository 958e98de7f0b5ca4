using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.Domain.History;

namespace SiteRecovery.DataPlane.Capture;

/// <content>Connecting: continue where the receiver stands, or start a new incarnation.</content>
public sealed partial class MachineCapture : IPositionListener
{
    private readonly Queue<Batch> _unacknowledged = new(); // under _log, like the positions below
    private readonly Queue<(long Ordinal, long Losses, SplitDisk Disk, long First, long Last)> _toClear = new();
    private long _unacknowledgedBytes, _durableOrdinal, _ordinal, _incarnation, _durableSequence, _shipped, _completeOrdinal = long.MaxValue;
    private long _bytesShipped, _bytesResent;
    private long _rotationTicket = -1, _rotationSequence = -1, _lastRotation;
    private volatile CancellationTokenSource? _sessionStop;
    private volatile bool _connected;
    private bool _mustFold; // the session's only
    private bool _noted; // the pump's only
    private volatile string? _lastError;

    /// <summary>Streams until stopped: connects, reconnects, synchronizes. One call at a time.</summary>
    public async Task RunAsync(IStreamTarget target, CancellationToken stop)
    {
        var failures = 0;
        while (!stop.IsCancellationRequested)
        {
            try
            {
                if (_fenced || _paused)
                {
                    await _signal.WaitAsync(TimeSpan.FromMilliseconds(500), stop).ConfigureAwait(false);
                    continue;
                }
                await RunSessionAsync(target, () => failures = 0, stop).ConfigureAwait(false);
            }
            catch (StaleEpochException stale)
            {
                _lastError = stale.Message;
                // This epoch is over. Whose the target's is, this side does not know: it may be its own next one, after a failover that was cancelled.
                var over = Epoch;
                while (!await TryFenceAsync(over).ConfigureAwait(false) && !stop.IsCancellationRequested) await Task.Delay(_options.ReconnectDelayMax, _time, stop).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            }
            catch (Exception error) when (!stop.IsCancellationRequested)
            {
                if (error is not OperationCanceledException) _lastError = error.Message;
                var delay = TimeSpan.FromMilliseconds(Math.Min(_options.ReconnectDelayMax.TotalMilliseconds, 20 * Math.Pow(2, Math.Min(failures++, 20))));
                await Task.Delay(delay, _time, stop).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            }
            catch (OperationCanceledException) when (stop.IsCancellationRequested)
            {
            }
        }
    }

    /// <summary>A full disk must not end this for good, and where nothing is written any more no target says it again.</summary>
    private async Task<bool> TryFenceAsync(Epoch over)
    {
        try
        {
            await FenceAsync(over, CancellationToken.None).ConfigureAwait(false);
            return true;
        }
        catch (Exception unsaved) when (unsaved is IOException or UnauthorizedAccessException)
        {
            _lastError = unsaved.Message;
            return false;
        }
    }

    private async Task RunSessionAsync(IStreamTarget target, Action connected, CancellationToken stop)
    {
        using var sessionStop = CancellationTokenSource.CreateLinkedTokenSource(stop);
        _sessionStop = sessionStop;
        if (_incarnation == 0) NewIncarnation();
        FoldLost();
        var session = await OpenAsync(target, sessionStop.Token).ConfigureAwait(false);
        try
        {
            if (!TryContinue(session.Opened))
            {
                await session.DisposeAsync().ConfigureAwait(false);
                NewIncarnation(session.Opened.Held.Incarnation);
                session = await OpenAsync(target, sessionStop.Token).ConfigureAwait(false);
            }
            _ = session.Closed.ContinueWith(_ => EndSession(sessionStop), CancellationToken.None, TaskContinuationOptions.ExecuteSynchronously, TaskScheduler.Default);
            (_connected, _lastError) = (true, null);
            connected();
            await PumpAsync(session, sessionStop.Token).ConfigureAwait(false);
        }
        finally
        {
            (_connected, _sessionStop) = (false, null);
            await StopWalkAsync().ConfigureAwait(false);
            await session.DisposeAsync().ConfigureAwait(false);
        }
    }

    private async Task<IStreamSession> OpenAsync(IStreamTarget target, CancellationToken stop)
    {
        StreamPosition told;
        long known;
        // An acknowledgement may overtake the answer: that is compared with what was known when it was asked for.
        lock (_log) (told, known) = (_told, _durableSequence);
        var opening = new StreamOpening(_options.Machine, Epoch, _disks.ConvertAll(d => d.Geometry), _incarnation) { KnownDurable = new Sequence(known), KnownPosition = KnownPosition };
        var session = await target.OpenAsync(opening, this, stop).ConfigureAwait(false);
        var (durable, position, isLost) = (session.Opened.DurableSequence.Value, session.Opened.Durable, session.Opened.TargetLost);
        // A spool that has not reached the target yet and remembers nothing of it says nothing about it.
        if (session.Opened is { TargetEmpty: false, TargetLost: false, Durable.Incarnation: 0 }) return session;
        isLost |= durable < known || position.CompareTo(told) < 0;
        // Which writes it lost is nowhere known: their bits are long cleared. Until all are set, it counts as not yet heard.
        if (isLost) MarkAllUnsynced("the target lost durable data");
        if (isLost && durable < _state.Durable) Save(s => s with { Durable = durable });
        lock (_log)
        {
            if (isLost || durable > _durableSequence) _durableSequence = durable;
            if (isLost || position.CompareTo(_told) > 0) _told = position;
            _toldBefore = default;
        }
        return session;
    }

    /// <summary>True if this incarnation can go on: everything the receiver lacks is still here.</summary>
    private bool TryContinue(StreamOpened opened)
    {
        lock (_log)
        {
            // Whoever streamed under a higher incarnation, with a state folder that is lost or at another site, would hide all of this one.
            if (opened.Held.Incarnation > _incarnation) return false;
            // And under this very one, before it has said a word: the receiver would take all of it for repeats.
            if (_ordinal == 0) return opened.Held.Incarnation < _incarnation || opened.Held.Ordinal == 0;
            var held = opened.Held.Incarnation == _incarnation ? opened.Held.Ordinal : 0;
            if (held > _ordinal) return false;
            var oldest = _unacknowledged.TryPeek(out var batch) ? batch.Header.Ordinal : _ordinal + 1;
            if (oldest > held + 1) return false;
        }
        Received(opened.Held);
        Durable(opened.Durable, opened.DurableSequence);
        return true;
    }

    private void NewIncarnation(long above = 0)
    {
        // Epochs have ranges of their own, as they have writers of their own: no receiver, and no spool on the way that has not asked one yet, takes one's
        // batches for repeats of another's.
        Save(s => s with { Incarnation = Math.Max(Math.Max(s.Incarnation, above), (long)s.Epoch << 32) + 1 });
        lock (_log)
        {
            var started = _ordinal > 0;
            (_incarnation, _ordinal, _durableOrdinal, _unacknowledgedBytes) = (_state.Incarnation, 0, 0, 0);
            (_completeOrdinal, _ending) = (long.MaxValue, -1);
            _unacknowledged.Clear();
            _toClear.Clear();
            foreach (var disk in _disks) disk.Sent.ClearAll();
            if (!started) return;
            _mustFold = true;
            _ring.Clear();
            LoseStream("the receiver lost batches that were not durable");
        }
        FoldLost();
    }

    /// <summary>What was streamed in vain counts as unsynced. No walk is under way, and the writes since the loss mark themselves.</summary>
    private void FoldLost()
    {
        if (!_mustFold) return;
        foreach (var disk in _disks) disk.Bitmap.Fold();
        _mustFold = false;
    }

    public void Received(StreamPosition position)
    {
        lock (_log)
        {
            if (position.Incarnation != _incarnation) return;
            while (_unacknowledged.TryPeek(out var batch) && batch.Header.Ordinal <= position.Ordinal)
                Forget(_unacknowledged.Dequeue());
        }
        _signal.Set();
    }

    public void Durable(StreamPosition position, Sequence sequence)
    {
        lock (_log)
        {
            if (position.Incarnation == _incarnation) _durableOrdinal = Math.Max(_durableOrdinal, position.Ordinal);
            _durableSequence = Math.Max(_durableSequence, sequence.Value);
            if (position.CompareTo(_told) > 0) _told = position;
        }
        _signal.Set();
    }

    /// <summary>Clears what became durable and rotates the streamed bits. The pump's only; writes go on meanwhile.</summary>
    /// <param name="now">Rotates even if the last time was a moment ago.</param>
    private void Settle(bool now = false)
    {
        StreamPosition told;
        long durable;
        bool isDue;
        EndSynchronization();
        lock (_log)
        {
            (told, durable) = (_told, _durableSequence);
            isDue = now || MayClear(told);
        }
        // Where nothing is due it is noted again all the same, when what was noted may not be found.
        if ((isDue || (_notedSequence < 0 && told != default)) && !TryNote(told, durable) && isDue) return;
        while (TryClearDurable(told))
        {
        }
        // From the first that it hears on, a source knows after every crash that there was something to lose.
        if (!_noted && Volatile.Read(ref _durableSequence) is > 0 and var first) NoteDurable(first);
        if (_rotationTicket < 0)
        {
            if ((!now && _time.GetElapsedTime(_lastRotation) < _options.RotationInterval) || _disks.TrueForAll(d => d.Bitmap.Current.None)) return;
            _lastRotation = _time.GetTimestamp();
            foreach (var disk in _disks) disk.Bitmap.Rotate();
            (_rotationTicket, _rotationSequence) = (Interlocked.Read(ref _tickets), -1);
        }
        if (_rotationSequence < 0 && !_disks.TrueForAll(d => d.HasPassed(_rotationTicket))) return;
        lock (_log)
        {
            if (_rotationSequence < 0) _rotationSequence = _newest;
            if (durable < _rotationSequence) return;
        }
        if (!TryNote(told, durable)) return;
        foreach (var disk in _disks) disk.Bitmap.ForgetPrevious();
        _rotationTicket = -1;
        if (!now) Retire(durable);
    }

    private void NoteDurable(long first)
    {
        _noted = true;
        if (_state.Durable > 0 || _fenced) return;
        try
        {
            Save(s => s with { Durable = first });
        }
        catch (Exception unsaved) when (unsaved is IOException or UnauthorizedAccessException)
        {
            _lastError = unsaved.Message; // the stream does not wait for it: what retires regions saves it later
        }
    }

    private bool MayClear(StreamPosition told) => _toClear.TryPeek(out var done) && told.Incarnation == _incarnation && done.Ordinal <= told.Ordinal;

    /// <summary>One chunk per hold of the lock: a loss and the writes that it leaves unsynced must not come between check and clear.</summary>
    private bool TryClearDurable(StreamPosition told)
    {
        lock (_log)
        {
            if (!MayClear(told)) return false;
            var done = _toClear.Peek();
            if (done.Losses == _losses) done.Disk.Bitmap.Unsynced.Clear(done.First, done.Last);
            done.Disk.Sent.Clear(done.First, done.Last);
            // Done last: where the bitmap cannot be written it is tried again.
            _toClear.Dequeue();
            return true;
        }
    }

    private void EndSession() => EndSession(_sessionStop);

    private void EndSession(CancellationTokenSource? session)
    {
        try
        {
            session?.Cancel();
        }
        catch (ObjectDisposedException)
        {
            // It ended by itself.
        }
        _signal.Set();
    }
}
