using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.DataPlane.Storage;
using SiteRecovery.Domain.History;

namespace SiteRecovery.DataPlane.ProcessServer;

/// <content>The sender: opens the next room where it stands, hands on frame after frame, and passes back what became durable.</content>
internal sealed partial class MachineSpool
{
    private const long UnderWayBytesMax = 8 << 20;
    private const int HandedFramesMax = 16384;
    private (StreamPosition At, long Since)? _unreadable; // the sender's own
    private Epoch _sent; // the sender's own: what it finds says nothing about one that begins meanwhile
    private IStreamSession? _upstream; // under _gate, like all below
    private Upstream? _listener;
    private CancellationTokenSource? _link;
    private bool _targetEmpty;
    private bool _targetLost, _toldLost; // what it has acknowledged; and the agent's session knows it
    private bool _lossIsUnsaid; // found here, and no agent that was told has sent anything yet: where the target stands need not say it, and one that says more would be believed
    private int _attempt, _failedAttempt;
    private volatile int _failures; // in a row, without anything having become durable

    private async Task SendAsync()
    {
        var stop = _stop.Token;
        await _loaded.ConfigureAwait(false);
        while (!stop.IsCancellationRequested)
        {
            // Heard from before the attempt on: whoever opens during a failing one is tried for at once.
            var (heard, impatient, connected) = (_bell.Next(), _impatience.Next(), false);
            try
            {
                if (OpeningToSend() is not { } opening)
                {
                    await heard.WaitAsync(stop).ConfigureAwait(false);
                    continue;
                }
                _attempt++;
                _sent = opening.Epoch;
                var target = _next(_machine) ?? throw new IOException("the machine's next room is not known yet");
                await RunLinkAsync(target, opening, () => connected = true, stop).ConfigureAwait(false);
                continue;
            }
            // What was sent of an epoch that is over here as well says nothing about the one that counts.
            catch (StaleEpochException stale) when (stale.Current > _state.Epoch)
            {
                Fence(stale);
            }
            catch (StreamGapException gap)
            {
                Drop("the next room stands elsewhere: " + gap.Message, null, of: _sent);
            }
            catch (SpoolDamagedException damage)
            {
                Drop(damage.Message, null, of: _sent);
            }
            catch (SpoolUnreadableException unreadable) when (IsGivenUp(unreadable.At))
            {
                Drop(unreadable.Message, null, of: _sent);
            }
            catch (Exception error)
            {
                if (error is not OperationCanceledException) _lastError = error.Message;
            }
            await AfterFailureAsync(connected, impatient, stop).ConfigureAwait(false);
        }
    }

    /// <summary>A disk that cannot be read may be back in a moment; what it does not give for longer is lost, and the source sends it anew.</summary>
    private bool IsGivenUp(StreamPosition at)
    {
        if (_unreadable?.At != at) _unreadable = (at, _time.GetTimestamp());
        if (_time.GetElapsedTime(_unreadable.Value.Since) < DiskFailure.Patience) return false;
        _unreadable = null;
        return true;
    }

    private async Task AfterFailureAsync(bool connected, Task impatient, CancellationToken stop)
    {
        // Whoever opens meanwhile waits no longer for a link that cannot be had.
        if (!connected) Volatile.Write(ref _failedAttempt, _attempt);
        _bell.Ring();
        var delay = TimeSpan.FromMilliseconds(Math.Min(_options.ReconnectDelayMax.TotalMilliseconds, 20 * Math.Pow(2, Math.Min(_failures, 20))));
        _failures++;
        await Task.WhenAny(impatient, Task.Delay(delay, _time, stop)).ConfigureAwait(false);
    }

    /// <summary>The oldest incarnation that waits; else the agent's, so that its questions are answered; else no link is needed.</summary>
    private StreamOpening? OpeningToSend()
    {
        lock (_gate)
        {
            var opening = _queue.TryPeek(out var frame) ? frame.Segment.Opening : _session?.Opening;
            if (opening is null) return null;
            // What a source was told in an epoch before is more than what is known in this one.
            var position = _session is { Opening.KnownPosition: var known } && known.CompareTo(_queue.Durable) > 0 ? known : _queue.Durable;
            return opening with { KnownDurable = _queue.DurableSequence, KnownPosition = position };
        }
    }

