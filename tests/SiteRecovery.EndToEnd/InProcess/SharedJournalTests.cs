using System.Net.Http.Json;
using System.Text.Json.Nodes;
using SiteRecovery.DataPlane.Transport;
using SiteRecovery.Node.Hosting;
using SiteRecovery.Node.Identity;
using SiteRecovery.Node.Settings;

namespace SiteRecovery.EndToEnd.InProcess;

/// <summary>Two configuration servers with a journal each would know two truths of the same machines.</summary>
[Collection(OnTwoSites.Name)]
public sealed class SharedJournalTests(TwoSites sites)
{
    [Fact]
    public async Task A_second_configuration_server_on_a_file_of_its_own_is_refused_and_its_token_is_not_used_up()
    {
        using var made = await sites.Http.PostAsJsonAsync("/api/v1/nodes/join-tokens", new { site = "primary" }, sites.Stop);
        var token = (string)(await made.Content.ReadFromJsonAsync<JsonNode>(sites.Stop))!["token"]!;
        await TwoSites.ProblemAsync(await JoinAsync(token, "master-target", "configuration-server"), 422, "journalNotShared");
        using var joined = await JoinAsync(token, "master-target");
        Assert.True(joined.IsSuccessStatusCode, await joined.Content.ReadAsStringAsync(sites.Stop));
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task It_does_not_start_either(bool hasJoined)
    {
        var data = sites.At($"second-{hasJoined}");
        var (settings, config) = Settings(data);
        if (hasJoined) await JoinedBeforeAsync(settings, data);
        var refused = await Assert.ThrowsAsync<SettingsException>(() => RunningNode.StartAsync(settings, config, new JoinOrder("https://127.0.0.1:1", sites.At("node.token")), TimeProvider.System, sites.Stop));
        Assert.Contains("postgresql", refused.Message, StringComparison.Ordinal);
    }

    /// <summary>An earlier version let it in, and replicas may be production there.</summary>
    [Fact]
    public async Task What_it_is_besides_goes_on()
    {
        var data = sites.At("second-target");
        var (settings, config) = Settings(data, "configuration-server", "master-target");
        await JoinedBeforeAsync(settings, data);
        await using var node = await RunningNode.StartAsync(settings, config, null, TimeProvider.System, sites.Stop);
        Assert.True(File.Exists(Path.Combine(data, "master-target", "exports.sock")));
        Assert.Equal(["master-target", "site-primary"], Akka.Cluster.Cluster.Get(node.Actors).SelfRoles.Order());
    }

    private async Task JoinedBeforeAsync(NodeSettings settings, string data)
    {
        using var folder = new DataFolder(data);
        NodeIdentity.First(folder, settings, TimeProvider.System);
        await File.WriteAllTextAsync(Path.Combine(data, "cluster.json"), """{"seedNodes":["akka.ssl.tcp://siterecovery@127.0.0.1:1"],"configurationServer":"https://127.0.0.1:1"}""", sites.Stop);
    }

    private Task<HttpResponseMessage> JoinAsync(string token, params string[] roles) => sites.Http.PostAsJsonAsync("/api/v1/nodes/join", new
    {
        token, csr = JoinRequest.Create("second").RequestPem, name = "second", site = "primary", roles, address = "127.0.0.1", clusterPort = 1,
    }, sites.Stop);

    private static (NodeSettings Settings, Akka.Configuration.Config Config) Settings(string data, params string[] roles)
    {
        var config = SettingsLoader.Installed().Load(null, new Dictionary<string, string>(), new Dictionary<string, string>
        {
            ["siterecovery.node.site"] = "primary", ["siterecovery.node.roles"] = roles.Length == 0 ? "configuration-server" : string.Join(',', roles),
            ["siterecovery.ports.http"] = "0", ["siterecovery.ports.cluster"] = "0", ["siterecovery.ports.data"] = "0", ["siterecovery.ports.agent"] = "0",
        });
        return (NodeSettings.Of(config, data), config);
    }
}
