using System.Text;
using System.Text.Json.Nodes;
using SiteRecovery.Node.Demo;

namespace SiteRecovery.EndToEnd.Processes;

/// <summary>
/// Two sites on loopback as real processes, started by the command lines that an operator would type: each with a process server
/// and a master target, the configuration server at the secondary, an agent at the primary. Each can be killed and started again.
/// </summary>
internal sealed class TwoSites : IAsyncDisposable
{
    internal const string Secondary = "secondary", Primary = "primary", Agent = "agent";
    private const string SecondaryRoles = "configuration-server,process-server,master-target,console", PrimaryRoles = "process-server,master-target";
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(90);
    private readonly string _folder = Directory.CreateTempSubdirectory("sr-sites-").FullName;
    private readonly Dictionary<string, ChildProcess> _running = [];
    private readonly CancellationToken _stop;
    private DemoSite? _admin;

    private TwoSites(CancellationToken stop) => _stop = stop;

    /// <summary>The HTTP admin endpoint of the secondary, as its administrator.</summary>
    internal DemoSite Admin => _admin ?? throw new InvalidOperationException("the secondary has not started");

    internal string At(string name) => Path.Combine(_folder, name);

    internal static async Task<TwoSites> StartAsync(CancellationToken stop)
    {
        var sites = new TwoSites(stop);
        try
        {
            sites.StartNode(Secondary, SecondaryRoles);
            await sites.UntilAsync("the secondary to be ready", sites.IsSecondaryReadyAsync);
            await sites.JoinTokenAsync("nodes");
            sites.StartNode(Primary, PrimaryRoles, "--join", sites.Admin.Url.ToString(), "--token-file", sites.At("nodes.token"));
            await sites.UntilAsync("the primary to join", async () => (await sites.ItemsAsync("nodes")).Count == 2);
            await sites.JoinTokenAsync("agents");
            sites.StartAgent("--join", sites.Admin.Url.ToString(), "--token-file", sites.At("agents.token"));
            await sites.AgentConnectedAsync();
            await sites.Admin.PutAsync("/api/v1/vaults/vault-1", new { sourceSite = Primary, targetSite = Secondary }, stop);
            return sites;
        }
        catch
        {
            await sites.DisposeAsync();
            throw;
        }
    }

    /// <summary>SIGKILL, one right after the other, in the order given.</summary>
    internal void Kill(params IEnumerable<string> processes)
    {
        foreach (var name in processes)
            if (_running.Remove(name, out var process)) process.Dispose();
    }

    /// <summary>Starts a killed process again on what it left behind.</summary>
    internal void Start(string process)
    {
        switch (process)
        {
            case Secondary: StartNode(Secondary, SecondaryRoles); break;
            case Primary: StartNode(Primary, PrimaryRoles); break;
            case Agent: StartAgent(); break;
            default: throw new ArgumentOutOfRangeException(nameof(process), process, null);
        }
    }

    internal Task AgentConnectedAsync() => UntilAsync("the agent to connect", IsAgentConnectedAsync);

    /// <summary>A cluster needs some seconds to notice that a process server is dead; what is asked of its agents before that is not answered.</summary>
    internal Task AgentMissedAsync() => UntilAsync("the agent to be missed", async () => !await IsAgentConnectedAsync());

    /// <summary>Protects raw disks of the primary's agent; the result is where a hypervisor opens them, once they are served.</summary>
    internal async Task<string[]> ProtectAsync(string machine, params string[] paths)
    {
        await Admin.PostAsync("/api/v1/machines", new
        {
            name = machine, vault = "vault-1", policy = "default",
            source = new { agent = "agent-1", disks = paths.Select((path, i) => new { id = $"vd{(char)('a' + i)}", path, capture = "nbd" }) },
        }, _stop);
        string?[] uris = [];
        await UntilAsync($"the disks of {machine} to be served", async () =>
        {
            uris = [.. (await MachineAsync(machine))["disks"]!.AsArray().Select(d => d!["captureUri"]?.GetValue<string>())];
            return uris.Length == paths.Length && uris.All(u => u is not null);
        });
        return uris!;
    }

    internal Task<JsonNode> MachineAsync(string machine) => Admin.GetAsync($"/api/v1/machines/{machine}", _stop);

    internal Task ProtectedAsync(string machine) => UntilAsync($"{machine} to be protected", async () =>
        await MachineAsync(machine) is var seen && seen["state"]!.GetValue<string>() == "Protected" && seen["newestPoint"] is not null);

    /// <summary>Unplanned failover to the latest point as the dry run names it, with every warning acknowledged.</summary>
    internal async Task<FailedOver> FailOverAsync(string machine)
    {
        var action = $"/api/v1/machines/{machine}/unplanned-failover";
        var dryRun = await Admin.PostAsync(action + "?dryRun=true", new { point = "latest" }, _stop);
        var begun = TimeProvider.System.GetTimestamp();
        var job = await Admin.FinishAsync(await Admin.PostAsync(action, new
        {
            point = dryRun["point"]!["id"]!.GetValue<string>(), acknowledge = dryRun["warnings"]!.AsArray().Select(w => w!["code"]!.GetValue<string>()),
        }, _stop), _stop);
        var took = TimeProvider.System.GetElapsedTime(begun);
        return new FailedOver(dryRun["point"]!["at"]!.GetValue<DateTimeOffset>(), took, await ExportsAsync(machine), job["id"]!.GetValue<string>());
    }

