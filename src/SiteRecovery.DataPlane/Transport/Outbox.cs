using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.Domain.History;

namespace SiteRecovery.DataPlane.Transport;

/// <summary>What one stream has to send: positions and credit (only the newest counts), and batches within the other end's credit.</summary>
internal sealed class Outbox(Connection connection, uint stream)
{
    private readonly Lock _lock = new();
    private readonly Queue<Batch> _batches = new();
    private TaskCompletionSource _changed = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private long _credit;
    private long _grant;
    private StreamPosition? _received;
    private (StreamPosition Position, Sequence Sequence)? _durable;
    private bool _queued, _closing, _closeSent;
    private Exception? _ended;

    internal uint Stream => stream;

    internal async ValueTask OfferAsync(Batch batch, CancellationToken stop)
    {
        while (true)
        {
            Task changed;
            lock (_lock)
            {
                if (_ended is not null) throw _ended;
                if (_closing) throw new ChannelException("the stream is closed");
                if (_credit >= batch.Frame.Length)
                {
                    _credit -= batch.Frame.Length;
                    _batches.Enqueue(batch);
                    Queue();
                    return;
                }
                changed = _changed.Task;
            }
            await changed.WaitAsync(stop);
        }
    }

    internal void AddCredit(long bytes)
    {
        TaskCompletionSource changed;
        lock (_lock)
        {
            _credit += bytes;
            (changed, _changed) = (_changed, new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously));
        }
        changed.TrySetResult();
    }

    internal void Grant(long bytes)
    {
        lock (_lock)
        {
            _grant += bytes;
            Queue();
        }
    }

    internal void Received(StreamPosition position)
    {
        lock (_lock)
        {
            _received = position;
            Queue();
        }
    }

    internal void Durable(StreamPosition position, Sequence sequence)
    {
        lock (_lock)
        {
            _durable = (position, sequence);
            Queue();
        }
    }

    /// <summary>Says goodbye once everything offered is sent.</summary>
    internal void Close()
    {
        lock (_lock)
        {
            _closing = true;
            Queue();
        }
    }

    internal void End(Exception reason)
    {
        lock (_lock)
        {
            _ended ??= reason;
            _batches.Clear();
            _changed.TrySetResult();
        }
    }

    /// <summary>One turn of the send loop: the small frames and at most one batch. True when there is more to do.</summary>
    internal bool Take(List<byte[]> small, out Batch? batch)
    {
        lock (_lock)
        {
            batch = null;
            _queued = false;
            if (_ended is not null) return false;
            if (_grant is > 0 and var grant) small.Add(Payload.Frame(FrameType.Credit, stream, to => to.Write(grant)));
            if (_received is { } received) small.Add(Payload.Frame(FrameType.Received, stream, to => Payload.Write(to, received)));
            if (_durable is { } durable)
                small.Add(Payload.Frame(FrameType.Durable, stream, to => { Payload.Write(to, durable.Position); to.Write(durable.Sequence.Value); }));
            (_grant, _received, _durable) = (0, null, null);
            if (_batches.TryDequeue(out batch)) return _queued = _batches.Count > 0 || _closing;
            if (_closing && !_closeSent) small.Add(Payload.Frame(FrameType.CloseStream, stream));
            _closeSent = _closing;
            return false;
        }
    }

    private void Queue()
    {
        if (_queued || _ended is not null) return;
        _queued = true;
        connection.Ready(this);
    }
}
