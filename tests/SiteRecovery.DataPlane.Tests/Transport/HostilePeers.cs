using System.Buffers.Binary;
using System.Net;
using System.Net.Sockets;
using SiteRecovery.DataPlane.ProcessServer;
using SiteRecovery.DataPlane.Transport;

namespace SiteRecovery.DataPlane.Tests.Transport;

/// <summary>Whoever speaks nonsense to the data plane's port, or nothing at all, harms nobody else.</summary>
public sealed class HostilePeers : IAsyncLifetime
{
    private const int HandshakesMax = 8, ConnectionsPerPeerMax = 4;
    private readonly DirectoryInfo _folder = Directory.CreateTempSubdirectory();
    private readonly CancellationTokenSource _patience = new(TimeSpan.FromSeconds(30));
    private readonly AgentSessions _sessions = new(TimeProvider.System);
    private Authority _authority = null!;
    private ChannelListener _listener = null!;

    private CancellationToken Stop => _patience.Token;

    public Task InitializeAsync()
    {
        _authority = Authority.Create(_folder.FullName, "cluster", TimeProvider.System);
        var options = new ChannelOptions { HandshakesMax = HandshakesMax, ConnectionsPerPeerMax = ConnectionsPerPeerMax, HandshakeTimeout = TimeSpan.FromMinutes(5) };
        _listener = new ChannelListener(new IPEndPoint(IPAddress.Loopback, 0), _authority.Issue("node-1", PeerRole.Node).ForServer(), options, (stream, _, stop) => stream.CopyToAsync(stream, stop), _sessions.RunAsync);
        _listener.Start();
        return Task.CompletedTask;
    }

    public async Task DisposeAsync()
    {
        await _listener.DisposeAsync();
        _authority.Dispose();
        _patience.Dispose();
        _folder.Delete(recursive: true);
    }

    [Fact]
    public async Task A_flood_of_connections_that_say_nothing_makes_room_for_one_that_speaks()
    {
        await using var before = await AgentAsync("agent-1");
        var flood = new List<Socket>();
        for (var i = 0; i < 20 * HandshakesMax; i++) flood.Add(await ConnectRawAsync());
        await using var during = await AgentAsync("agent-2");
        await AssertHeardAsync(before);
        // The oldest have had to go, and nobody's memory is held by them.
        foreach (var socket in flood.Take(19 * HandshakesMax)) await AssertClosedAsync(socket);
        foreach (var socket in flood) socket.Dispose();
    }

    [Fact]
    public async Task A_peer_with_many_connections_loses_its_own_oldest_and_takes_nobody_elses()
    {
        await using var good = await AgentAsync("agent-1");
        var many = new List<Stream>();
        for (var i = 0; i < 5 * ConnectionsPerPeerMax; i++)
        {
            many.Add(await SecureAsync("agent-2"));
            await many[^1].WriteAsync(Preamble.Of(ChannelKind.Data), Stop);
            await AssertEchoesAsync(many[^1]);
        }
        foreach (var stream in many.SkipLast(ConnectionsPerPeerMax)) Assert.Equal(0, await ReadAsync(stream));
        foreach (var stream in many.TakeLast(ConnectionsPerPeerMax)) await AssertEchoesAsync(stream);
        await AssertHeardAsync(good);
        foreach (var stream in many) await stream.DisposeAsync();
    }

    [Fact]
    public async Task Garbage_instead_of_a_handshake_is_cut_off()
    {
        await using var good = await AgentAsync("agent-1");
        var random = new Random(3);
        foreach (var length in new[] { 1 << 16, 100_000, 300_000 })
        {
            using var socket = await ConnectRawAsync();
            var garbage = new byte[length];
            random.NextBytes(garbage);
            garbage[0] = 0xFF; // no record of TLS begins so
            await SendWhatItTakesAsync(socket, garbage);
            await AssertClosedAsync(socket);
        }
        await AssertHeardAsync(good);
    }

