using System.Net.Sockets;
using System.Text.Json;
using SiteRecovery.Agent;
using SiteRecovery.DataPlane.Nbd;
using SiteRecovery.DataPlane.Transport;
using SiteRecovery.EndToEnd.Processes;

namespace SiteRecovery.EndToEnd.InProcess;

/// <summary>What is damaged in an agent's folder, or copied from another one's, keeps no guest from its disk.</summary>
public sealed class DamagedAgentTests : IAsyncDisposable
{
    private const int DiskBytes = 1 << 20;
    private readonly string _folder = Directory.CreateTempSubdirectory("sr-damaged-").FullName;
    private readonly CancellationTokenSource _limit = new(TimeSpan.FromSeconds(60));
    private readonly StorePort _port;
    private volatile int _protected;

    public DamagedAgentTests()
    {
        _port = new StorePort(_folder, TellAsync);
        _port.Authority.IssueInto(At("data/pki"), "agent-1", PeerRole.Agent).Dispose();
        WriteHome();
        File.WriteAllBytes(At("disk.raw"), [.. Enumerable.Repeat((byte)7, DiskBytes)]);
    }

    private string At(string name) => Path.Combine(_folder, name);
    private AgentOptions Options => new(At("data"), null, null, "agent-1");

    [Theory]
    [InlineData("")]
    [InlineData("{ \"name\": \"agent-")]
    [InlineData("{}")]
    public async Task An_agent_whose_identity_is_damaged_serves_its_disks_and_obeys_again_when_it_is_mended(string damaged)
    {
        await ProtectedAsync();
        await File.WriteAllTextAsync(At("data/agent.json"), damaged);
        await using var agent = await AgentService.StartAsync(Options, TimeProvider.System, _limit.Token);
        await AssertServedAsync();
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(_limit.Token);
        var (running, before) = (agent.RunAsync(stop.Token), _protected);
        WriteHome();
        await UntilAsync(() => _protected > before);
        await AssertServedAsync();
        await stop.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => running);
    }

    [Fact]
    public async Task A_certificate_that_cannot_be_read_keeps_no_disk_from_being_served()
    {
        await ProtectedAsync();
        await File.WriteAllTextAsync(At("data/pki/node.crt"), "nothing");
        await using var agent = await AgentService.StartAsync(Options, TimeProvider.System, _limit.Token);
        await AssertServedAsync();
    }

    [Fact]
    public async Task Without_disks_a_damaged_identity_is_told_with_its_remedy()
    {
        await File.WriteAllTextAsync(At("data/agent.json"), "{");
        var home = await Assert.ThrowsAsync<AgentProblem>(() => AgentService.StartAsync(Options, TimeProvider.System, _limit.Token));
        Assert.True(home.IsUsage);
        Assert.Contains("agent.json is damaged or missing: give --join URL", home.Message, StringComparison.Ordinal);
        await File.WriteAllTextAsync(At("data/pki/node.crt"), "nothing");
        var certificate = await Assert.ThrowsAsync<AgentProblem>(() => AgentService.StartAsync(Options, TimeProvider.System, _limit.Token));
        Assert.True(certificate.IsUsage);
        Assert.Contains("join again with --join URL and --token-file FILE", certificate.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("[{")]
    [InlineData("[null, {\"ExportName\": null, \"Path\": \"/x\"}]")]
    public async Task A_damaged_list_of_released_disks_is_set_aside(string damaged)
    {
        await ProtectedAsync();
        await File.WriteAllTextAsync(At("data/released.json"), damaged);
        await using var agent = await AgentService.StartAsync(Options, TimeProvider.System, _limit.Token);
        await AssertServedAsync();
        Assert.False(File.Exists(At("data/released.json")));
        Assert.Equal(damaged, await File.ReadAllTextAsync(At("data/released.json.damaged")));
    }

    /// <summary>Once protected, its folder has all that it needs to serve the disk again.</summary>
    private async Task ProtectedAsync()
    {
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(_limit.Token);
        await using var agent = await AgentService.StartAsync(Options, TimeProvider.System, stop.Token);
        var running = agent.RunAsync(stop.Token);
        await UntilAsync(() => _protected > 0);
        await stop.CancelAsync();
        await running.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
    }

    private async Task AssertServedAsync()
    {
        await using var client = await NbdClient.ConnectAsync(new UnixDomainSocketEndPoint(At("data/nbd.sock")), "db1.vda", _limit.Token);
        var into = new byte[4096];
        await client.ReadAsync(0, into, _limit.Token);
        Assert.All(into, b => Assert.Equal(7, b));
    }

    private void WriteHome() => File.WriteAllText(At("data/agent.json"), JsonSerializer.Serialize(new
    {
        name = "agent-1", site = "primary", processServers = new[] { new { host = "127.0.0.1", port = _port.Port } },
    }));

    private async Task TellAsync(ControlChannel channel, CancellationToken stop)
    {
        while (await channel.ReceiveMessageAsync(stop) is { } message)
        {
            if (message is AgentHello)
                await channel.SendAsync(new ProtectMachine { Id = "1", Machine = "db1", Epoch = 1, Disks = [new DiskAssignment(0, "vda", At("disk.raw"))], Synchronize = 1 }, stop);
            if (message is CommandDone { Error: null }) Interlocked.Increment(ref _protected);
            if (message is AgentStatus) await channel.SendAsync(new StatusHeard(), stop);
        }
    }

    private async Task UntilAsync(Func<bool> holds)
    {
        using var timer = new PeriodicTimer(TimeSpan.FromMilliseconds(20));
        while (!holds()) await timer.WaitForNextTickAsync(_limit.Token);
    }

    public async ValueTask DisposeAsync()
    {
        await _port.DisposeAsync();
        _limit.Dispose();
        Directory.Delete(_folder, recursive: true);
    }
}
