using System.Buffers.Binary;
using System.Collections.Concurrent;
using System.Net;
using System.Net.Security;
using System.Net.Sockets;
using SiteRecovery.DataPlane.Blocks;
using static SiteRecovery.DataPlane.Nbd.NbdProtocol;

namespace SiteRecovery.DataPlane.Nbd;

/// <summary>The server refused a request or the export; <see cref="Errno"/> is 0 for a refusal in the handshake.</summary>
public sealed class NbdException(string message, int errno) : IOException(message)
{
    public int Errno { get; } = errno;
}

/// <summary>A small client: one connection, one export, requests may run concurrently.</summary>
public sealed class NbdClient : IAsyncDisposable
{
    private readonly Stream _stream;
    private readonly SemaphoreSlim _sending = new(1, 1);
    private readonly ConcurrentDictionary<ulong, Pending> _pending = new();
    private readonly CancellationTokenSource _closed = new();
    private readonly ushort _flags;
    private Task _receiving = Task.CompletedTask;
    private ulong _cookie;
    private volatile Exception? _broken;

    private NbdClient(Stream stream, long size, ushort flags, bool hasStatus) => (_stream, SizeBytes, _flags, HasStatus) = (stream, size, flags, hasStatus);

    public long SizeBytes { get; }
    public bool ReadOnly => (_flags & CanReadOnly) != 0;
    /// <summary>The server tells holes from data.</summary>
    public bool HasStatus { get; }

    /// <param name="tls">Where given, the connection is encrypted before anything else is said.</param>
    public static async Task<NbdClient> ConnectAsync(EndPoint server, string export, CancellationToken stop, SslClientAuthenticationOptions? tls = null)
    {
        var unix = server is UnixDomainSocketEndPoint;
        var socket = new Socket(server.AddressFamily, SocketType.Stream, unix ? ProtocolType.Unspecified : ProtocolType.Tcp);
        try
        {
            if (!unix) socket.NoDelay = true;
            await socket.ConnectAsync(server, stop).ConfigureAwait(false);
            var greeting = new NbdClientHandshake(new NetworkStream(socket, ownsSocket: true));
            var agreed = await greeting.RunAsync(export, tls, stop).ConfigureAwait(false);
            var client = new NbdClient(greeting.Stream, agreed.Size, agreed.Flags, agreed.HasStatus);
            client._receiving = client.ReceiveAsync();
            return client;
        }
        catch
        {
            socket.Dispose();
            throw;
        }
    }

    public Task ReadAsync(long offset, Memory<byte> into, CancellationToken stop) => AskAsync(CmdRead, 0, offset, (uint)into.Length, default, into, stop);

    public Task WriteAsync(long offset, ReadOnlyMemory<byte> from, bool forceUnitAccess, CancellationToken stop) =>
        AskAsync(CmdWrite, forceUnitAccess ? FlagFua : (ushort)0, offset, (uint)from.Length, from, default, stop);

    public Task FlushAsync(CancellationToken stop) => AskAsync(CmdFlush, 0, 0, 0, default, default, stop);

    public Task TrimAsync(long offset, uint length, CancellationToken stop) => AskAsync(CmdTrim, 0, offset, length, default, default, stop);

    public Task WriteZeroesAsync(long offset, uint length, bool mayTrim, bool forceUnitAccess, CancellationToken stop) =>
        AskAsync(CmdWriteZeroes, (ushort)((mayTrim ? 0 : FlagNoHole) | (forceUnitAccess ? FlagFua : 0)), offset, length, default, default, stop);

    /// <summary>Extents from <paramref name="offset"/>; at least one, not necessarily all of the range.</summary>
    public async Task<IReadOnlyList<BlockStatusExtent>> StatusAsync(long offset, uint length, CancellationToken stop) =>
        (await AskAsync(CmdBlockStatus, 0, offset, length, default, default, stop).ConfigureAwait(false)).Extents;

    public async ValueTask DisposeAsync()
    {
        try
        {
            if (_broken is null) await SendAsync(CmdDisconnect, 0, 0, 0, 0, default, CancellationToken.None).ConfigureAwait(false);
        }
        catch (Exception gone) when (gone is IOException or ObjectDisposedException)
        {
            // The server went first.
        }
        await _closed.CancelAsync().ConfigureAwait(false);
        await _stream.DisposeAsync().ConfigureAwait(false);
        await _receiving.ConfigureAwait(false);
        _sending.Dispose();
        _closed.Dispose();
    }

    private async Task<Pending> AskAsync(ushort command, ushort flags, long offset, uint length, ReadOnlyMemory<byte> data, Memory<byte> into, CancellationToken stop)
    {
        var cookie = Interlocked.Increment(ref _cookie);
        var pending = new Pending(offset, into);
        _pending[cookie] = pending;
        try
        {
            if (_broken is { } broken) throw new IOException("the NBD connection is closed", broken);
            await SendAsync(command, flags, cookie, offset, length, data, stop).ConfigureAwait(false);
            // Not cancellable here: the reply fills the caller's memory, so the caller keeps waiting for it or disposes the client.
            await pending.Done.Task.ConfigureAwait(false);
            return pending;
        }
        finally
        {
            _pending.TryRemove(cookie, out _);
        }
    }

