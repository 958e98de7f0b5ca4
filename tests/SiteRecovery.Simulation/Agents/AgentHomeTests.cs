using System.Net;
using System.Net.Security;
using System.Net.Sockets;
using System.Text;
using SiteRecovery.Agent;
using SiteRecovery.DataPlane.Transport;
using SiteRecovery.Simulation.World;

namespace SiteRecovery.Simulation.Agents;

/// <summary>An agent that cannot keep where it belongs, nor say what is wrong, goes on: its guests' disks hang on its process.</summary>
public sealed class AgentHomeTests : IAsyncDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("sr-home-").FullName;
    private readonly CancellationTokenSource _stop = new(TimeSpan.FromSeconds(30));

    [Fact]
    public async Task A_folder_and_a_log_that_take_nothing_do_not_end_the_conversation()
    {
        await using var agent = new AgentOnDisk(new SimDisk(), log: new FullLog());
        using var over = CancellationTokenSource.CreateLinkedTokenSource(_stop.Token);
        var home = new BareHome(() => null);
        var running = new AgentConversation(home, agent.Machines, new HostListing(agent.Host, null), agent.Host, () => { }).RunAsync(over.Token);
        await agent.UntilAsync(() => home.Refreshed > 2 || running.IsCompleted);
        Assert.False(running.IsCompleted, running.Exception?.Message);
        await over.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => running);
    }

    [Fact]
    public async Task A_home_that_cannot_be_kept_is_gone_to_all_the_same_and_one_that_has_not_changed_is_not_written()
    {
        var (file, moved) = (Path.Combine(_folder, "agent.json"), """{ "name": "agent-1", "site": "primary", "processServers": [{ "host": "192.0.2.9", "port": 9 }] }""");
        Directory.CreateDirectory(file + ".tmp"); // what it is written to first
        await File.WriteAllTextAsync(file, """{ "name": "agent-1", "site": "primary", "processServers": [{ "host": "192.0.2.1", "port": 1 }] }""", _stop.Token);
        Assert.Equal("192.0.2.9", (await RefreshedAsync(moved)).ProcessServers[0].Host);
        Directory.Delete(file + ".tmp");
        await RefreshedAsync(moved);
        Assert.Equal("192.0.2.9", AgentHome.Read(await File.ReadAllBytesAsync(file, _stop.Token)).ProcessServers[0].Host);
        File.SetLastWriteTimeUtc(file, DateTime.UnixEpoch);
        await RefreshedAsync(moved);
        Assert.Equal(DateTime.UnixEpoch, File.GetLastWriteTimeUtc(file));
    }

    /// <summary>What the agent makes of the answer of a configuration server.</summary>
    private async Task<AgentHome> RefreshedAsync(string answer)
    {
        using var authority = Authority.Create(Directory.CreateDirectory(Path.Combine(_folder, "pki")).FullName, "test", TimeProvider.System);
        using var node = authority.Issue("node-1", PeerRole.Node);
        using var agent = authority.Issue("agent-1", PeerRole.Agent);
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        var served = ServeAsync(listener, node.ForServer(), answer);
        var known = new AgentHome("agent-1", "primary", [], [$"https://127.0.0.1:{((IPEndPoint)listener.LocalEndpoint).Port}"]);
        var home = await AgentIdentity.RefreshAsync(_folder, agent, known, _stop.Token);
        await served;
        Directory.Delete(Path.Combine(_folder, "pki"), recursive: true);
        return home;
    }

    private async Task ServeAsync(TcpListener listener, SslServerAuthenticationOptions tls, string answer)
    {
        using var client = await listener.AcceptTcpClientAsync(_stop.Token);
        await using var stream = new SslStream(client.GetStream());
        await stream.AuthenticateAsServerAsync(tls, _stop.Token);
        using var reader = new StreamReader(stream, leaveOpen: true);
        while (await reader.ReadLineAsync(_stop.Token) is { Length: > 0 })
        {
            // The headers of the question.
        }
        await stream.WriteAsync(Encoding.ASCII.GetBytes($"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {answer.Length}\r\n\r\n{answer}"), _stop.Token);
    }

    public ValueTask DisposeAsync()
    {
        _stop.Dispose();
        Directory.Delete(_folder, recursive: true);
        return default;
    }

    private sealed class FullLog : StringWriter
    {
        public override void WriteLine(string? value) => throw new IOException("No space left on device");
        public override Task WriteLineAsync(string? value) => throw new IOException("No space left on device");
    }
}
