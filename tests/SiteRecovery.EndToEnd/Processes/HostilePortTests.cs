using System.Net;
using System.Net.Sockets;
using System.Text.Json.Nodes;
using Xunit.Abstractions;

namespace SiteRecovery.EndToEnd.Processes;

/// <summary>Strangers at every open port, of both sites and of the agent: who replicates and who administers notices nothing.</summary>
[Trait("Category", "Slow"), Collection("Sites")]
public sealed class HostilePortTests(ITestOutputHelper output) : IDisposable
{
    private const int SilentEach = 300, NonsenseEach = 60, NonsenseBytes = 64 << 10;
    private const double WaitMax = 5000;
    private readonly CancellationTokenSource _limit = new(TimeSpan.FromMinutes(5));

    [Fact]
    public async Task Half_open_connections_and_nonsense_at_every_port_harm_nobody()
    {
        await using var sites = new SitesUnderTest("", _limit.Token,
            new NodeUnderTest(SitesUnderTest.Secondary, SitesUnderTest.Secondary, "configuration-server, master-target"),
            new NodeUnderTest(SitesUnderTest.Primary, SitesUnderTest.Primary, "process-server"));
        await sites.StartAsync(200);
        var begun = sites.LedgerNow.Count;
        EndPoint[] ports = [.. Ports(sites, SitesUnderTest.Primary), .. Ports(sites, SitesUnderTest.Secondary), new UnixDomainSocketEndPoint(sites.At("agent-data/nbd.sock"))];
        Assert.InRange(ports.Length, 7, 9); // a port whose role a node has not may be shut
        var silent = new List<Socket>();
        foreach (var port in ports)
            for (var i = 0; i < SilentEach; i++)
                if (await TryConnectAsync(port) is { } socket) silent.Add(socket);
        await Task.WhenAll(ports.Select(TalkNonsenseAsync));

        // With all of it still standing: a new agent's connection, a new NBD client, and the API.
        sites.Kill(SitesUnderTest.Agent);
        sites.Start(SitesUnderTest.Agent);
        await sites.RecoveredAsync();
        Assert.Equal(2, (await sites.MembersAsync()).Count);
        output.WriteLine($"{silent.Count} silent connections; longest wait {LedgerWaits.Longest(sites.LedgerNow, begun):F0} ms, over the agent's restart");
        Assert.InRange(LedgerWaits.Longest(sites.LedgerNow, begun), 0, WaitMax);
        await sites.ProveEqualAsync();
        foreach (var socket in silent) socket.Dispose();
    }

    private static IEnumerable<EndPoint> Ports(SitesUnderTest sites, string node)
    {
        var endpoints = JsonNode.Parse(File.ReadAllText(sites.At(node + "/endpoints.json")))!;
        foreach (var name in new[] { "http", "cluster", "data", "agent" })
            if ((int)endpoints[name]! is > 0 and var port) yield return new IPEndPoint(IPAddress.Loopback, port);
    }

    private async Task TalkNonsenseAsync(EndPoint port, int seed)
    {
        var random = new Random(seed);
        var bytes = new byte[NonsenseBytes];
        for (var i = 0; i < NonsenseEach; i++)
        {
            random.NextBytes(bytes);
            // The beginnings of what is spoken there: a record of TLS, a handshake of NBD, a request of HTTP, a line that does not end.
            ReadOnlySpan<byte> beginning = (i % 4) switch { 0 => [0x16, 3, 1, 0xFF, 0xFF], 1 => "IHAVEOPT"u8, 2 => "POST /api/v1/agents/join HTTP/1.1\r\nContent-Length: 999999999999\r\n\r\n"u8, _ => [] };
            beginning.CopyTo(bytes);
            if (i % 4 == 3) Array.Fill(bytes, (byte)'a');
            using var socket = await TryConnectAsync(port);
            if (socket is null) continue;
            try
            {
                using var patience = CancellationTokenSource.CreateLinkedTokenSource(_limit.Token);
                patience.CancelAfter(TimeSpan.FromMilliseconds(500));
                await socket.SendAsync(bytes, patience.Token);
            }
            catch (Exception cut) when (cut is SocketException or OperationCanceledException && !_limit.IsCancellationRequested)
            {
                // It has heard enough, or takes no more of it.
            }
        }
    }

    private async Task<Socket?> TryConnectAsync(EndPoint port)
    {
        var socket = new Socket(port.AddressFamily, SocketType.Stream, port is UnixDomainSocketEndPoint ? ProtocolType.Unspecified : ProtocolType.Tcp);
        try
        {
            using var patience = CancellationTokenSource.CreateLinkedTokenSource(_limit.Token);
            patience.CancelAfter(TimeSpan.FromSeconds(2));
            await socket.ConnectAsync(port, patience.Token);
            return socket;
        }
        catch (Exception refused) when (refused is SocketException or OperationCanceledException && !_limit.IsCancellationRequested)
        {
            socket.Dispose();
            return null;
        }
    }

    public void Dispose() => _limit.Dispose();
}
