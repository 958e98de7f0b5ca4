using System.Net.Sockets;

namespace SiteRecovery.DataPlane.Transport;

/// <summary>
/// Between TLS and its socket. TLS sends and asks for one record (16 KiB) at a time; here many records share one system call. A record
/// that is not full ends a message and is sent at once, with all before it; a full one waits for more, or for a flush.
/// </summary>
/// <param name="isTrusted">False: little memory, until <see cref="Widen"/> says that the other end has shown who it is.</param>
internal sealed class RecordStream(Socket socket, bool isTrusted = true) : Stream
{
    private const int BufferBytes = 256 << 10, FullRecordBytes = 16 << 10, UntrustedBytes = 20 << 10;
    private readonly NetworkStream _socket = new(socket, ownsSocket: true);
    private byte[] _out = Buffer(isTrusted), _in = Buffer(isTrusted);
    private int _outEnd, _inStart, _inEnd;

    public override bool CanRead => true;
    public override bool CanWrite => true;
    public override bool CanSeek => false;
    public override long Length => throw new NotSupportedException();
    public override long Position { get => throw new NotSupportedException(); set => throw new NotSupportedException(); }

    public override ValueTask WriteAsync(ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken = default)
    {
        if (buffer.Length >= FullRecordBytes && buffer.Length <= _out.Length - _outEnd)
        {
            buffer.CopyTo(_out.AsMemory(_outEnd));
            _outEnd += buffer.Length;
            return default;
        }
        return SendAsync(buffer, cancellationToken);
    }

    public override ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default) =>
        _inStart < _inEnd ? new(Take(buffer.Span)) : ReceiveAsync(buffer, cancellationToken);

    public override Task FlushAsync(CancellationToken cancellationToken) => DrainAsync(cancellationToken).AsTask();

    private async ValueTask SendAsync(ReadOnlyMemory<byte> buffer, CancellationToken stop)
    {
        if (buffer.Length > _out.Length - _outEnd) await DrainAsync(stop);
        if (buffer.Length > _out.Length)
        {
            await _socket.WriteAsync(buffer, stop);
            return;
        }
        buffer.CopyTo(_out.AsMemory(_outEnd));
        _outEnd += buffer.Length;
        if (buffer.Length < FullRecordBytes) await DrainAsync(stop);
    }

    private async ValueTask DrainAsync(CancellationToken stop)
    {
        if (_outEnd == 0) return;
        await _socket.WriteAsync(_out.AsMemory(0, _outEnd), stop);
        _outEnd = 0;
    }

    /// <summary>While nothing is being read or written.</summary>
    internal void Widen()
    {
        var (wideOut, wideIn) = (Buffer(true), Buffer(true));
        _out.AsSpan(0, _outEnd).CopyTo(wideOut);
        _in.AsSpan(0, _inEnd).CopyTo(wideIn);
        (_out, _in) = (wideOut, wideIn);
    }

    private static byte[] Buffer(bool isTrusted) => GC.AllocateUninitializedArray<byte>(isTrusted ? BufferBytes : UntrustedBytes);

    private async ValueTask<int> ReceiveAsync(Memory<byte> buffer, CancellationToken stop)
    {
        (_inStart, _inEnd) = (0, 0);
        _inEnd = await _socket.ReadAsync(_in, stop);
        return Take(buffer.Span);
    }

    private int Take(Span<byte> into)
    {
        var count = Math.Min(into.Length, _inEnd - _inStart);
        _in.AsSpan(_inStart, count).CopyTo(into);
        _inStart += count;
        return count;
    }

    public override Task WriteAsync(byte[] buffer, int offset, int count, CancellationToken cancellationToken) => WriteAsync(buffer.AsMemory(offset, count), cancellationToken).AsTask();
    public override Task<int> ReadAsync(byte[] buffer, int offset, int count, CancellationToken cancellationToken) => ReadAsync(buffer.AsMemory(offset, count), cancellationToken).AsTask();
    public override int Read(byte[] buffer, int offset, int count) => throw new NotSupportedException();
    public override void Write(byte[] buffer, int offset, int count) => throw new NotSupportedException();
    public override void Flush() => throw new NotSupportedException();
    public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();
    public override void SetLength(long value) => throw new NotSupportedException();

    protected override void Dispose(bool disposing)
    {
        if (disposing) _socket.Dispose();
        base.Dispose(disposing);
    }
}
