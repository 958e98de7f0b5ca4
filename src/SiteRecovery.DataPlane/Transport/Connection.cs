using System.Threading.Channels;
using SiteRecovery.DataPlane.Blocks;

namespace SiteRecovery.DataPlane.Transport;

/// <summary>Takes a frame's payload; that of a batch lies in an array of the frame pool, which is the taker's from then on.</summary>
internal delegate void FrameReceived(FrameHeader header, ReadOnlyMemory<byte> payload);

/// <summary>One connection: one receive loop, one send loop, one watch, and one way to end that remembers the first reason.</summary>
internal sealed class Connection
{
    private const int ControlFramesMax = 8192, BufferBytes = 64 << 10;
    private readonly Stream _stream;
    private readonly ChannelOptions _options;
    private readonly CancellationTokenSource _stop = new();
    private readonly Lock _lock = new();
    private readonly Queue<byte[]> _control = new();
    private readonly Queue<Outbox> _ready = new();
    private readonly Channel<bool> _wake = Channel.CreateBounded<bool>(new BoundedChannelOptions(1) { FullMode = BoundedChannelFullMode.DropWrite });
    private readonly byte[] _sendBuffer = new byte[BufferBytes];
    private int _buffered;
    private long _heard;
    private ChannelException? _ended;

    internal Connection(Stream stream, ChannelOptions options) => (_stream, _options, _heard) = (stream, options, options.Time.GetTimestamp());

    internal TimeSpan? PeerClockOffset { get; private set; }
    internal ChannelException? Ended => Volatile.Read(ref _ended);
    internal CancellationToken Stopping => _stop.Token;

    /// <summary>Runs until the connection ends; never throws. The result is why.</summary>
    internal async Task<ChannelException> RunAsync(FrameReceived onFrame)
    {
        await Task.WhenAll(Guard(() => ReceiveAsync(onFrame)), Guard(SendAsync), Guard(WatchAsync));
        return Ended!;
    }

    internal void Shutdown(string reason, Exception? cause = null)
    {
        if (Interlocked.CompareExchange(ref _ended, new ChannelException(reason, cause), null) is not null) return;
        _stop.Cancel();
        _stream.Dispose();
    }

    internal void SendControl(byte[] frame)
    {
        bool full;
        lock (_lock)
        {
            full = _control.Count >= ControlFramesMax;
            if (!full) _control.Enqueue(frame);
        }
        if (full) Shutdown("the other end does not read its control frames");
        else _wake.Writer.TryWrite(true);
    }

    internal void Ready(Outbox outbox)
    {
        lock (_lock) _ready.Enqueue(outbox);
        _wake.Writer.TryWrite(true);
    }

    private async Task Guard(Func<Task> loop)
    {
        try
        {
            await loop();
            Shutdown("the connection was closed by the other end");
        }
        catch (Exception error)
        {
            Shutdown($"the connection ended: {error.Message}", error);
        }
    }

    private async Task ReceiveAsync(FrameReceived onFrame)
    {
        var head = new byte[FrameHeader.Bytes];
        while (true)
        {
            var got = await _stream.ReadAtLeastAsync(head, head.Length, throwOnEndOfStream: false, _stop.Token);
            if (got == 0) return;
            if (got < head.Length) throw new EndOfStreamException("cut inside a frame header");
            var header = FrameHeader.Read(head);
            Memory<byte> payload = header.Type == FrameType.Batch
                ? FramePool.Shared.Rent(header.Length).AsMemory(0, header.Length)
                : new byte[header.Length];
            Volatile.Write(ref _heard, _options.Time.GetTimestamp());
            // Over a slow network a large frame takes longer than a silence may last, and a ping waits behind it.
            for (var read = 0; read < payload.Length; Volatile.Write(ref _heard, _options.Time.GetTimestamp()))
            {
                var piece = await _stream.ReadAsync(payload[read..], _stop.Token);
                read += piece > 0 ? piece : throw new EndOfStreamException("cut inside a frame");
            }
            if (header.Type == FrameType.Ping) SendControl(Payload.Frame(FrameType.Pong, 0, to => { to.Write(payload.Span[..8]); to.Write(Now()); }));
            else if (header.Type == FrameType.Pong) MeasureClock(payload.Span);
            else onFrame(header, payload);
        }
    }

    private async Task SendAsync()
    {
        var small = new List<byte[]>();
        while (await _wake.Reader.WaitToReadAsync(_stop.Token))
        {
            _wake.Reader.TryRead(out _);
            while (NextTurn(small, out var outbox))
            {
                Batch? batch = null;
                if (outbox is not null && outbox.Take(small, out batch)) Ready(outbox);
                foreach (var frame in small) await AppendAsync(frame);
                small.Clear();
                if (batch is not null) await AppendBatchAsync(outbox!.Stream, batch);
            }
            await DrainBufferAsync();
            await _stream.FlushAsync(_stop.Token);
        }
    }

    private bool NextTurn(List<byte[]> small, out Outbox? outbox)
    {
        lock (_lock)
        {
            while (small.Count < 256 && _control.TryDequeue(out var frame)) small.Add(frame);
            return _ready.TryDequeue(out outbox) || small.Count > 0;
        }
    }

    private ValueTask AppendBatchAsync(uint stream, Batch batch)
    {
        Span<byte> head = stackalloc byte[FrameHeader.Bytes];
        new FrameHeader(FrameType.Batch, stream, batch.Frame.Length).Write(head);
        return AppendAsync(head.ToArray(), batch.Frame);
    }

    private async ValueTask AppendAsync(byte[] head, ReadOnlyMemory<byte> body)
    {
        await AppendAsync(head);
        await AppendAsync(body);
    }

    /// <summary>Fills the buffer, so that small frames share a write, and sends what is larger than it without a copy.</summary>
    private async ValueTask AppendAsync(ReadOnlyMemory<byte> bytes)
    {
        var fits = Math.Min(bytes.Length, BufferBytes - _buffered);
        bytes[..fits].CopyTo(_sendBuffer.AsMemory(_buffered));
        _buffered += fits;
        if (fits == bytes.Length) return;
        await DrainBufferAsync();
        bytes = bytes[fits..];
        if (bytes.Length >= BufferBytes) await _stream.WriteAsync(bytes, _stop.Token);
        else await AppendAsync(bytes);
    }

    private async ValueTask DrainBufferAsync()
    {
        if (_buffered == 0) return;
        await _stream.WriteAsync(_sendBuffer.AsMemory(0, _buffered), _stop.Token);
        _buffered = 0;
    }

    private async Task WatchAsync()
    {
        using var timer = new PeriodicTimer(_options.PingEvery, _options.Time);
        do
        {
            if (_options.Time.GetElapsedTime(Volatile.Read(ref _heard)) > _options.IdleTimeout)
            {
                Shutdown($"nothing was heard for {_options.IdleTimeout.TotalSeconds:0} s");
                return;
            }
            SendControl(Payload.Frame(FrameType.Ping, 0, to => to.Write(Now())));
        }
        while (await timer.WaitForNextTickAsync(_stop.Token));
    }

    private long Now() => _options.Time.GetUtcNow().UtcTicks;

    private void MeasureClock(ReadOnlySpan<byte> payload)
    {
        var (sent, there) = (BitConverter.ToInt64(payload), BitConverter.ToInt64(payload[8..]));
        PeerClockOffset = TimeSpan.FromTicks(there - (sent + Now()) / 2);
    }
}
