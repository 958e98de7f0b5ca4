using System.Buffers;
using static SiteRecovery.DataPlane.Nbd.NbdProtocol;

namespace SiteRecovery.DataPlane.Nbd;

/// <summary>
/// Finished requests of one connection and the room for new ones. The connection's own thread sends what it finished itself,
/// many small replies in one call; a second thread, started by the first request that finishes elsewhere, sends those. A third one, started
/// by the first flush, flushes the device while reads and writes go on, once for all requests that wait for it.
/// </summary>
internal sealed class NbdReplyQueue(NbdWire wire, NbdServerOptions options, Action<NbdRequest, Exception?> completed, Action<IReadOnlyList<NbdRequest>> flush, Action broken) : IDisposable
{
    private const int CoalesceBytes = 64 << 10, KeepBytes = 64 << 10;
    private readonly object _gate = new();
    private readonly Queue<NbdRequest> _done = new(options.MaxRequestsInFlight);
    private readonly Stack<NbdRequest> _free = new(options.MaxRequestsInFlight);
    private readonly NbdRequest[] _sending = new NbdRequest[options.MaxRequestsInFlight];
    private readonly byte[] _out = ArrayPool<byte>.Shared.Rent(CoalesceBytes + ReplyHeaderBytesMax);
    private readonly List<NbdRequest> _toFlush = [];
    private Thread? _sender, _flusher;
    private int _inFlight;
    private long _bytesInFlight;
    private bool _flushing, _closed;
    private volatile bool _broken;

    /// <summary>An unused request; waits while too many are under way.</summary>
    internal NbdRequest Begin()
    {
        lock (_gate)
        {
            if (_inFlight >= options.MaxRequestsInFlight) WaitForRoom(0);
            _inFlight++;
            return _free.TryPop(out var request) ? request : new NbdRequest(completed);
        }
    }

    /// <summary>Memory for a request; waits while the connection has too much.</summary>
    internal Memory<byte> Charge(NbdRequest request, int bytes)
    {
        lock (_gate)
        {
            if (_bytesInFlight + bytes > options.MaxBytesInFlight) WaitForRoom(bytes);
            _bytesInFlight += bytes;
            request.Charged = bytes;
        }
        return request.Rent(bytes);
    }

    /// <summary>The connection's thread finished the request; it calls <see cref="Flush"/> before it waits for the client.</summary>
    internal void Finished(NbdRequest request)
    {
        lock (_gate) _done.Enqueue(request);
    }

    /// <summary>Another thread finished the request: it must never wait for the client, so the sender sends.</summary>
    internal void FinishedElsewhere(NbdRequest request)
    {
        lock (_gate)
        {
            _done.Enqueue(request);
            _sender ??= Start(SendLoop, "nbd replies");
            Monitor.PulseAll(_gate);
        }
    }

    /// <summary>The request is answered after a flush of the device that begins from now on.</summary>
    internal void FlushLater(NbdRequest request)
    {
        lock (_gate)
        {
            _toFlush.Add(request);
            _flusher ??= Start(FlushLoop, "nbd flush");
            Monitor.PulseAll(_gate);
        }
    }

    private static Thread Start(ThreadStart loop, string name)
    {
        var thread = new Thread(loop, 256 << 10) { IsBackground = true, Name = name };
        thread.Start();
        return thread;
    }

    /// <summary>Sends what is finished, unless the sender is at it.</summary>
    internal void Flush()
    {
        lock (_gate)
        {
            if (_flushing || _done.Count == 0) return;
            _flushing = true;
        }
        SendFinished();
    }

    /// <summary>Returns when every request that began is over and its reply sent.</summary>
    internal void Drain()
    {
        Flush();
        lock (_gate)
        {
            while (_inFlight > 0)
            {
                if (_done.Count > 0 && !_flushing) FlushInside();
                else Monitor.Wait(_gate);
            }
        }
    }

    /// <summary>After <see cref="Drain"/>.</summary>
    public void Dispose()
    {
        lock (_gate)
        {
            _closed = true;
            Monitor.PulseAll(_gate);
        }
        _sender?.Join();
        _flusher?.Join();
        foreach (var request in _free) request.Return();
        ArrayPool<byte>.Shared.Return(_out);
    }

    private void WaitForRoom(int bytes)
    {
        while (bytes == 0 ? _inFlight >= options.MaxRequestsInFlight : _bytesInFlight + bytes > options.MaxBytesInFlight)
        {
            if (_done.Count > 0 && !_flushing) FlushInside();
            else Monitor.Wait(_gate);
        }
    }

    private void FlushInside()
    {
        _flushing = true;
        Monitor.Exit(_gate);
        try
        {
            SendFinished();
        }
        finally
        {
            Monitor.Enter(_gate);
        }
    }

    private void SendLoop()
    {
        while (true)
        {
            lock (_gate)
            {
                while (!_closed && (_flushing || _done.Count == 0)) Monitor.Wait(_gate);
                if (_closed) return;
                _flushing = true;
            }
            SendFinished();
        }
    }

    private void FlushLoop()
    {
        var waiting = new List<NbdRequest>();
        while (true)
        {
            lock (_gate)
            {
                while (!_closed && _toFlush.Count == 0) Monitor.Wait(_gate);
                if (_closed) return;
                waiting.AddRange(_toFlush);
                _toFlush.Clear();
            }
            flush(waiting);
            lock (_gate)
                foreach (var request in waiting) _done.Enqueue(request);
            waiting.Clear();
            Flush();
        }
    }

    /// <summary>Sends until nothing is left. Only whoever set _flushing is here.</summary>
    private void SendFinished()
    {
        while (true)
        {
            var count = 0;
            lock (_gate)
            {
                while (_done.TryDequeue(out var request)) _sending[count++] = request;
                if (count == 0)
                {
                    _flushing = false;
                    Monitor.PulseAll(_gate);
                    return;
                }
            }
            try
            {
                if (!_broken) Send(_sending.AsSpan(0, count));
            }
            catch (Exception gone) when (NbdServer.IsClientGone(gone))
            {
                _broken = true;
                broken();
            }
            Release(count);
        }
    }

    private void Send(ReadOnlySpan<NbdRequest> requests)
    {
        var used = 0;
        foreach (var request in requests)
        {
            var payload = request.Payload;
            if (used > 0 && used + ReplyHeaderBytesMax + payload.Length > CoalesceBytes)
            {
                wire.Send(_out.AsSpan(0, used));
                used = 0;
            }
            used += request.WriteReplyHeader(_out.AsSpan(used));
            if (payload.Length <= CoalesceBytes - used)
            {
                payload.CopyTo(_out.AsSpan(used));
                used += payload.Length;
                continue;
            }
            wire.Send(_out.AsSpan(0, used));
            wire.Send(payload);
            used = 0;
        }
        if (used > 0) wire.Send(_out.AsSpan(0, used));
    }

    private void Release(int count)
    {
        lock (_gate)
        {
            for (var i = 0; i < count; i++)
            {
                var request = _sending[i];
                _bytesInFlight -= request.Charged;
                if (request.Charged > KeepBytes) request.Return();
                request.Charged = 0;
                _free.Push(request);
            }
            _inFlight -= count;
            if (_sender is not null || _flusher is not null) Monitor.PulseAll(_gate);
        }
    }
}
