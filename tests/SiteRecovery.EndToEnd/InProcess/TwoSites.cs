using System.Globalization;
using System.Net;
using System.Net.Http.Headers;
using System.Net.Http.Json;
using System.Text.Json.Nodes;
using Akka.Actor;
using SiteRecovery.Agent;
using SiteRecovery.DataPlane.Storage;
using SiteRecovery.DataPlane.Transport;
using SiteRecovery.Node.Demo;
using SiteRecovery.Node.Hosting;
using SiteRecovery.Node.Settings;

namespace SiteRecovery.EndToEnd.InProcess;

/// <summary>Two sites in one process: real nodes in one real cluster over loopback, and an agent of the primary site.</summary>
public sealed class TwoSites : IAsyncLifetime
{
    private readonly DirectoryInfo _folder = Directory.CreateTempSubdirectory("sr-2sites-");
    private readonly CancellationTokenSource _stop = new(TimeSpan.FromMinutes(8));
    private readonly CancellationTokenSource _stopAgent = new();
    private RunningNode? _secondary, _primary;
    private AgentService? _agent;
    private Task _agentRuns = Task.CompletedTask;

    /// <summary>The host that the agent runs on may have another time.</summary>
    internal TimeProvider AgentClock { get; init; } = TimeProvider.System;
    /// <summary>Of nodes that are started from now on.</summary>
    internal string AskTimeout { get; set; } = "10s";
    internal TimeProvider NodeClock { get; init; } = TimeProvider.System;
    internal RunningNode[] Nodes => [_secondary!, _primary!];
    internal CancellationToken Stop => _stop.Token;
    internal HttpClient Http { get; private set; } = null!;
    /// <summary>Where the agent serves its disks over TLS.</summary>
    internal IPEndPoint AgentNbd => _agent!.NbdEndpoint!;
    internal string At(string name) => Path.Combine(_folder.FullName, name);

    public async Task InitializeAsync()
    {
        await File.WriteAllTextAsync(At("store.key"), Convert.ToHexStringLower(System.Security.Cryptography.RandomNumberGenerator.GetBytes(32)));
        await StartSecondaryAsync();
        await File.WriteAllTextAsync(At("node.token"), await TokenAsync("nodes"), Stop);
        _primary = await StartAsync("primary", "process-server,master-target", new JoinOrder(_secondary!.Endpoints.HttpUrl, At("node.token")));
        await UntilAsync(async () => (await GetAsync("/api/v1/nodes"))["items"]!.AsArray().Count(n => n!["name"] is not null) == 2);
        await File.WriteAllTextAsync(At("agent.token"), await TokenAsync("agents"), Stop);
        _agent = await AgentService.StartAsync(new AgentOptions(At("agent"), _secondary.Endpoints.HttpUrl, At("agent.token"), "host1", new IPEndPoint(IPAddress.Loopback, 0), At("host1"), "tcg"), AgentClock, Stop);
        _agentRuns = _agent.RunAsync(_stopAgent.Token);
        await UntilAsync(async () => (bool)(await GetAsync("/api/v1/agents/host1"))["connected"]!);
        using var vault = await Http.PutAsJsonAsync("/api/v1/vaults/main", new { sourceSite = "primary", targetSite = "secondary" }, Stop);
        vault.EnsureSuccessStatusCode();
    }

    /// <summary>The configuration server and master target, stopped and started again on what they left.</summary>
    /// <param name="forgetsOthers">It hears from nobody when it comes back, and begins a cluster of its own.</param>
    internal async Task RestartSecondaryAsync(bool forgetsOthers = false, Action? meanwhile = null)
    {
        await _secondary!.DisposeAsync();
        meanwhile?.Invoke();
        if (forgetsOthers) File.Delete(At("secondary/members.json"));
        await StartSecondaryAsync();
    }

    /// <summary>As if their host had lost its power: nobody of it comes back.</summary>
    internal async Task LosePrimaryAsync()
    {
        await _stopAgent.CancelAsync();
        await _agentRuns.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        await _agent!.DisposeAsync();
        await _primary!.DisposeAsync();
        (_agent, _primary) = (null, null);
    }

