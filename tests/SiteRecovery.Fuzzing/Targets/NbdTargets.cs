using System.Buffers.Binary;
using System.Net.Sockets;
using System.Text;
using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.DataPlane.Nbd;
using SiteRecovery.Domain.History;

namespace SiteRecovery.Fuzzing.Targets;

/// <summary>A unix socket in a folder of its own.</summary>
internal abstract class SocketTarget : FuzzTarget
{
    private readonly DirectoryInfo _folder = Directory.CreateTempSubdirectory("sr-fuzz-");
    protected static readonly TimeSpan Patience = TimeSpan.FromSeconds(15);

    protected UnixDomainSocketEndPoint Endpoint => new(Path.Combine(_folder.FullName, "nbd.sock"));
    internal override bool AllocatesElsewhere => true;
    internal override int InputBytesMax => 8 << 10;

    protected static byte[] Number(long value, int bytes)
    {
        var number = new byte[8];
        BinaryPrimitives.WriteInt64BigEndian(number, value);
        return number[(8 - bytes)..];
    }

    protected static byte[] Text(string text) => [.. Number(text.Length, 4), .. Encoding.UTF8.GetBytes(text)];

    protected static Socket NewSocket() => new(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified) { ReceiveTimeout = (int)Patience.TotalMilliseconds, SendTimeout = (int)Patience.TotalMilliseconds };

    public override void Dispose()
    {
        base.Dispose();
        _folder.Delete(recursive: true);
    }
}

/// <summary>All that a client sends, from its first byte to its last, to the real server over a small disk.</summary>
internal sealed class NbdServerTarget : SocketTarget
{
    private const int DiskBytes = 64 << 10;
    private readonly NbdServer _server;
    private readonly byte[] _answers = new byte[64 << 10];
    private volatile Exception? _failed;

    public NbdServerTarget()
    {
        var exports = new NbdExports();
        exports.Add(new NbdExport("d", new Disk(), "a disk"));
        _server = new NbdServer(exports, new NbdServerOptions { DeviceFailed = (_, failure) => _failed = failure }, TimeProvider.System);
        _server.Listen(Endpoint);
    }

    internal override string Name => "nbd-server";

    /// <summary>A client may ask for 64 blocks at once; its connection has a thread and a buffer.</summary>
    internal override long AllocatedMax(int inputBytes) => 64L << 20;

    internal override IEnumerable<byte[]> Seeds()
    {
        byte[] flags = Number(3, 4);
        byte[] go = Option(7, [.. Text("d"), .. Number(1, 2), .. Number(3, 2)]);
        byte[][] requests =
        [
            Request(0, 0, 4096), Request(1, 512, 16, new byte[16]), Request(3, 0, 0), Request(4, 4096, 4096), Request(6, 8192, 4096), Request(7, 0, DiskBytes),
            Request(1 | 1 << 16, 0, 4, new byte[4]), Request(0, DiskBytes, 1), Request(2, 0, 0),
        ];
        yield return [.. flags, .. Option(3, []), .. Option(8, []), .. Option(9, [.. Text("d"), .. Number(0, 4)]), .. Option(10, [.. Text("d"), .. Number(1, 4), .. Text("base:allocation")]), .. go, .. requests.SelectMany(r => r)];
        yield return [.. flags, .. go, .. requests.SelectMany(r => r)];
        yield return [.. Number(1, 4), .. Option(1, [.. "d"u8]), .. requests[0], .. requests[^1]];
        yield return [.. flags, .. Option(6, [.. Text("d"), .. Number(0, 2)]), .. Option(5, []), .. Option(2, [])];
    }

    internal override void Run(byte[] input)
    {
        _failed = null;
        using var socket = NewSocket();
        socket.Connect(Endpoint);
        try
        {
            for (ReadOnlySpan<byte> rest = input; rest.Length > 0;) rest = rest[socket.Send(rest)..];
            socket.Shutdown(SocketShutdown.Send);
            while (socket.Receive(_answers) > 0)
            {
                // Whatever it has to say.
            }
        }
        catch (SocketException cut) when (cut.SocketErrorCode is SocketError.ConnectionReset or SocketError.Shutdown)
        {
            // It has heard enough.
        }
        if (_failed is { } failure) throw new InvalidOperationException("the server passed on to the disk what it should not have", failure);
    }

    private static byte[] Option(uint option, byte[] data) => [.. "IHAVEOPT"u8, .. Number(option, 4), .. Number(data.Length, 4), .. data];

    private static byte[] Request(int command, long offset, int length, byte[]? data = null) =>
        [.. Number(0x25609513, 4), .. Number(command >> 16, 2), .. Number(command & 0xFFFF, 2), .. Number(7, 8), .. Number(offset, 8), .. Number(length, 4), .. data ?? []];

    public override void Dispose()
    {
        _server.DisposeAsync().AsTask().GetAwaiter().GetResult();
        base.Dispose();
    }

    /// <summary>Nothing that lies outside of it may come as far as here.</summary>
    private sealed class Disk : IBlockDevice
    {
        private readonly byte[] _bytes = new byte[DiskBytes];

        public long SizeBytes => DiskBytes;
        public bool ReadOnly => false;

