using System.Text.RegularExpressions;
using SiteRecovery.Agent;
using SiteRecovery.DataPlane.Transport;
using SiteRecovery.Node.Hosting;
using SiteRecovery.Node.Settings;

namespace SiteRecovery.EndToEnd.InProcess;

/// <summary>Who is let in, as who, and by whom.</summary>
public sealed class JoinTests(NodeForSrctl node) : IClassFixture<NodeForSrctl>
{
    private readonly Srctl _srctl = node.NewSrctl();

    [Fact]
    public async Task A_known_agent_whose_folder_is_lost_joins_anew_by_the_command_that_the_refusal_names()
    {
        await _srctl.DoneAsync("context", "add", "lab", "--data", node.Data);
        await WriteTokenAsync("agent", "join-token", "--site", "lab");
        (await JoinAsync("lost1", "lost1")).Dispose();

        // The used token, as after an answer that got lost, and one that does not name it.
        var used = await Assert.ThrowsAsync<AgentProblem>(() => JoinAsync("lost1-anew", "lost1"));
        await WriteTokenAsync("agent", "join-token", "--site", "lab");
        var unnamed = await Assert.ThrowsAsync<AgentProblem>(() => JoinAsync("lost1-anew", "lost1"));
        Assert.Contains("nameTaken", unnamed.Message, StringComparison.Ordinal);
        Assert.False(Directory.Exists(node.In("lost1-anew")));
        var told = new[] { used, unnamed }.Select(p => Regex.Match(p.Message, "'srctl (agent join-token --name [a-z0-9]+)'").Groups[1].Value).Distinct().Single();

        var printed = await WriteTokenAsync(told.Split(' '));
        Assert.Contains("agent 'lost1' alone", printed.People, StringComparison.Ordinal);
        Assert.Contains("joinTokenForAnother", (await Assert.ThrowsAsync<AgentProblem>(() => JoinAsync("lost2", "lost2"))).Message, StringComparison.Ordinal);
        using var anew = await JoinAsync("lost1-anew", "lost1");
        Assert.Equal("lost1", anew.Self.Name);
        Assert.Equal("lab", (string?)(await _srctl.DoneAsync("agent", "show", "lost1", "-o", "json")).Json["site"]);
    }

    [Fact]
    public async Task Nobody_joins_as_the_node_that_holds_the_authority()
    {
        await _srctl.DoneAsync("context", "add", "lab", "--data", node.Data);
        using var own = PeerIdentity.Load(Path.Combine(node.Data, "pki"));
        var first = own.Self.Name;
        Assert.Contains("authority", (await _srctl.RefusedAsync(11, "node", "join-token", "--name", first)).People, StringComparison.Ordinal);
        await WriteTokenAsync("node", "join-token", "--site", "lab");
        Assert.Contains("nameTaken", (await Assert.ThrowsAsync<SettingsException>(() => JoinNodeAsync(first, node.Url))).Message, StringComparison.Ordinal);
    }

    private async Task<SrctlRun> WriteTokenAsync(params string[] command)
    {
        var printed = await _srctl.DoneAsync(command);
        await File.WriteAllTextAsync(node.In("token"), printed.Out, node.Stop);
        return printed;
    }

    private async Task<PeerIdentity> JoinAsync(string folder, string name, string? url = null) =>
        (await AgentIdentity.LoadOrJoinAsync(new AgentOptions(node.In(folder), url ?? node.Url, node.In("token"), name), TimeProvider.System, node.Stop)).Identity;

    private async Task JoinNodeAsync(string name, string url, string folder = "node-that-joins")
    {
        var config = SettingsLoader.Installed().Load(null, new Dictionary<string, string>(), new Dictionary<string, string>
        {
            ["siterecovery.node.site"] = "lab", ["siterecovery.node.name"] = name, ["siterecovery.node.roles"] = "process-server",
            ["siterecovery.ports.http"] = "0", ["siterecovery.ports.cluster"] = "0", ["siterecovery.ports.data"] = "0", ["siterecovery.ports.agent"] = "0",
        });
        await (await RunningNode.StartAsync(NodeSettings.Of(config, node.In(folder)), config, new JoinOrder(url, node.In("token")), TimeProvider.System, node.Stop)).DisposeAsync();
    }
}