    /// <summary>Where the replica's disks are served, or those of the test failover that runs.</summary>
    internal async Task<string[]> ExportsAsync(string machine, bool test = false)
    {
        var exports = await Admin.GetAsync($"/api/v1/machines/{machine}/exports", _stop);
        return [.. exports["items"]!.AsArray().Where(e => e!["test"] is not null == test).OrderBy(e => e!["disk"]!.GetValue<int>()).Select(e => e!["uri"]!.GetValue<string>())];
    }

    /// <returns>The job, at its end.</returns>
    internal async Task<JsonNode> ActAsync(string machine, string action, object? body = null) =>
        await Admin.FinishAsync(await Admin.PostAsync($"/api/v1/machines/{machine}/{action}", body ?? new { }, _stop), _stop);

    internal Task<JsonNode> JobAsync(string id) => Admin.GetAsync($"/api/v1/jobs/{id}", _stop);

    /// <exception cref="TimeoutException">It did not come; the message has the end of each process's log.</exception>
    internal async Task UntilAsync(string what, Func<Task<bool>> holds)
    {
        using var patience = new CancellationTokenSource(Patience);
        using var either = CancellationTokenSource.CreateLinkedTokenSource(patience.Token, _stop);
        using var timer = new PeriodicTimer(TimeSpan.FromMilliseconds(100));
        try
        {
            while (!await HoldsAsync(holds))
            {
                if (_running.FirstOrDefault(r => r.Value.HasExited).Key is { } ended) throw new InvalidOperationException($"{ended} ended while waiting for {what}{LogEnds()}");
                await timer.WaitForNextTickAsync(either.Token);
            }
        }
        catch (OperationCanceledException) when (either.IsCancellationRequested)
        {
            throw new TimeoutException($"waited too long for {what}: {await MachinesAsync()}{LogEnds()}");
        }
    }

    /// <summary>For people: how far everything is.</summary>
    private async Task<string> MachinesAsync()
    {
        try
        {
            return (await Admin.GetAsync("/api/v1/machines", _stop)).ToJsonString();
        }
        catch (Exception unknown) when (unknown is HttpRequestException or OperationCanceledException)
        {
            return unknown.Message;
        }
    }

    private static async Task<bool> HoldsAsync(Func<Task<bool>> holds)
    {
        try
        {
            return await holds();
        }
        catch (HttpRequestException)
        {
            return false; // whether the process is gone for good shows itself
        }
        catch (InvalidOperationException notYet) when (notYet.Message.Contains("answered 503", StringComparison.Ordinal))
        {
            return false; // it has started, and the cluster behind it has not yet
        }
    }

    private async Task<bool> IsSecondaryReadyAsync()
    {
        if (!File.Exists(At(Secondary + "/endpoints.json")) || !File.Exists(At(Secondary + "/admin.token"))) return false;
        _admin ??= new DemoSite(At(Secondary));
        return await Admin.IsReadyAsync(_stop);
    }

    private async Task<bool> IsAgentConnectedAsync() => (await ItemsAsync("agents")).Any(a => a!["connected"]!.GetValue<bool>());

    private async Task<JsonArray> ItemsAsync(string nouns) => (await Admin.GetAsync($"/api/v1/{nouns}", _stop))["items"]!.AsArray();

    private async Task JoinTokenAsync(string nouns)
    {
        var answer = await Admin.PostAsync($"/api/v1/{nouns}/join-tokens", new { site = Primary }, _stop);
        await File.WriteAllTextAsync(At(nouns + ".token"), answer["token"]!.GetValue<string>(), _stop);
    }

    private void StartNode(string site, string roles, params string[] more) =>
        _running[site] = ChildProcess.Start("siterecovery", At(site + ".log"),
            ["node", "--site", site, "--roles", roles, "--data", At(site), "--http-port", "0", "--cluster-port", "0", "--data-port", "0", "--agent-port", "0", .. more]);

    private void StartAgent(params string[] more) =>
        _running[Agent] = ChildProcess.Start("siterecovery-agent", At("agent.log"), ["run", "--data", At("agent-data"), "--name", "agent-1", .. more]);

    private string LogEnds()
    {
        var ends = new StringBuilder();
        foreach (var log in Directory.GetFiles(_folder, "*.log").Order(StringComparer.Ordinal))
        {
            using var file = new StreamReader(new FileStream(log, FileMode.Open, FileAccess.Read, FileShare.ReadWrite));
            ends.Append('\n').Append(Path.GetFileName(log)).Append(":\n").AppendJoin('\n', file.ReadToEnd().Split('\n').TakeLast(15));
        }
        return ends.ToString();
    }

    public ValueTask DisposeAsync()
    {
        Kill([.. _running.Keys]);
        _admin?.Dispose();
        if (Environment.GetEnvironmentVariable("SITERECOVERY_KEEP") is null) Directory.Delete(_folder, recursive: true);
        return ValueTask.CompletedTask;
    }
}

/// <param name="PointAt">The time of the point, as it was reported before the failover.</param>
/// <param name="Took">From the command to the end of its job.</param>
/// <param name="Exports">Where the replica's disks are served.</param>
internal sealed record FailedOver(DateTimeOffset PointAt, TimeSpan Took, string[] Exports, string Job);
