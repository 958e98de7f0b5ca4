using System.Net;
using System.Net.Http.Headers;
using System.Text.Json;
using System.Text.Json.Nodes;
using Akka.Actor;
using SiteRecovery.DataPlane.Transport;
using SiteRecovery.Node.Hosting;
using SiteRecovery.Node.Settings;

namespace SiteRecovery.EndToEnd.InProcess;

public sealed class NodeTests : IDisposable
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(60);
    private readonly DirectoryInfo _folder = Directory.CreateTempSubdirectory("siterecovery-node");
    private readonly CancellationTokenSource _stop = new(TimeSpan.FromMinutes(3));

    [Fact]
    public async Task A_node_starts_in_an_empty_directory_answers_and_keeps_its_token_and_ports_over_a_restart()
    {
        NodeEndpoints first;
        await using (var node = await StartAsync())
        {
            first = node.Endpoints;
            using var http = Client(node);
            await ReadyAsync(http);
            await RefusesAsync(http);
            await DescribesItselfAsync(http);
        }
        await using var again = await StartAsync();
        Assert.Equal(first, again.Endpoints);
        using var client = Client(again);
        await ReadyAsync(client);
        using var nodes = await client.GetAsync("/api/v1/nodes", _stop.Token);
        Assert.Equal(HttpStatusCode.OK, nodes.StatusCode);
        using var policy = await client.GetAsync("/api/v1/policies/gold", _stop.Token);
        Assert.Equal("15s", (string)JsonNode.Parse(await policy.Content.ReadAsStringAsync())!["rpoThreshold"]!);
        await Assert.ThrowsAsync<SettingsException>(StartAsync); // the directory is held
    }

    /// <summary>As on a full disk: what fills it may be a spool that has to be sent on, and the replicas of machines that ran here wait for their disks.</summary>
    [Fact]
    public async Task A_node_starts_though_its_journal_cannot_be_opened_and_its_addresses_cannot_be_kept()
    {
        await (await StartAsync()).DisposeAsync();
        foreach (var journal in _folder.GetFiles("journal.db*")) journal.Delete();
        _folder.CreateSubdirectory("journal.db");
        _folder.CreateSubdirectory("endpoints.json.tmp");
        File.Delete(Path.Combine(_folder.FullName, "endpoints.json"));
        await using var again = await StartAsync();
        using var data = new System.Net.Sockets.TcpClient();
        await data.ConnectAsync(IPAddress.Loopback, again.Endpoints.Data, _stop.Token);
        Assert.True(data.Connected);
    }

    /// <summary>The committed document is the one served; SITERECOVERY_APPROVE=1 makes it so.</summary>
    private async Task DescribesItselfAsync(HttpClient http)
    {
        var served = JsonNode.Parse(await http.GetStringAsync("/openapi/v1.json", _stop.Token))!.ToJsonString(new JsonSerializerOptions { WriteIndented = true }) + "\n";
        var committed = Path.Combine(RootOfRepository(), "src", "SiteRecovery.Node", "openapi", "v1.json");
        if (Environment.GetEnvironmentVariable("SITERECOVERY_APPROVE") == "1") await File.WriteAllTextAsync(committed, served, _stop.Token);
        Assert.True(await File.ReadAllTextAsync(committed, _stop.Token) == served,
            "the HTTP API is not what src/SiteRecovery.Node/openapi/v1.json says: run this test with SITERECOVERY_APPROVE=1 and read the diff");
    }

    /// <summary>Stores and disks need descriptors too, and whoever can reach the port needs nothing to take one.</summary>
    [Fact]
    public async Task Strangers_hold_no_more_connections_than_it_is_set_and_send_small_bodies_only()
    {
        await using var node = await StartAsync(("siterecovery.http.connections-max", "16"));
        using (var http = Client(node))
        {
            await ReadyAsync(http);
            foreach (var route in (string[])["/api/v1/agents/join", "/api/v1/nodes/join", "/api/v1/certificates"])
            {
                await ProblemAsync(await http.PostAsync(route, Body($$"""{"name":"a","token":"{{new string('x', 60 << 10)}}"}"""), _stop.Token), 400);
                await ProblemAsync(await http.PostAsync(route, Body($$"""{"name":"a","token":"{{new string('x', 65 << 10)}}"}"""), _stop.Token), 413);
            }
        }
        System.Net.Sockets.TcpClient[] held = [.. Enumerable.Range(0, 16).Select(_ => new System.Net.Sockets.TcpClient())];
        using var again = Client(node);
        try
        {
            foreach (var stranger in held) await stranger.ConnectAsync(IPAddress.Loopback, node.Endpoints.Http, _stop.Token); // and says nothing
            await Assert.ThrowsAsync<HttpRequestException>(() => again.GetAsync("/healthz/ready", _stop.Token));
        }
        finally
        {
            foreach (var stranger in held) stranger.Dispose();
        }
        while (await Record.ExceptionAsync(() => ReadyAsync(again)) is { } full) Assert.IsType<HttpRequestException>(full);
    }

    [Fact]
    public async Task A_first_token_that_was_taken_away_is_not_replaced_by_one_that_opens_nothing()
    {
        var (kept, taken) = (Path.Combine(_folder.FullName, "admin.token"), Path.Combine(_folder.FullName, "safe.token"));
        await using (var first = await StartAsync())
        {
            using var http = Client(first);
            await ReadyAsync(http);
            Assert.Equal(ClusterHosting.FrameBytesMax, first.Actors.Settings.Config.GetByteSize("akka.remote.dot-netty.tcp.maximum-frame-size"));
            await ProblemAsync(await http.DeleteAsync("/api/v1/tokens/admin", _stop.Token), 409, "inUse");
            // A question does not make a machine.
            await ProblemAsync(await http.GetAsync("/api/v1/jobs/ghost.x", _stop.Token), 404, "notFound");
            await Assert.ThrowsAsync<ActorNotFoundException>(() => first.Actors.ActorSelection("/system/sharding/protected-machines/*/ghost").ResolveOne(TimeSpan.FromSeconds(1), _stop.Token));
        }
        File.Move(kept, taken);
        await using (var again = await StartAsync())
        {
            using var http = Client(again, taken);
            await ReadyAsync(http);
            Assert.Equal([taken], Directory.GetFiles(_folder.FullName, "*.token*"));
            using var nodes = await http.GetAsync("/api/v1/tokens", _stop.Token);
            Assert.Equal(HttpStatusCode.OK, nodes.StatusCode);
        }
        // A cluster that knows nobody is another matter.
        Microsoft.Data.Sqlite.SqliteConnection.ClearAllPools();
        foreach (var journal in _folder.GetFiles("journal.db*")) journal.Delete();
        await using var anew = await StartAsync();
        using var client = Client(anew, taken);
        await ReadyAsync(client);
        using var other = Client(anew);
        using var opened = await other.GetAsync("/api/v1/tokens", _stop.Token);
        Assert.Equal(HttpStatusCode.OK, opened.StatusCode);
    }

    private static string RootOfRepository()
    {
        var folder = new DirectoryInfo(AppContext.BaseDirectory);
        while (!File.Exists(Path.Combine(folder.FullName, "SiteRecovery.sln"))) folder = folder.Parent!;
        return folder.FullName;
    }

    private async Task RefusesAsync(HttpClient http)
    {
        using var stranger = new HttpRequestMessage(HttpMethod.Get, "/api/v1/nodes");
        stranger.Headers.Authorization = new AuthenticationHeaderValue("Bearer", "wrong");
        await ProblemAsync(await http.SendAsync(stranger, _stop.Token), 401, "notAuthenticated");
        await ProblemAsync(await http.GetAsync("/api/v1/nowhere", _stop.Token), 404, "unknownRoute");
        await ProblemAsync(await http.GetAsync("/api/v1/policies/none", _stop.Token), 404, "notFound");
        await ProblemAsync(await http.PutAsync("/api/v1/policies/bad", Body("""{"copyFrequency":"1s"}"""), _stop.Token), 400, "invalid");
        using var put = await http.PutAsync("/api/v1/policies/gold", Body("""{"rpoThreshold":"15s"}"""), _stop.Token);
        Assert.Equal(HttpStatusCode.OK, put.StatusCode);
    }

    private static StringContent Body(string json) => new(json, MediaTypeHeaderValue.Parse("application/json"));

    private async Task ProblemAsync(HttpResponseMessage answer, int status, string? code = null)
    {
        var problem = JsonNode.Parse(await answer.Content.ReadAsStringAsync(_stop.Token))!;
        Assert.Equal(status, (int)answer.StatusCode);
        if (code is not null) Assert.Equal(code, (string)problem["code"]!);
        Assert.NotEmpty((string)problem["remedy"]!);
        answer.Dispose();
    }

    private async Task ReadyAsync(HttpClient http)
    {
        using var patience = CancellationTokenSource.CreateLinkedTokenSource(_stop.Token);
        patience.CancelAfter(Patience);
        while (!(await http.GetAsync("/healthz/ready", patience.Token)).IsSuccessStatusCode) await Task.Delay(100, patience.Token);
    }

    private Task<RunningNode> StartAsync() => StartAsync([]);

    private async Task<RunningNode> StartAsync(params (string Key, string Value)[] more)
    {
        var settings = new Dictionary<string, string>
        {
            ["siterecovery.node.site"] = "lab", ["siterecovery.node.roles"] = "configuration-server,process-server,master-target",
            ["siterecovery.ports.http"] = "0", ["siterecovery.ports.cluster"] = "0", ["siterecovery.ports.data"] = "0", ["siterecovery.ports.agent"] = "0",
        };
        foreach (var (key, value) in more) settings[key] = value;
        var config = SettingsLoader.Installed().Load(null, new Dictionary<string, string>(), settings);
        return await RunningNode.StartAsync(NodeSettings.Of(config, _folder.FullName), config, null, TimeProvider.System, _stop.Token);
    }

    private HttpClient Client(RunningNode node, string? token = null)
    {
        var pki = PeerIdentity.Load(Path.Combine(_folder.FullName, "pki"));
        var http = new HttpClient(PeerTrust.HttpHandler(pki.AuthorityCertificate)) { BaseAddress = new Uri(node.Endpoints.HttpUrl) };
        http.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Bearer", File.ReadAllText(token ?? Path.Combine(_folder.FullName, "admin.token")).Trim());
        return http;
    }

    public void Dispose()
    {
        _stop.Dispose();
        _folder.Delete(recursive: true);
    }
}
