using System.Buffers.Binary;
using System.Net.Sockets;
using SiteRecovery.DataPlane.Nbd;

namespace SiteRecovery.DataPlane.Tests.Nbd;

/// <summary>Each goes on beside a good client that must notice nothing.</summary>
public sealed class HostileClients
{
    private const ulong OptionMagic = 0x49484156454f5054;

    [Fact]
    public Task Garbage_instead_of_an_option_is_cut_off() => BesideAGoodClient(async disk =>
    {
        using var socket = await GreetedAsync(disk);
        await socket.SendAsync(new byte[64]);
        await AssertCutOffAsync(socket);
    });

    [Fact]
    public Task An_unknown_option_is_refused_and_the_handshake_goes_on() => BesideAGoodClient(async disk =>
    {
        using var socket = await GreetedAsync(disk);
        for (var i = 0; i < 3; i++)
        {
            await socket.SendAsync(Option(0x7777, new byte[100]));
            Assert.Equal(0x80000001u, await ReplyKindAsync(socket));
        }
        await socket.SendAsync(Option(2, []));
        Assert.Equal(1u, await ReplyKindAsync(socket));
    });

    [Fact]
    public Task Too_long_an_option_is_refused_and_an_absurd_one_cut_off() => BesideAGoodClient(async disk =>
    {
        using var socket = await GreetedAsync(disk);
        await socket.SendAsync(Option(6, new byte[20_000]));
        Assert.Equal(0x80000009u, await ReplyKindAsync(socket));
        var absurd = Option(6, []);
        BinaryPrimitives.WriteUInt32BigEndian(absurd.AsSpan(12), uint.MaxValue);
        await socket.SendAsync(absurd);
        Assert.Equal(0x80000009u, await ReplyKindAsync(socket));
        await AssertCutOffAsync(socket);
    });

    [Fact]
    public Task A_flood_of_options_is_cut_off() => BesideAGoodClient(async disk =>
    {
        using var socket = await GreetedAsync(disk);
        var flood = Option(0x7777, []);
        var reading = AssertCutOffAsync(socket);
        try
        {
            for (var i = 0; i < 5000; i++) await socket.SendAsync(flood);
        }
        catch (SocketException)
        {
            // Cut off in the middle of it, as it should be.
        }
        await reading;
    });

    [Fact]
    public Task An_oversized_write_is_cut_off_without_taking_memory() => BesideAGoodClient(async disk =>
    {
        using var socket = await TransmittingAsync(disk);
        var before = GC.GetTotalAllocatedBytes(true);
        await socket.SendAsync(Request(1, 0, uint.MaxValue));
        await AssertCutOffAsync(socket);
        Assert.True(GC.GetTotalAllocatedBytes(true) - before < 512 << 20);
    });

    [Fact]
    public Task A_bad_request_magic_is_cut_off() => BesideAGoodClient(async disk =>
    {
        using var socket = await TransmittingAsync(disk);
        await socket.SendAsync(new byte[28]);
        await AssertCutOffAsync(socket);
    });

    [Fact]
    public Task Half_a_write_changes_nothing() => BesideAGoodClient(async disk =>
    {
        using (var socket = await TransmittingAsync(disk))
        {
            await socket.SendAsync(Request(1, 8 << 20, 4096));
            await socket.SendAsync(Enumerable.Repeat((byte)0xee, 2000).ToArray());
            socket.Shutdown(SocketShutdown.Send);
            await AssertCutOffAsync(socket);
        }
        await using var client = await disk.ConnectAsync();
        var read = new byte[4096];
        await client.ReadAsync(8 << 20, read, ServedDisk.None);
        Assert.True(read.All(b => b == 0));
    });

    [Fact]
    public Task A_client_that_asks_for_much_and_takes_no_replies_blocks_only_itself() => BesideAGoodClient(async disk =>
    {
        using var socket = await TransmittingAsync(disk);
        await socket.SendAsync(Enumerable.Range(0, 1000).SelectMany(_ => Request(0, 0, 4 << 20)).ToArray());
        await using var another = await disk.ConnectAsync();
        await CheckAsync(another, 250);
        socket.LingerState = new LingerOption(true, 0);
    });