    /// <summary>What the configuration would miss.</summary>
    internal async Task<string[]> KnownNodesAsync() => [.. (await Akka.Hosting.ActorRegistry.For(_secondary!.Actors).Get<Actors.Configuration.ConfigurationActor>()
        .Ask<Actors.Configuration.KnownNodes>(new Actors.Configuration.GetKnownNodes(), TimeSpan.FromSeconds(10), Stop)).Nodes.Select(n => n.Name)];

    internal string NewDisk(string name, int bytes = 1 << 20)
    {
        File.WriteAllBytes(At(name), new byte[bytes]);
        return At(name);
    }

    internal Task<HttpResponseMessage> ProtectAsync(string machine, string path, string policy = "default", string vault = "main", string agent = "host1") =>
        Http.PostAsJsonAsync("/api/v1/machines", new { name = machine, vault, policy, source = new { agent, disks = new[] { new { id = "vda", path } } } }, Stop);

    internal async Task<JsonNode> GetAsync(string path)
    {
        using var answer = await Http.GetAsync(path, Stop);
        var text = await answer.Content.ReadAsStringAsync(Stop);
        return answer.IsSuccessStatusCode ? JsonNode.Parse(text)! : throw new HttpRequestException($"{path}: {text}");
    }

    /// <summary>Takes a point; its id, once it is durable at the target.</summary>
    internal async Task<string> PointAsync(string machine)
    {
        var id = "";
        await UntilAsync(async () =>
        {
            using var taken = await Http.PostAsJsonAsync($"/api/v1/machines/{machine}/recovery-points", new { label = "here" }, Stop);
            if (taken.IsSuccessStatusCode) id = (string)JsonNode.Parse(await taken.Content.ReadAsStringAsync(Stop))!["id"]!;
            return taken.IsSuccessStatusCode;
        });
        await UntilAsync(async () => (await PointsAsync(machine)).Any(p => (string)p!["id"]! == id));
        return id;
    }

    internal async Task<JsonArray> PointsAsync(string machine) => (await GetAsync($"/api/v1/machines/{machine}/recovery-points?limit=500"))["items"]!.AsArray();

    /// <summary>Through the agent, as the machine would; durable on its own disk.</summary>
    internal async Task WriteAsync(string machine, long offset, ReadOnlyMemory<byte> bytes)
    {
        await using var source = await NbdAddress.Parse((string)(await MachineAsync(machine))["disks"]![0]!["captureUri"]!).OpenAsync(Stop);
        await source.WriteAsync(offset, bytes, true, Stop);
    }

    /// <summary>What the machine's replica, or its test, shows.</summary>
    internal async Task<byte[]> ReplicaAsync(string machine, int bytes)
    {
        string? uri = null;
        await UntilAsync(async () => (uri = (string?)(await GetAsync($"/api/v1/machines/{machine}/exports"))["items"]!.AsArray().FirstOrDefault()?["uri"]) is not null);
        var found = new byte[bytes];
        await using var replica = await NbdAddress.Parse(uri!).OpenAsync(Stop);
        for (var at = 0; at < bytes; at += 1 << 20) await replica.ReadAsync(at, found.AsMemory(at, Math.Min(1 << 20, bytes - at)), Stop);
        return found;
    }

    internal Task<JsonNode> MachineAsync(string machine) => GetAsync($"/api/v1/machines/{machine}");

    internal async Task<JsonNode> ActAsync(string machine, string action, object? body = null)
    {
        using var answer = await Http.PostAsJsonAsync($"/api/v1/machines/{machine}/{action}", body ?? new { }, Stop);
        var text = await answer.Content.ReadAsStringAsync(Stop);
        Assert.True(answer.StatusCode == HttpStatusCode.Accepted, text);
        return await JobAsync(JsonNode.Parse(text)!);
    }

    internal async Task<JsonNode> JobAsync(JsonNode job)
    {
        while (true)
        {
            var seen = await GetAsync($"/api/v1/jobs/{job["id"]}?wait=10s");
            if (seen["finishedAt"] is not null) return seen;
        }
    }

    internal Task UntilStateAsync(string machine, string state) => UntilAsync(async () => (string)(await MachineAsync(machine))["state"]! == state);