    [Theory]
    [InlineData("GET / HTTP/1.1\r\n")]
    [InlineData("SRTC\u0009\u0001\0\0")] // a version that does not exist
    [InlineData("SRTC\u0001\u0007\0\0")] // a kind that does not exist
    [InlineData("SRTC\u0001\u0002\0\0\u00ff\u00ff\u00ff\u007f")] // a message of 2 GiB
    [InlineData("SRTC\u0001\u0002\0\0\u00ff\u00ff\u00ff\u00ff")] // one of -1 bytes
    [InlineData("SRTC\u0001\u0002\0\0\u0004\0\0\0{{{{")]
    public async Task Nonsense_with_a_good_certificate_is_cut_off(string bytes)
    {
        await using var good = await AgentAsync("agent-1");
        await using var stream = await SecureAsync("agent-2");
        await stream.WriteAsync(System.Text.Encoding.Latin1.GetBytes(bytes), Stop);
        await stream.FlushAsync(Stop);
        Assert.Equal(0, await ReadAsync(stream));
        await AssertHeardAsync(good);
        Assert.Equal(["agent-1"], _sessions.Connected);
    }

    [Fact]
    public async Task A_hello_in_anothers_name_is_cut_off()
    {
        await using var good = await AgentAsync("agent-1");
        await using var false1 = await ControlChannel.OpenAsync(await SecureAsync("agent-2"), null, Stop);
        await false1.SendAsync(new AgentHello("agent-1", "1", []), Stop);
        Assert.Null(await false1.ReceiveMessageAsync(Stop));
        await AssertHeardAsync(good);
    }

    [Fact]
    public async Task A_message_that_never_ends_takes_no_more_than_it_may()
    {
        await using var good = await AgentAsync("agent-1");
        await using var stream = await SecureAsync("agent-2");
        await stream.WriteAsync(Preamble.Of(ChannelKind.Control), Stop);
        var length = new byte[4];
        BinaryPrimitives.WriteInt32LittleEndian(length, ControlChannel.MessageBytesMax);
        await stream.WriteAsync(length, Stop);
        await stream.WriteAsync(new byte[ControlChannel.MessageBytesMax], Stop); // zeroes are no JSON
        await stream.FlushAsync(Stop);
        Assert.Equal(0, await ReadAsync(stream));
        await AssertHeardAsync(good);
    }

    private async Task<Stream> SecureAsync(string agent) =>
        await ChannelConnector.ConnectAsync("127.0.0.1", _listener.Endpoint.Port, _authority.Issue(agent, PeerRole.Agent).ForClient(), Stop);

    private async Task<ControlChannel> AgentAsync(string name)
    {
        var channel = await ControlChannel.OpenAsync(await SecureAsync(name), null, Stop);
        await channel.SendAsync(new AgentHello(name, "1", []), Stop);
        await AssertHeardAsync(channel);
        return channel;
    }

    private async Task AssertEchoesAsync(Stream stream)
    {
        await stream.WriteAsync(new byte[] { 7 }, Stop);
        await stream.FlushAsync(Stop);
        Assert.Equal(1, await stream.ReadAsync(new byte[1], Stop));
    }

    private async Task AssertHeardAsync(ControlChannel agent)
    {
        await agent.SendAsync(new AgentStatus(DateTimeOffset.UnixEpoch, []), Stop);
        Assert.Equal(new StatusHeard(), await agent.ReceiveMessageAsync(Stop));
    }

    private async Task<Socket> ConnectRawAsync()
    {
        var socket = new Socket(SocketType.Stream, ProtocolType.Tcp);
        await socket.ConnectAsync(IPAddress.Loopback, _listener.Endpoint.Port, Stop);
        return socket;
    }

    private async Task SendWhatItTakesAsync(Socket socket, byte[] bytes)
    {
        try
        {
            for (var sent = 0; sent < bytes.Length;) sent += await socket.SendAsync(bytes.AsMemory(sent), Stop);
        }
        catch (SocketException)
        {
            // It has seen enough.
        }
    }

    private async Task AssertClosedAsync(Socket socket)
    {
        try
        {
            // It may say why, in an alert of TLS, before it closes.
            while (await socket.ReceiveAsync(new byte[256], Stop) > 0) { }
        }
        catch (SocketException reset) when (reset.SocketErrorCode is SocketError.ConnectionReset)
        {
            // As abruptly as the nonsense came.
        }
    }

    private async Task<int> ReadAsync(Stream stream)
    {
        try
        {
            return await stream.ReadAsync(new byte[1], Stop);
        }
        catch (IOException)
        {
            return 0;
        }
    }
}