    private async Task RunLinkAsync(IStreamTarget target, StreamOpening opening, Action connected, CancellationToken stop)
    {
        using var link = CancellationTokenSource.CreateLinkedTokenSource(stop);
        var listener = new Upstream(this);
        lock (_gate)
        {
            // Begun since the opening was made, and before there was a link that it could end.
            if (opening.Epoch < _state.Epoch) throw new IOException($"epoch {_state.Epoch} has begun");
            (_link, _listener) = (link, listener);
        }
        try
        {
            await using var session = await target.OpenAsync(opening, listener, link.Token).ConfigureAwait(false);
            _ = session.Closed.ContinueWith(_ => End(link), CancellationToken.None, TaskContinuationOptions.ExecuteSynchronously, TaskScheduler.Default);
            try
            {
                if (!Adopt(session, listener)) return;
                connected();
                await HandOnAsync(session, opening, link.Token).ConfigureAwait(false);
            }
            catch (Exception) when (!listener.IsOver && !stop.IsCancellationRequested && session.Closed.IsCompleted)
            {
                throw await session.Closed.ConfigureAwait(false) ?? new IOException("the next room closed the stream");
            }
            finally
            {
                lock (_gate)
                {
                    (_upstream, _targetEmpty) = (null, false);
                    if (_listener == listener) _listener = null;
                    _queue.Rewind();
                }
            }
        }
        catch (Exception) when (listener.IsOver)
        {
            // By an epoch that has begun: go on with what that needs. Its files are gone, and the next room refuses it: neither says anything about what waits now.
        }
        finally
        {
            lock (_gate)
                if (_link == link) (_link, _listener) = (null, null);
            _bell.Ring();
        }
    }

    /// <summary>Compares where the next room stands with what is known of it. False: what waits here does not fit, and is gone now.</summary>
    private bool Adopt(IStreamSession session, Upstream listener)
    {
        var opened = session.Opened;
        string? lost;
        lock (_gate)
        {
            lost = LostBy(opened);
            _targetLost = opened.TargetLost;
            _lossIsUnsaid |= lost is not null;
        }
        if (lost is null && !SkipHeld(opened.Held, listener))
            lost = $"the target stands at {Text(opened.Held)}, which what waits here does not continue";
        lock (_gate)
        {
            if (_listener != listener) return false;
            // Meanwhile a source may have said what it knows.
            if (lost is null) _lossIsUnsaid |= (lost = LostBy(opened)) is not null;
            if (lost is null)
            {
                _queue.Settle(opened.Durable, opened.DurableSequence);
                (_upstream, _targetEmpty, _lastError) = (session, opened.TargetEmpty, null);
            }
        }
        if (lost is not null)
        {
            Drop(lost, opened, of: _sent);
            return false;
        }
        Settled(opened.Durable, opened.DurableSequence);
        return true;
    }

    private string? LostBy(StreamOpened opened)
    {
        // What waits here was made by somebody who did not know it.
        if (opened.TargetLost && !_toldLost) return "the target lost durable data: a part of its log was damaged";
        if (opened.Durable.CompareTo(_queue.Durable) >= 0 && opened.DurableSequence >= _queue.DurableSequence) return null;
        return $"the target lost durable data: it had sequence {_queue.DurableSequence} at {Text(_queue.Durable)}, now it has {opened.DurableSequence} at {Text(opened.Durable)}";
    }

    private static string Text(StreamPosition position) => $"{position.Incarnation}/{position.Ordinal}";

    /// <summary>Passes over what the next room holds; false if what follows does not continue it.</summary>
    private bool SkipHeld(StreamPosition held, Upstream listener)
    {
        while (true)
        {
            SpoolFrame frame;
            lock (_gate)
                if (_listener != listener || !_queue.TryPeek(out frame)) return true;
            if (frame.Position.CompareTo(held) > 0)
                return frame.Position.Incarnation == held.Incarnation ? frame.Position.Ordinal == held.Ordinal + 1 : frame.Position.Ordinal == 1;
            lock (_gate) frame.Segment.Begun = true;
            var header = frame.Segment.ReadHeader(_files, frame.Offset, frame.Position);
            lock (_gate)
                if (_listener == listener) _queue.Hand(frame, header, underWay: false);
        }
    }

