using System.Net.Sockets;
using SiteRecovery.Agent;
using SiteRecovery.DataPlane.Nbd;
using SiteRecovery.DataPlane.Transport;

namespace SiteRecovery.EndToEnd.InProcess;

/// <summary>What is damaged in an agent's folder, or copied from another one's, keeps no guest from its disk.</summary>
public sealed class DamagedAgentTests : IAsyncDisposable
{
    private readonly ToldAgent _told = new();

    public DamagedAgentTests() => _told.AtHello = _told.Protection(1);

    [Theory]
    [InlineData("")]
    [InlineData("{ \"name\": \"agent-")]
    [InlineData("{}")]
    public async Task An_agent_whose_identity_is_damaged_serves_its_disks_and_obeys_again_when_it_is_mended(string damaged)
    {
        await ProtectedAsync();
        await File.WriteAllTextAsync(At("data/agent.json"), damaged);
        await using var agent = await StartAsync();
        await _told.AssertServedAsync();
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(_told.Limit);
        var (running, before) = (agent.RunAsync(stop.Token), _told.Done);
        _told.WriteHome();
        await _told.UntilAsync(() => _told.Done > before);
        await _told.AssertServedAsync();
        await stop.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => running);
    }

    [Fact]
    public async Task A_certificate_that_cannot_be_read_keeps_no_disk_from_being_served()
    {
        await ProtectedAsync();
        await File.WriteAllTextAsync(At("data/pki/node.crt"), "nothing");
        await using var agent = await StartAsync();
        await _told.AssertServedAsync();
    }

    [Fact]
    public async Task Without_disks_a_damaged_identity_is_told_with_its_remedy()
    {
        await File.WriteAllTextAsync(At("data/agent.json"), "{");
        var home = await Assert.ThrowsAsync<AgentProblem>(() => StartAsync());
        Assert.True(home.IsUsage);
        Assert.Contains("agent.json is damaged or missing: give --join URL", home.Message, StringComparison.Ordinal);
        await File.WriteAllTextAsync(At("data/pki/node.crt"), "nothing");
        var certificate = await Assert.ThrowsAsync<AgentProblem>(() => StartAsync());
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
        await using var agent = await StartAsync();
        await _told.AssertServedAsync();
        Assert.False(File.Exists(At("data/released.json")));
        Assert.Equal(damaged, await File.ReadAllTextAsync(At("data/released.json.damaged")));
    }

    [Fact]
    public Task A_machine_that_is_released_while_its_folder_takes_nothing_keeps_its_guests_disk() => _told.RunAsync(async () =>
    {
        await _told.UntilAsync(() => _told.Done > 0);
        await using var guest = await NbdClient.ConnectAsync(new UnixDomainSocketEndPoint(At("data/nbd.sock")), "db1.vda", _told.Limit);
        File.Delete(At("data/machines/db1/capture.json"));
        Directory.CreateDirectory(At("data/machines/db1/capture.json/taken"));
        await _told.TellAsync(new ReleaseMachine("2", "db1", 1));
        await _told.UntilAsync(() => !_told.Errors.IsEmpty);
        await _told.AssertServedAsync();
        // As it is told again.
        await _told.TellAsync(new ReleaseMachine("2", "db1", 1));
        await _told.UntilAsync(() => _told.Done > 1);
        await _told.AssertServedAsync();
        Assert.False(Directory.Exists(At("data/machines/db1")));
    });

    /// <summary>Once protected, its folder has all that it needs to serve the disk again.</summary>
    private Task ProtectedAsync() => _told.RunAsync(() => _told.UntilAsync(() => _told.Done > 0));

    private string At(string name) => _told.At(name);

    private Task<AgentService> StartAsync() => AgentService.StartAsync(_told.Options, TimeProvider.System, _told.Limit);

    public ValueTask DisposeAsync() => _told.DisposeAsync();
}