    internal async Task UntilAsync(Func<Task<bool>> holds, TimeSpan? within = null)
    {
        using var patience = CancellationTokenSource.CreateLinkedTokenSource(Stop);
        patience.CancelAfter(within ?? TimeSpan.FromSeconds(60));
        using var timer = new PeriodicTimer(TimeSpan.FromMilliseconds(100));
        while (!await holds()) await timer.WaitForNextTickAsync(patience.Token);
    }

    internal static async Task<JsonNode> ProblemAsync(HttpResponseMessage answer, int status, string code)
    {
        var text = await answer.Content.ReadAsStringAsync();
        Assert.True((int)answer.StatusCode == status, text);
        var problem = JsonNode.Parse(text)!;
        Assert.Equal(code, (string)problem["code"]!);
        Assert.NotEmpty((string)problem["remedy"]!);
        answer.Dispose();
        return problem;
    }

    private async Task StartSecondaryAsync()
    {
        _secondary = await StartAsync("secondary", "configuration-server,process-server,master-target", null);
        var pki = PeerIdentity.Load(At("secondary/pki"));
        Http?.Dispose();
        var handler = PeerTrust.HttpHandler(pki.AuthorityCertificate);
        handler.Expect100ContinueTimeout = TimeSpan.FromMinutes(1); // whoever asks first waits for the answer, however busy the machine is
        Http = new HttpClient(handler) { BaseAddress = new Uri(_secondary.Endpoints.HttpUrl) };
        Http.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Bearer", (await File.ReadAllTextAsync(At("secondary/admin.token"), Stop)).Trim());
        await UntilAsync(async () =>
        {
            using var ready = await Http.GetAsync("/healthz/ready", Stop);
            return ready.IsSuccessStatusCode;
        });
    }

    private async Task<RunningNode> StartAsync(string site, string roles, JoinOrder? join)
    {
        var config = SettingsLoader.Installed().Load(null, new Dictionary<string, string>(), new Dictionary<string, string>
        {
            ["siterecovery.node.site"] = site, ["siterecovery.node.roles"] = roles, ["siterecovery.log.level"] = "warning",
            ["siterecovery.master-target.store-key-file"] = At("store.key"), ["siterecovery.master-target.scrub-pause"] = "1s",
            ["siterecovery.http.ask-timeout"] = AskTimeout,
            ["siterecovery.hypervisor.uri"] = "qemu", ["siterecovery.hypervisor.qemu-accelerators"] = "tcg",
            ["siterecovery.hypervisor.boot-folders"] = $"/boot,{Guests.GuestImage.Cache}",
            ["siterecovery.ports.http"] = "0", ["siterecovery.ports.cluster"] = "0", ["siterecovery.ports.data"] = "0", ["siterecovery.ports.agent"] = "0",
        });
        return await RunningNode.StartAsync(NodeSettings.Of(config, At(site)), config, join, NodeClock, Stop);
    }

    private async Task<string> TokenAsync(string kind)
    {
        using var answer = await Http.PostAsJsonAsync($"/api/v1/{kind}/join-tokens", new { site = "primary" }, Stop);
        return (string)(await answer.Content.ReadFromJsonAsync<JsonNode>(Stop))!["token"]!;
    }

    public async Task DisposeAsync()
    {
        await _stopAgent.CancelAsync();
        await _agentRuns.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        if (_agent is not null) await _agent.DisposeAsync();
        if (_primary is not null) await _primary.DisposeAsync();
        if (_secondary is not null) await _secondary.DisposeAsync();
        Http?.Dispose();
        // Replica machines outlive their node, as they should.
        foreach (var pid in Directory.GetFiles(_folder.FullName, "qemu.pid", SearchOption.AllDirectories))
            Posix.Terminate(int.Parse(await File.ReadAllTextAsync(pid), CultureInfo.InvariantCulture));
        _folder.Delete(recursive: true);
    }
}

/// <summary>Starting two sites takes seconds: the tests of this collection share them, each with machines of its own.</summary>
[CollectionDefinition(Name)]
public sealed class OnTwoSites : ICollectionFixture<TwoSites>
{
    public const string Name = "two sites";
}