    [Fact]
    public Task Errors_are_answered_and_the_connection_goes_on() => BesideAGoodClient(async disk =>
    {
        using var socket = await TransmittingAsync(disk);
        Assert.Equal(22, await ErrnoAsync(socket, Request(0, 16 << 20, 1)));
        Assert.Equal(22, await ErrnoAsync(socket, Request(0, 0, 1 << 30)));
        Assert.Equal(22, await ErrnoAsync(socket, Request(99, 0, 0)));
        Assert.Equal(22, await ErrnoAsync(socket, Request(7, 0, 4096)));
        Assert.Equal(28, await ErrnoAsync(socket, [.. Request(1, ulong.MaxValue - 2, 4), 1, 2, 3, 4]));
        Assert.Equal(28, await ErrnoAsync(socket, Request(6, 0, uint.MaxValue)));
        Assert.Equal(0, await ErrnoAsync(socket, [.. Request(1, 9 << 20, 4), 1, 2, 3, 4]));
    });

    [Fact]
    public async Task Connections_beyond_the_cap_are_closed_and_room_comes_back()
    {
        await using var disk = new ServedDisk(options: new NbdServerOptions { MaxConnections = 64 });
        await using var good = await disk.ConnectAsync();
        var crowd = new List<Socket>();
        for (var i = 0; i < 1500; i++) crowd.Add(await SeenAsync(disk));
        Assert.InRange(disk.Server.Connections, 1, 64);
        await CheckAsync(good, 1);
        foreach (var socket in crowd) socket.Dispose();
        await UntilAsync(() => disk.Server.Connections == 1);
        await using var another = await disk.ConnectAsync();
        await CheckAsync(another, 2);
    }

    [Fact]
    public async Task Disks_of_a_few_hundred_machines_are_open_at_once()
    {
        await using var disk = new ServedDisk();
        var crowd = new List<Socket>();
        for (var i = 0; i < 600; i++) crowd.Add(await SeenAsync(disk));
        await using var good = await disk.ConnectAsync();
        await CheckAsync(good, 1);
        await UntilAsync(() => disk.Server.Connections == crowd.Count + 1);
        foreach (var socket in crowd) socket.Dispose();
    }

    [Fact]
    public async Task A_crowd_over_TCP_takes_no_place_from_guests_on_the_unix_socket_nor_from_one_that_opens_a_disk()
    {
        await using var disk = new ServedDisk(options: new NbdServerOptions { MaxConnections = 4, MaxTcpHandshakes = 8, HandshakeTimeout = TimeSpan.FromMinutes(5) });
        var crowd = new List<Socket>();
        for (var i = 0; i < 200; i++) crowd.Add(await disk.ConnectRawAsync());
        var guests = new List<NbdClient>();
        for (var i = 0; i < 4; i++) guests.Add(await disk.ConnectAsync());
        await using var remote = await NbdClient.ConnectAsync(disk.Tcp, "disk", ServedDisk.None);
        await CheckAsync(remote, 1);
        foreach (var guest in guests) await CheckAsync(guest, 2);
        // Those that said nothing have gone but for the last, and their threads with them.
        await UntilAsync(() => disk.Server.Connections <= 4 + 1 + 8);
        foreach (var guest in guests) await guest.DisposeAsync();
        foreach (var socket in crowd) socket.Dispose();
    }

    [Fact]
    public async Task Disks_open_over_TCP_have_a_limit_of_their_own_and_room_comes_back()
    {
        await using var disk = new ServedDisk(options: new NbdServerOptions { MaxConnections = 1, MaxTcpConnections = 2 });
        await using var first = await NbdClient.ConnectAsync(disk.Tcp, "disk", ServedDisk.None);
        await using (var second = await NbdClient.ConnectAsync(disk.Tcp, "disk", ServedDisk.None))
        {
            await CheckAsync(second, 1);
            await Assert.ThrowsAnyAsync<IOException>(async () =>
            {
                await using var third = await NbdClient.ConnectAsync(disk.Tcp, "disk", ServedDisk.None);
                await CheckAsync(third, 2);
            });
            await using var guest = await disk.ConnectAsync();
            await CheckAsync(guest, 3);
        }
        await UntilAsync(() => disk.Server.Connections == 1);
        await using var another = await NbdClient.ConnectAsync(disk.Tcp, "disk", ServedDisk.None);
        await CheckAsync(another, 4);
        await CheckAsync(first, 5);
    }

    [Fact]
    public async Task A_client_that_never_finishes_its_handshake_is_cut_off()
    {
        await using var disk = new ServedDisk(options: new NbdServerOptions { HandshakeTimeout = TimeSpan.FromMilliseconds(200) });
        await using var good = await disk.ConnectAsync();
        using var socket = await GreetedAsync(disk);
        await AssertCutOffAsync(socket);
        await CheckAsync(good, 3);
    }

