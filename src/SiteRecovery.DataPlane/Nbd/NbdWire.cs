using System.Buffers;
using System.Buffers.Binary;
using System.Net.Security;
using System.Net.Sockets;
using System.Security.Cryptography.X509Certificates;

namespace SiteRecovery.DataPlane.Nbd;

/// <summary>
/// The server's end of a connection: blocking, buffered reads by one thread, sends by one thread at a time.
/// Blocking because a blocking receive wakes the thread that serves the request; an asynchronous one wakes two.
/// </summary>
internal sealed class NbdWire(Socket socket) : IDisposable
{
    private byte[] _buffer = ArrayPool<byte>.Shared.Rent(4 << 10);
    private int _start, _end;
    private SslStream? _tls;

    internal int Buffered => _end - _start;
    internal bool Encrypted => _tls is not null;
    internal X509Certificate? PeerCertificate => _tls?.RemoteCertificate;

    internal void Grow(int bytes)
    {
        var larger = ArrayPool<byte>.Shared.Rent(bytes);
        Buffer.BlockCopy(_buffer, _start, larger, 0, Buffered);
        ArrayPool<byte>.Shared.Return(_buffer);
        (_buffer, _end, _start) = (larger, Buffered, 0);
    }

    /// <summary>The next <paramref name="count"/> bytes; valid until the next call.</summary>
    /// <exception cref="EndOfStreamException">The peer went away.</exception>
    internal ReadOnlySpan<byte> Take(int count)
    {
        if (Buffered < count) Fill(count);
        var taken = _buffer.AsSpan(_start, count);
        _start += count;
        return taken;
    }

    internal uint TakeUInt32() => BinaryPrimitives.ReadUInt32BigEndian(Take(4));

    internal void TakeInto(Span<byte> into)
    {
        var buffered = Math.Min(Buffered, into.Length);
        _buffer.AsSpan(_start, buffered).CopyTo(into);
        _start += buffered;
        into = into[buffered..];
        while (into.Length > 0)
        {
            // A short rest goes through the buffer, so that one call also fetches the requests behind it.
            if (into.Length < _buffer.Length / 2)
            {
                Take(into.Length).CopyTo(into);
                return;
            }
            into = into[Receive(into)..];
        }
    }

    internal void Skip(long count)
    {
        while (count > 0)
        {
            var part = (int)Math.Min(count, 4 << 10);
            Take(part);
            count -= part;
        }
    }

    internal void Send(ReadOnlySpan<byte> bytes)
    {
        if (_tls is not null)
        {
            _tls.Write(bytes);
            return;
        }
        while (bytes.Length > 0) bytes = bytes[socket.Send(bytes)..];
    }

    internal void StartTls(SslServerAuthenticationOptions options)
    {
        // What came in the clear behind STARTTLS would be taken for encrypted: that is an injection.
        if (Buffered > 0) throw new InvalidDataException("data in the clear after STARTTLS");
        _tls = new SslStream(new NetworkStream(socket, ownsSocket: false), leaveInnerStreamOpen: false);
        _tls.AuthenticateAsServer(options);
    }

    public void Dispose()
    {
        _tls?.Dispose();
        ArrayPool<byte>.Shared.Return(_buffer);
        _buffer = [];
        (_start, _end) = (0, 0);
    }

    private void Fill(int count)
    {
        if (_start == _end) (_start, _end) = (0, 0);
        else if (_start + count > _buffer.Length || Buffered < 512)
        {
            Buffer.BlockCopy(_buffer, _start, _buffer, 0, Buffered);
            (_end, _start) = (Buffered, 0);
        }
        while (Buffered < count) _end += Receive(_buffer.AsSpan(_end));
    }

    private int Receive(Span<byte> into)
    {
        var count = _tls is not null ? _tls.Read(into) : socket.Receive(into);
        return count > 0 ? count : throw new EndOfStreamException("the client went away");
    }
}