        public ValueTask ReadAsync(long offset, Memory<byte> into, CancellationToken stop)
        {
            lock (_bytes) _bytes.AsSpan(checked((int)offset), into.Length).CopyTo(into.Span);
            return default;
        }

        public ValueTask WriteAsync(long offset, ReadOnlyMemory<byte> from, bool forceUnitAccess, CancellationToken stop)
        {
            lock (_bytes) from.Span.CopyTo(_bytes.AsSpan(checked((int)offset), from.Length));
            return default;
        }

        public ValueTask WriteZeroesAsync(long offset, long length, bool mayTrim, bool forceUnitAccess, CancellationToken stop)
        {
            lock (_bytes) _bytes.AsSpan(checked((int)offset), checked((int)length)).Clear();
            return default;
        }

        public ValueTask FlushAsync(CancellationToken stop) => default;

        public ValueTask<IReadOnlyList<BlockStatusExtent>> StatusAsync(long offset, long length, CancellationToken stop) => new([new BlockStatusExtent(length, false, false)]);

        public ValueTask DisposeAsync() => default;
    }
}

/// <summary>All that a server sends to our client, whatever that asks.</summary>
internal sealed class NbdClientTarget : SocketTarget
{
    private readonly Socket _listener = NewSocket();

    public NbdClientTarget()
    {
        _listener.Bind(Endpoint);
        _listener.Listen(4);
    }

    internal override string Name => "nbd-client";

    /// <summary>A refusal by the connection; what broke it is within.</summary>
    internal override bool Expects(Exception refusal) => refusal is IOException { InnerException: null or IOException or InvalidDataException or SocketException or ObjectDisposedException or OperationCanceledException } or InvalidDataException;

    internal override long AllocatedMax(int inputBytes) => 16L << 20;

    internal override IEnumerable<byte[]> Seeds()
    {
        byte[] greeting = [.. "NBDMAGICIHAVEOPT"u8, .. Number(3, 2)];
        byte[] info = [.. Number(0, 2), .. Number(1 << 20, 8), .. Number(0x16D, 2)];
        byte[] handshake = [.. greeting, .. Reply(8, 1, []), .. Reply(10, 4, [.. Number(1, 4), .. "base:allocation"u8]), .. Reply(10, 1, []), .. Reply(7, 3, info), .. Reply(7, 1, [])];
        yield return [.. handshake, .. Chunk(1, 1, 1, [.. Number(0, 8), .. new byte[4096]]), .. Chunk(2, 1, 5, [.. Number(1, 4), .. Number(65536, 4), .. Number(3, 4)]), .. Simple(3, 0), .. Simple(4, 0)];
        yield return [.. handshake, .. Chunk(1, 0, 2, [.. Number(0, 8), .. Number(2048, 4)]), .. Chunk(1, 0, 1, [.. Number(2048, 8), .. new byte[2048]]), .. Chunk(1, 1, 0, []), .. Chunk(2, 1, 32769, [.. Number(22, 4), .. Number(0, 2)]), .. Simple(3, 28), .. Simple(4, 0)];
        yield return [.. handshake, .. Simple(1, 0), .. new byte[4096], .. Simple(4, 0)];
        yield return [.. greeting, .. Reply(8, 0x80000001, []), .. Reply(7, 0x80000006, [.. "no"u8])];
    }

    internal override void Run(byte[] input) => RunAsync(input).GetAwaiter().GetResult();

    private async Task RunAsync(byte[] input)
    {
        var serving = ServeAsync(input);
        try
        {
            await using var client = await NbdClient.ConnectAsync(Endpoint, "d", CancellationToken.None).WaitAsync(Patience);
            var read = client.ReadAsync(0, new byte[4096], CancellationToken.None);
            var status = client.StatusAsync(0, 65536, CancellationToken.None);
            var write = client.WriteAsync(0, new byte[512], false, CancellationToken.None);
            var flush = client.FlushAsync(CancellationToken.None);
            try
            {
                await Task.WhenAll(read, status, write, flush).WaitAsync(Patience);
            }
            finally
            {
                foreach (var task in (Task[])[read, status, write, flush]) await task.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            }
        }
        finally
        {
            await serving;
        }
    }

    private async Task ServeAsync(byte[] input)
    {
        using var socket = await _listener.AcceptAsync();
        try
        {
            await socket.SendAsync(input);
            socket.Shutdown(SocketShutdown.Send);
            var heard = new byte[4096];
            while (await socket.ReceiveAsync(heard) > 0)
            {
                // What it asks does not matter.
            }
        }
        catch (SocketException)
        {
            // It has heard enough.
        }
    }

    private static byte[] Reply(uint option, uint kind, byte[] data) => [.. Number(0x0003e889045565a9, 8), .. Number(option, 4), .. Number(kind, 4), .. Number(data.Length, 4), .. data];

    private static byte[] Simple(long cookie, int error) => [.. Number(0x67446698, 4), .. Number(error, 4), .. Number(cookie, 8)];

    private static byte[] Chunk(long cookie, int flags, int kind, byte[] data) => [.. Number(0x668e33ef, 4), .. Number(flags, 2), .. Number(kind, 2), .. Number(cookie, 8), .. Number(data.Length, 4), .. data];

    public override void Dispose()
    {
        _listener.Dispose();
        base.Dispose();
    }
}