    private static async Task BesideAGoodClient(Func<ServedDisk, Task> hostile)
    {
        await using var disk = new ServedDisk();
        await using var good = await disk.ConnectAsync();
        var over = false;
        var working = Task.Run(async () =>
        {
            for (byte i = 0; !Volatile.Read(ref over) || i < 10; i++) await CheckAsync(good, i);
        });
        await hostile(disk);
        Volatile.Write(ref over, true);
        await working;
        await UntilAsync(() => disk.Server.Connections == 1);
    }

    private static async Task CheckAsync(NbdClient client, byte value)
    {
        var data = new byte[4096];
        data.AsSpan().Fill(value);
        await client.WriteAsync(4096L * value, data, false, ServedDisk.None);
        var read = new byte[4096];
        await client.ReadAsync(4096L * value, read, ServedDisk.None);
        Assert.Equal(data, read);
    }

    private static async Task UntilAsync(Func<bool> condition)
    {
        using var deadline = new CancellationTokenSource(TimeSpan.FromSeconds(20));
        while (!condition()) await Task.Delay(10, deadline.Token);
    }

    /// <summary>Connected to the unix socket, and greeted or closed: of more than wait to be accepted the system turns some away by itself.</summary>
    private static async Task<Socket> SeenAsync(ServedDisk disk)
    {
        var socket = await disk.ConnectRawAsync(disk.Unix);
        try
        {
            await socket.ReceiveAsync(new byte[18]);
        }
        catch (SocketException)
        {
            // Closed.
        }
        return socket;
    }

    private static async Task<Socket> GreetedAsync(ServedDisk disk)
    {
        var socket = await disk.ConnectRawAsync();
        await ReceiveAsync(socket, 18);
        await socket.SendAsync(new byte[] { 0, 0, 0, 3 });
        return socket;
    }

    private static async Task<Socket> TransmittingAsync(ServedDisk disk)
    {
        var socket = await GreetedAsync(disk);
        await socket.SendAsync(Option(1, "disk"u8.ToArray()));
        await ReceiveAsync(socket, 10);
        return socket;
    }

    private static byte[] Option(uint option, byte[] data)
    {
        var bytes = new byte[16 + data.Length];
        BinaryPrimitives.WriteUInt64BigEndian(bytes, OptionMagic);
        BinaryPrimitives.WriteUInt32BigEndian(bytes.AsSpan(8), option);
        BinaryPrimitives.WriteInt32BigEndian(bytes.AsSpan(12), data.Length);
        data.CopyTo(bytes, 16);
        return bytes;
    }

    private static byte[] Request(ushort command, ulong offset, uint length)
    {
        var bytes = new byte[28];
        BinaryPrimitives.WriteUInt32BigEndian(bytes, 0x25609513);
        BinaryPrimitives.WriteUInt16BigEndian(bytes.AsSpan(6), command);
        BinaryPrimitives.WriteUInt64BigEndian(bytes.AsSpan(16), offset);
        BinaryPrimitives.WriteUInt32BigEndian(bytes.AsSpan(24), length);
        return bytes;
    }

    private static async Task<uint> ReplyKindAsync(Socket socket)
    {
        var header = await ReceiveAsync(socket, 20);
        await ReceiveAsync(socket, BinaryPrimitives.ReadInt32BigEndian(header.AsSpan(16)));
        return BinaryPrimitives.ReadUInt32BigEndian(header.AsSpan(12));
    }

    private static async Task<int> ErrnoAsync(Socket socket, byte[] request)
    {
        await socket.SendAsync(request);
        return BinaryPrimitives.ReadInt32BigEndian((await ReceiveAsync(socket, 16)).AsSpan(4));
    }

    private static async Task<byte[]> ReceiveAsync(Socket socket, int count)
    {
        using var deadline = new CancellationTokenSource(TimeSpan.FromSeconds(20));
        var bytes = new byte[count];
        for (var at = 0; at < count;)
        {
            var got = await socket.ReceiveAsync(bytes.AsMemory(at), deadline.Token);
            Assert.True(got > 0, "the server closed the connection");
            at += got;
        }
        return bytes;
    }

    private static async Task AssertCutOffAsync(Socket socket)
    {
        using var deadline = new CancellationTokenSource(TimeSpan.FromSeconds(20));
        var bytes = new byte[4096];
        try
        {
            while (await socket.ReceiveAsync(bytes, deadline.Token) > 0)
            {
            }
        }
        catch (SocketException)
        {
            // A reset is as good as an end.
        }
    }
}
