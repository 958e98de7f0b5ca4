using System.Collections.Concurrent;
using System.Net;
using System.Net.Sockets;
using System.Text.Json;
using SiteRecovery.Agent;
using SiteRecovery.DataPlane.Transport;

namespace SiteRecovery.Simulation.Agents;

/// <summary>To which of several process servers an agent goes, and who may come to it.</summary>
public sealed class MembershipTests : IAsyncDisposable
{
    private readonly DirectoryInfo _folder = Directory.CreateTempSubdirectory("sr-membership-");
    private readonly CancellationTokenSource _stop = new(TimeSpan.FromSeconds(30));
    private readonly Authority _authority;
    private readonly List<ChannelListener> _servers = [];
    private readonly ConcurrentQueue<(int Port, ChannelKind Kind)> _seen = new();

    public MembershipTests() => _authority = Authority.Create(_folder.CreateSubdirectory("authority").FullName, "cluster", TimeProvider.System);

    [Fact]
    public async Task Data_go_to_the_process_server_that_the_agent_speaks_with()
    {
        var (first, second) = (FreePort(), FreePort());
        var home = new AgentHome("agent-1", "primary", [At(first), At(second)], []);
        if (home.InTurn(null).First() == At(second)) (first, second) = (second, first);
        File.WriteAllBytes(Path.Combine(_folder.FullName, "agent.json"), JsonSerializer.SerializeToUtf8Bytes(home, JsonSerializerOptions.Web));
        _authority.IssueInto(Path.Combine(_folder.FullName, "pki"), "agent-1", PeerRole.Agent).Dispose();
        using var membership = new Membership(new AgentOptions(_folder.FullName, null, null, "agent-1"), TimeProvider.System);
        await membership.LoadAsync(_stop.Token);
        Serve(second);
        await using (await membership.OpenControlAsync(_stop.Token)) // the first one is away
        {
            membership.Admit();
            Serve(first);
            await using var data = await membership.ConnectDataAsync(_stop.Token);
            await data.WriteAsync(Preamble.Of(ChannelKind.Data), _stop.Token);
            Assert.Equal(0, await data.ReadAsync(new byte[1], _stop.Token));
        }
        Assert.Contains((second, ChannelKind.Data), _seen);
        Assert.DoesNotContain((first, ChannelKind.Data), _seen);
    }

    [Fact]
    public void Agents_begin_with_different_process_servers_and_each_with_the_same_one_each_time()
    {
        ProcessServerEndpoint[] servers = [new("a", 1), new("b", 1), new("c", 1)];
        var begins = Enumerable.Range(0, 300).Select(i => new AgentHome($"agent-{i}", "primary", servers, []).InTurn(null).ToArray()).ToArray();
        Assert.All(begins, order => Assert.Equal(servers, order.OrderBy(s => s.Host)));
        Assert.All(servers, server => Assert.InRange(begins.Count(order => order[0] == server), 60, 140));
        var known = new AgentHome("agent-1", "primary", servers, []);
        Assert.All(servers, server => Assert.Equal(server, known.InTurn(server).First()));
        Assert.Equal(known.InTurn(null), known.InTurn(new("gone", 1)));
        Assert.Equal(3, known.InTurn(servers[2]).Count());
        Assert.Empty((known with { ProcessServers = [] }).InTurn(null));
    }

    [Fact]
    public async Task Over_TLS_disks_are_for_this_agent_itself_and_for_those_that_are_named()
    {
        File.WriteAllBytes(Path.Combine(_folder.FullName, "agent.json"), JsonSerializer.SerializeToUtf8Bytes(new AgentHome("agent-1", "primary", [], []), JsonSerializerOptions.Web));
        _authority.IssueInto(Path.Combine(_folder.FullName, "pki"), "agent-1", PeerRole.Agent).Dispose();
        using var membership = new Membership(new AgentOptions(_folder.FullName, null, null, "agent-1", NbdAllow: ["hv-1", "node:hv-2"]), TimeProvider.System);
        await membership.LoadAsync(_stop.Token);
        Assert.Null(WhyNot("agent-1", PeerRole.Agent));
        Assert.Null(WhyNot("hv-1", PeerRole.Agent));
        Assert.Null(WhyNot("hv-2", PeerRole.Node));
        Assert.Contains("--nbd-allow hv-3", WhyNot("hv-3", PeerRole.Agent), StringComparison.Ordinal);
        Assert.Contains("--nbd-allow node:hv-1", WhyNot("hv-1", PeerRole.Node), StringComparison.Ordinal);
        Assert.Contains("--nbd-allow hv-2", WhyNot("hv-2", PeerRole.Agent), StringComparison.Ordinal);
        Assert.Contains("--nbd-allow node:agent-1", WhyNot("agent-1", PeerRole.Node), StringComparison.Ordinal);
        Assert.NotNull(membership.WhyNoDisksFor(null));

        string? WhyNot(string name, PeerRole role)
        {
            using var theirs = _authority.Issue(name, role);
            return membership.WhyNoDisksFor(theirs.Certificate);
        }
    }

    private static ProcessServerEndpoint At(int port) => new("127.0.0.1", port);

    private static int FreePort()
    {
        using var probe = new TcpListener(IPAddress.Loopback, 0);
        probe.Start();
        return ((IPEndPoint)probe.LocalEndpoint).Port;
    }

    private void Serve(int port)
    {
        var server = new ChannelListener(new IPEndPoint(IPAddress.Loopback, port), _authority.Issue($"node-{port}", PeerRole.Node, "127.0.0.1").ForServer(), new ChannelOptions(),
            (_, _, _) => Seen(ChannelKind.Data), (_, _) => Seen(ChannelKind.Control));
        server.Start();
        _servers.Add(server);

        Task Seen(ChannelKind kind)
        {
            _seen.Enqueue((port, kind));
            return Task.CompletedTask;
        }
    }

    public async ValueTask DisposeAsync()
    {
        foreach (var server in _servers) await server.DisposeAsync();
        _authority.Dispose();
        _stop.Dispose();
        _folder.Delete(recursive: true);
    }
}
