using System.Text.Json.Nodes;
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

    [Fact]
    public async Task Over_http_nobody_is_told_a_token()
    {
        await File.WriteAllTextAsync(node.In("token"), JoinToken.Create(new string('a', 64)).ToString(), node.Stop);
        await using var listener = await ScriptedApi.StartAsync((_, _) => (500, null), node.Stop);
        Assert.Contains("use https://", (await Assert.ThrowsAsync<AgentProblem>(() => JoinAsync("clear", "clear1", listener.Url))).Message, StringComparison.Ordinal);
        Assert.Contains("Use https://", (await Assert.ThrowsAsync<SettingsException>(() => JoinNodeAsync("clear2", listener.Url))).Message, StringComparison.Ordinal);
        using var authority = Authority.Create(node.In("clear-pki"), "other", TimeProvider.System);
        using var identity = authority.Issue("clear3", PeerRole.Agent);
        Assert.Contains("use https://", (await Assert.ThrowsAsync<IOException>(() => CertificateRenewal.AskAsync(identity, [listener.Url], JoinRequest.Create("clear3").RequestPem, node.Stop))).Message, StringComparison.Ordinal);
        var known = new AgentHome("clear3", "lab", [], [listener.Url]);
        Assert.Equal(known, await AgentIdentity.RefreshAsync(node.In("clear"), identity, known, node.Stop));
        Assert.Empty(listener.Requests);
    }

    /// <summary>Whoever answers becomes whom the agent, which is root, obeys.</summary>
    [Fact]
    public async Task An_answer_with_another_authority_than_the_tokens_is_not_kept()
    {
        using var named = Authority.Create(node.In("named-pki"), "named", TimeProvider.System);
        using var other = Authority.Create(node.In("other-pki"), "other", TimeProvider.System);
        using var server = named.Issue("server", PeerRole.Node);
        await File.WriteAllTextAsync(node.In("token"), JoinToken.Create(named.Fingerprint).ToString(), node.Stop);
        // Of the other authority as a whole; of the right one with a certificate of the other; and of the right one for somebody else.
        foreach (var (signs, shown, name) in new[] { (other, other, "sly1"), (other, named, "sly1"), (named, named, "sly2") })
        {
            await using var api = await ScriptedApi.StartAsync((request, _) =>
            {
                var asked = request.Body!;
                var role = request.Path.Contains("agents", StringComparison.Ordinal) ? PeerRole.Agent : PeerRole.Node;
                return (200, new JsonObject
                {
                    ["certificate"] = signs.Sign((string)asked["csr"]!, name, role), ["authority"] = shown.CertificatePem,
                    ["home"] = new JsonObject { ["name"] = "sly1", ["site"] = "lab", ["processServers"] = new JsonArray(), ["configurationServers"] = new JsonArray() },
                    ["seedNodes"] = new JsonArray("akka.ssl.tcp://siterecovery@127.0.0.1:9"), ["configurationServer"] = "https://127.0.0.1:9",
                });
            }, node.Stop, certificate: server.Certificate);
            Assert.Contains("cannot be used", (await Assert.ThrowsAsync<AgentProblem>(() => JoinAsync("sly", "sly1", api.Url))).Message, StringComparison.Ordinal);
            Assert.False(Directory.Exists(node.In("sly")));
            Assert.Contains("cannot be used", (await Assert.ThrowsAsync<SettingsException>(() => JoinNodeAsync("sly1", api.Url, "sly-node"))).Message, StringComparison.Ordinal);
            Assert.False(File.Exists(node.In("sly-node/cluster.json")) || Directory.Exists(node.In("sly-node/pki")));
            Assert.Equal(2, api.Requests.Count);
        }
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