    private async Task HandOnAsync(IStreamSession session, StreamOpening opening, CancellationToken link)
    {
        while (true)
        {
            link.ThrowIfCancellationRequested();
            var heard = _bell.Next();
            SpoolFrame frame;
            bool ready;
            lock (_gate)
            {
                var some = _queue.TryPeek(out frame);
                var wanted = some ? frame.Position.Incarnation : _session?.Opening.Incarnation;
                // Another incarnation opens anew, and only when this one's rest has arrived for good.
                if (wanted != opening.Incarnation && _queue.HandedFrames == 0) return;
                ready = some && wanted == opening.Incarnation && _queue.UnderWayBytes < UnderWayBytesMax && _queue.HandedFrames < HandedFramesMax;
                if (ready) frame.Segment.Begun = true;
            }
            if (!ready)
            {
                await heard.WaitAsync(link).ConfigureAwait(false);
                continue;
            }
            var batch = frame.Segment.ReadFrame(_files, frame.Offset, frame.Position);
            // Those in front of it are read again and again.
            if (_unreadable?.At == frame.Position) _unreadable = null;
            lock (_gate)
            {
                if (_listener is null) continue; // dropped meanwhile
                if (session.LetsGoOfReceived) _listener.Lend(batch);
                _queue.Hand(frame, batch.Header, underWay: true);
                _targetEmpty &= batch.Header.ExtentCount == 0;
                _targetLost = false;
                if (frame.Segment.Sealed && frame.Offset + batch.Frame.Length == frame.Segment.End) frame.Segment.Close();
            }
            await session.OfferAsync(batch, link).ConfigureAwait(false);
        }
    }

    private void OnReceived(Upstream from, StreamPosition position)
    {
        lock (_gate)
        {
            if (_listener != from) return;
            _queue.Received(position);
        }
        _bell.Ring();
    }

    private void OnDurable(Upstream from, StreamPosition position, Sequence sequence)
    {
        lock (_gate)
        {
            if (_listener != from || position.CompareTo(_queue.Durable) <= 0) return;
            _failures = 0;
            _queue.Settle(position, sequence > _queue.DurableSequence ? sequence : _queue.DurableSequence);
        }
        Settled(position, sequence);
    }

    private void Settled(StreamPosition position, Sequence sequence)
    {
        // Before segments go: what was durable must still be known when they are gone.
        SaveDurable();
        ReleaseDurable(isShort: false);
        _bell.Ring();
        IPositionListener? positions;
        lock (_gate) positions = _session?.Positions;
        positions?.Durable(position, sequence);
    }

    private void Fence(StaleEpochException stale)
    {
        try
        {
            _state.SaveEpoch(stale.Current);
        }
        catch (Exception error) when (IsDiskError(error))
        {
            // In this process it counts all the same; the next one learns it from the next room again.
            _state.Learn(stale.Current);
            _lastError = error.Message;
        }
        Drop(stale.Message, new StreamOpened(default, default, Sequence.None, false), stale);
    }

    private void EndLink()
    {
        CancellationTokenSource? link;
        lock (_gate)
        {
            if (_listener is { } listener) listener.IsOver = true;
            (link, _listener) = (_link, null);
        }
        End(link);
    }

    private void End(CancellationTokenSource? link)
    {
        try
        {
            link?.Cancel();
        }
        catch (ObjectDisposedException)
        {
            // It ended by itself.
        }
    }

    private sealed class Upstream(MachineSpool spool) : IPositionListener
    {
        private readonly Queue<Batch> _lent = new();
        private volatile bool _isOver;

        /// <summary>Ended from here, and not by what came of it.</summary>
        public bool IsOver { get => _isOver; set => _isOver = value; }

        /// <summary>The frame's memory comes back once it is received.</summary>
        public void Lend(Batch batch)
        {
            lock (_lent) _lent.Enqueue(batch);
        }

        public void Received(StreamPosition position)
        {
            spool.OnReceived(this, position);
            lock (_lent)
                while (_lent.TryPeek(out var batch) && batch.Position.CompareTo(position) <= 0) FramePool.Shared.Return(_lent.Dequeue().Frame);
        }

        public void Durable(StreamPosition position, Sequence sequence) => spool.OnDurable(this, position, sequence);
    }
}
