using System.Threading.Channels;
using SiteRecovery.Simulation.World;

namespace SiteRecovery.Simulation.Control;

/// <summary>One end of a connection: what is written at the other arrives here, late.</summary>
internal sealed class SimStream : Stream
{
    private readonly Channel<byte[]> _arrived = Channel.CreateUnbounded<byte[]>();
    private readonly Channel<byte[]> _sent = Channel.CreateUnbounded<byte[]>();
    private static readonly TimeSpan SentAgain = TimeSpan.FromMilliseconds(200);
    private ReadOnlyMemory<byte> _rest;
    private bool _ended;

    private SimStream()
    {
    }

    /// <param name="isDeaf">Nothing goes to the far end for now.</param>
    /// <param name="isMute">Nothing comes from there.</param>
    internal static (SimStream Near, SimStream Far) Pair(SimClock clock, Func<TimeSpan> lag, Func<bool> isDeaf, Func<bool> isMute)
    {
        var (near, far) = (new SimStream(), new SimStream());
        _ = CarryAsync(near, far, clock, lag, isDeaf);
        _ = CarryAsync(far, near, clock, lag, isMute);
        return (near, far);
    }

    /// <summary>The connection is gone; whoever reads or writes learns it.</summary>
    internal void Break(string reason)
    {
        _ended = true;
        _arrived.Writer.TryComplete(new IOException(reason));
        _sent.Writer.TryComplete();
    }

    private static async Task CarryAsync(SimStream from, SimStream to, SimClock clock, Func<TimeSpan> lag, Func<bool> isHeld)
    {
        await foreach (var bytes in from._sent.Reader.ReadAllAsync())
        {
            await Task.Delay(lag(), clock);
            // It is sent again until it gets through, or the connection ends.
            while (isHeld() && !to._ended) await Task.Delay(SentAgain, clock);
            to._arrived.Writer.TryWrite(bytes);
        }
        to._arrived.Writer.TryComplete();
    }

    public override async ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
    {
        try
        {
            if (_rest.IsEmpty) _rest = await _arrived.Reader.ReadAsync(cancellationToken);
        }
        catch (ChannelClosedException closed)
        {
            return closed.InnerException is IOException broken ? throw new IOException(broken.Message, broken) : 0;
        }
        var read = Math.Min(buffer.Length, _rest.Length);
        _rest[..read].CopyTo(buffer);
        _rest = _rest[read..];
        return read;
    }

    public override ValueTask WriteAsync(ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken = default) =>
        _sent.Writer.TryWrite(buffer.ToArray()) ? default : throw new IOException("the connection is gone");

    protected override void Dispose(bool disposing)
    {
        Break("the connection was closed");
        base.Dispose(disposing);
    }

    public override bool CanRead => true;
    public override bool CanSeek => false;
    public override bool CanWrite => true;
    public override long Length => throw new NotSupportedException();
    public override long Position { get => throw new NotSupportedException(); set => throw new NotSupportedException(); }
    public override Task FlushAsync(CancellationToken cancellationToken) => Task.CompletedTask;
    public override void Flush() => throw new NotSupportedException();
    public override int Read(byte[] buffer, int offset, int count) => throw new NotSupportedException();
    public override void Write(byte[] buffer, int offset, int count) => throw new NotSupportedException();
    public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();
    public override void SetLength(long value) => throw new NotSupportedException();
}