    private async Task SendAsync(ushort command, ushort flags, ulong cookie, long offset, uint length, ReadOnlyMemory<byte> data, CancellationToken stop)
    {
        var request = new byte[RequestBytes];
        BinaryPrimitives.WriteUInt32BigEndian(request, RequestMagic);
        BinaryPrimitives.WriteUInt16BigEndian(request.AsSpan(4), flags);
        BinaryPrimitives.WriteUInt16BigEndian(request.AsSpan(6), command);
        BinaryPrimitives.WriteUInt64BigEndian(request.AsSpan(8), cookie);
        BinaryPrimitives.WriteInt64BigEndian(request.AsSpan(16), offset);
        BinaryPrimitives.WriteUInt32BigEndian(request.AsSpan(24), length);
        await _sending.WaitAsync(stop).ConfigureAwait(false);
        try
        {
            // Half a request would garble the stream, so from here on only the connection's end stops it.
            await _stream.WriteAsync(request, _closed.Token).ConfigureAwait(false);
            if (data.Length > 0) await _stream.WriteAsync(data, _closed.Token).ConfigureAwait(false);
            await _stream.FlushAsync(_closed.Token).ConfigureAwait(false);
        }
        finally
        {
            _sending.Release();
        }
    }

    private async Task ReceiveAsync()
    {
        var header = new byte[ChunkBytes];
        try
        {
            while (true) await ReceiveReplyAsync(header).ConfigureAwait(false);
        }
        catch (Exception end)
        {
            _broken = end;
            foreach (var pending in _pending.Values) pending.Done.TrySetException(new IOException("the NBD connection is closed", end));
        }
    }

    private async Task ReceiveReplyAsync(byte[] header)
    {
        await _stream.ReadExactlyAsync(header.AsMemory(0, SimpleReplyBytes), _closed.Token).ConfigureAwait(false);
        var magic = BinaryPrimitives.ReadUInt32BigEndian(header);
        if (magic is not (SimpleReplyMagic or StructuredReplyMagic)) throw new InvalidDataException("not an NBD reply");
        if (!_pending.TryGetValue(BinaryPrimitives.ReadUInt64BigEndian(header.AsSpan(8)), out var pending)) throw new InvalidDataException("a reply to nothing");
        if (magic == SimpleReplyMagic)
        {
            pending.Errno = BinaryPrimitives.ReadInt32BigEndian(header.AsSpan(4));
            pending.Complete();
            return;
        }
        await _stream.ReadExactlyAsync(header.AsMemory(SimpleReplyBytes, 4), _closed.Token).ConfigureAwait(false);
        var last = (BinaryPrimitives.ReadUInt16BigEndian(header.AsSpan(4)) & ChunkDone) != 0;
        var kind = BinaryPrimitives.ReadUInt16BigEndian(header.AsSpan(6));
        await ReceiveChunkAsync(pending, kind, BinaryPrimitives.ReadInt32BigEndian(header.AsSpan(16))).ConfigureAwait(false);
        if (last) pending.Complete();
    }

    private async Task ReceiveChunkAsync(Pending pending, ushort kind, int length)
    {
        if (kind == ChunkOffsetData)
        {
            var prefix = new byte[8];
            await _stream.ReadExactlyAsync(prefix, _closed.Token).ConfigureAwait(false);
            await _stream.ReadExactlyAsync(pending.Part(BinaryPrimitives.ReadInt64BigEndian(prefix), length - 8), _closed.Token).ConfigureAwait(false);
            return;
        }
        if (length is < 0 or > 1 << 20) throw new InvalidDataException("NBD chunk too long");
        var data = new byte[length];
        await _stream.ReadExactlyAsync(data, _closed.Token).ConfigureAwait(false);
        if (kind == ChunkOffsetHole) pending.Part(BinaryPrimitives.ReadInt64BigEndian(data), BinaryPrimitives.ReadInt32BigEndian(data.AsSpan(8))).Span.Clear();
        else if (kind is ChunkError or ChunkErrorOffset) pending.Errno = BinaryPrimitives.ReadInt32BigEndian(data);
        else if (kind == ChunkBlockStatus)
        {
            for (var at = 4; at + 8 <= length; at += 8)
            {
                var state = BinaryPrimitives.ReadUInt32BigEndian(data.AsSpan(at + 4));
                pending.Extents.Add(new BlockStatusExtent(BinaryPrimitives.ReadUInt32BigEndian(data.AsSpan(at)), (state & StateHole) != 0, (state & StateZero) != 0));
            }
        }
        else if (kind != ChunkNone) throw new InvalidDataException("unknown NBD chunk");
    }

    private sealed class Pending(long offset, Memory<byte> into)
    {
        internal readonly TaskCompletionSource Done = new(TaskCreationOptions.RunContinuationsAsynchronously);
        internal readonly List<BlockStatusExtent> Extents = [];
        internal int Errno;

        internal Memory<byte> Part(long at, int length) => at >= offset && length >= 0 && at - offset <= into.Length - length
            ? into.Slice((int)(at - offset), length)
            : throw new InvalidDataException("NBD data outside the request");

        internal void Complete()
        {
            if (Errno == 0) Done.TrySetResult();
            else Done.TrySetException(new NbdException($"the NBD server answered with error {Errno}", Errno));
        }
    }
}
