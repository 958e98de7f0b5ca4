using SiteRecovery.Node.Hosting;
using SiteRecovery.Node.Identity;
using SiteRecovery.Node.Settings;

namespace SiteRecovery.EndToEnd.InProcess;

/// <summary>What a node is started with: where it listens, and what is refused.</summary>
public sealed class NodeStartTests : IDisposable
{
    private readonly DirectoryInfo _folder = Directory.CreateTempSubdirectory("sr-start-");
    private readonly CancellationTokenSource _stop = new(TimeSpan.FromMinutes(2));

    private string Data => Path.Combine(_folder.FullName, "data");

    [Fact]
    public async Task Without_a_configuration_server_no_cluster_is_begun_and_nothing_is_written()
    {
        var refused = await Assert.ThrowsAsync<SettingsException>(() => StartAsync("127.0.0.1", "process-server,master-target"));
        Assert.Contains("give --join URL and --token-file FILE to join one, or the role configuration-server", refused.Message, StringComparison.Ordinal);
        Assert.False(Directory.Exists(Data));
    }

    /// <summary>Its configuration server may be another one's by now, with a shared journal.</summary>
    [Fact]
    public async Task A_node_that_has_begun_one_starts_without_the_role()
    {
        using (var folder = new DataFolder(Data)) NodeIdentity.First(folder, SettingsOf("127.0.0.1", "console").Settings, TimeProvider.System);
        await using var node = await StartAsync("127.0.0.1", "console");
        Assert.Equal("127.0.0.1", node.Endpoints.Address);
    }

    private async Task<RunningNode> StartAsync(string address, string roles)
    {
        var (settings, config) = SettingsOf(address, roles);
        return await RunningNode.StartAsync(settings, config, null, TimeProvider.System, _stop.Token);
    }

    private (NodeSettings Settings, Akka.Configuration.Config Config) SettingsOf(string address, string roles)
    {
        var config = SettingsLoader.Installed().Load(null, new Dictionary<string, string>(), new Dictionary<string, string>
        {
            ["siterecovery.node.site"] = "lab", ["siterecovery.node.roles"] = roles, ["siterecovery.node.address"] = address, ["siterecovery.log.level"] = "warning",
            ["siterecovery.ports.http"] = "0", ["siterecovery.ports.cluster"] = "0", ["siterecovery.ports.data"] = "0", ["siterecovery.ports.agent"] = "0",
        });
        return (NodeSettings.Of(config, Data), config);
    }

    public void Dispose()
    {
        _stop.Dispose();
        _folder.Delete(recursive: true);
    }
}
