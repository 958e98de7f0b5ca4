using System.Text.Json.Nodes;
using SiteRecovery.DataPlane.Nbd;

namespace SiteRecovery.Node.Demo;

/// <summary>The demo, told as a story of real processes: protect, replicate, lose the site, fail over, prove, refuse the stale copy, and come home.</summary>
public sealed partial class DemoStory(DemoOptions options, IDemoLoad load, string folder, TimeProvider time, DemoScreen screen) : IAsyncDisposable
{
    internal const string Machine = "db1", AgentName = "demo-agent";
    private const string PrimaryRoles = "process-server,master-target";
    private readonly Dictionary<string, ChildProcess> _processes = [];
    private readonly JsonObject _figures = [];
    private DemoSite _secondary = null!;
    private string _captureUri = "", _failover = "";

    /// <summary>With all logs, at the end.</summary>
    public bool KeepsFolder { get; set; } = options.KeepFolder;

    private string At(string name) => Path.Combine(folder, name);

    public async Task<bool> TellAsync(CancellationToken stop)
    {
        screen.Say($"working in {folder}, seed {options.Seed}");
        await StartSitesAsync(stop);
        await ProtectAsync(stop);
        await ReplicateAsync(stop);
        var reportedRpo = await WatchAsync(stop);
        var drilled = await TestFailoverAsync(stop);
        KillPrimarySite();
        var verdict = await FailOverAsync(stop);
        if (verdict.Holds) await GoOnAtTheSecondaryAsync(verdict, stop);
        var refused = await ReturnOfTheOldSiteAsync(stop);
        var home = verdict.Holds && await ComeHomeAsync(stop);
        Conclude(verdict, refused, reportedRpo, await TimesAsync(stop));
        return verdict.Holds && refused && drilled && home;
    }

    private async Task StartSitesAsync(CancellationToken stop)
    {
        screen.Step("Two sites: each with a process server and a master target, the configuration server at the secondary, an agent at the primary");
        await File.WriteAllTextAsync(At("node.conf"), load.NodeSettings, stop);
        StartNode("secondary", "configuration-server,process-server,master-target,console");
        await UntilAsync("the secondary site to be ready", async () =>
        {
            if (!File.Exists(At("secondary/endpoints.json")) || !File.Exists(At("secondary/admin.token"))) return false;
            _secondary ??= new DemoSite(At("secondary"));
            return await _secondary.IsReadyAsync(stop);
        }, stop);
        screen.Say($"admin endpoint: {_secondary.Url}");
        await JoinTokenAsync("nodes", "node.token", stop);
        StartNode("primary", PrimaryRoles, "--join", _secondary.Url.ToString(), "--token-file", At("node.token"));
        await UntilAsync("the primary site to join", async () =>
            (await _secondary.GetAsync("/api/v1/nodes", stop))["items"]!.AsArray().Count >= 2, stop);
        await JoinTokenAsync("agents", "agent.token", stop);
        StartAgent("--join", _secondary.Url.ToString(), "--token-file", At("agent.token"));
        await UntilAsync("the agent to connect", async () =>
            (await _secondary.GetAsync("/api/v1/agents", stop))["items"]!.AsArray().Any(a => a!["connected"]?.GetValue<bool>() == true), stop);
    }

    private async Task ProtectAsync(CancellationToken stop)
    {
        screen.Step($"A disk with {load.Name} is protected");
        await load.PrepareAsync(stop);
        await _secondary.PutAsync("/api/v1/vaults/demo", new { sourceSite = "primary", targetSite = "secondary" }, stop);
        await _secondary.PostAsync("/api/v1/machines", new { name = Machine, vault = "demo", policy = "default", source = load.Source }, stop);
        await UntilAsync("the agent to serve the disk", async () =>
        {
            var uri = (await MachineAsync(stop))["disks"]?[0]?["captureUri"]?.GetValue<string>();
            _captureUri = uri ?? "";
            return uri is not null;
        }, stop);
        screen.Say($"the disk is served at {_captureUri}");
        await load.StartAsync(_captureUri, stop);
    }

    private async Task ReplicateAsync(CancellationToken stop)
    {
        screen.Step("Initial replication, while it is written to");
        var begun = time.GetTimestamp();
        await UntilAsync("initial replication", async () =>
        {
            var machine = await MachineAsync(stop);
            if (machine["progress"] is JsonObject progress && (long)progress["bytesTotal"]! > 0) screen.Progress(progress);
            return machine["state"]!.GetValue<string>() == "Protected";
        }, stop);
        _figures["initialReplicationSeconds"] = time.GetElapsedTime(begun).TotalSeconds;
        screen.Say($"protected after {time.GetElapsedTime(begun).TotalSeconds:F1} s, {load.Acknowledged} writes acknowledged so far");
    }

    private async Task<string?> WatchAsync(CancellationToken stop)
    {
        screen.Step("Delta replication: the recovery point objective as the secondary measures it");
        string? rpo = null;
        for (var look = 0; look < 5; look++)
        {
            await Task.Delay(TimeSpan.FromSeconds(1), time, stop);
            rpo = (await MachineAsync(stop))["rpo"]?.ToString();
            screen.Say($"RPO {rpo ?? "unknown"}, {load.Acknowledged} writes acknowledged");
        }
        return rpo;
    }

    private async Task<bool> TestFailoverAsync(CancellationToken stop)
    {
        screen.Step("Test failover: a copy of the replica comes up beside the running replication, and is thrown away");
        var before = load.Acknowledged;
        await _secondary.FinishAsync(await _secondary.PostAsync($"/api/v1/machines/{Machine}/test-failover", new { point = "latest" }, stop), stop);
        var verdict = await load.JudgeTestAsync(new DemoPlace(await ExportAsync(stop), (await MachineAsync(stop))["tests"]![0]!["console"]?.GetValue<string>()), stop);
        await _secondary.FinishAsync(await _secondary.PostAsync($"/api/v1/machines/{Machine}/test-failover-cleanup", new { notes = "demo" }, stop), stop);
        var drill = (await MachineAsync(stop))["drills"]!.AsArray()[^1]!;
        _figures["testFailoverRto"] = drill["rto"]?.GetValue<string>();
        screen.Say(verdict.Holds
            ? $"the copy held exactly the first {verdict.PrefixLength} writes, was served after {drill["rto"]}, and is gone; meanwhile it went on from {before} to {load.Acknowledged} writes"
            : $"the copy was NOT a prefix: {verdict.Reason}");
        return verdict.Holds;
    }

    private void KillPrimarySite()
    {
        screen.Step("The primary site dies: SIGKILL for every process of it");
        foreach (var name in (string[])["primary", "agent"])
        {
            _processes[name].KillHard();
            _processes.Remove(name, out var dead);
            dead!.Dispose();
        }
        load.Die();
    }

    private async Task<PrefixVerdict> FailOverAsync(CancellationToken stop)
    {
        screen.Step("Unplanned failover to the latest point");
        var action = $"/api/v1/machines/{Machine}/unplanned-failover";
        var dryRun = await _secondary.PostAsync(action + "?dryRun=true", new { point = "latest" }, stop);
        screen.Say($"dry run: point {dryRun["point"]!["id"]}, predicted RPO {dryRun["predictedRpo"]}, steps {string.Join(", ", dryRun["steps"]!.AsArray())}");
        foreach (var warning in dryRun["warnings"]!.AsArray()) screen.Say($"warning {warning!["code"]}: {warning["detail"]}");
        var begun = time.GetTimestamp();
        var job = await _secondary.PostAsync(action, new { point = dryRun["point"]!["id"]!.GetValue<string>(), acknowledge = dryRun["warnings"]!.AsArray().Select(w => w!["code"]!.GetValue<string>()) }, stop);
        _failover = (await _secondary.FinishAsync(job, stop))["id"]!.GetValue<string>();
        var replica = await PlaceAsync(stop);
        await using (var disk = await NbdAddress.Parse(replica.DiskUri).OpenAsync(stop)) await disk.ReadAsync(0, new byte[BlockPattern.BlockBytes], stop);
        _figures["rtoSeconds"] = time.GetElapsedTime(begun).TotalSeconds;
        screen.Say($"the replica serves its first sector after {time.GetElapsedTime(begun).TotalSeconds:F2} s");

        screen.Step("The proof: the replica against a ledger of what was acknowledged");
        var verdict = await load.JudgeReplicaAsync(replica, stop);
        screen.Say(verdict.Holds
            ? $"the replica is exactly the first {verdict.PrefixLength} acknowledged writes; {verdict.LostWrites} lost, {verdict.LostSeconds * 1000:F0} ms"
            : $"NOT a prefix: {verdict.Reason}");
        await _secondary.FinishAsync(await _secondary.PostAsync($"/api/v1/machines/{Machine}/commit", new { }, stop), stop);
        return verdict;
    }

    private async Task<bool> ReturnOfTheOldSiteAsync(CancellationToken stop)
    {
        screen.Step("The old site returns: its stale copy must be refused");
        StartNode("primary", PrimaryRoles);
        StartAgent();
        var refused = false;
        await UntilAsync("the old copy to be fenced", async () =>
        {
            try
            {
                await using var old = await NbdAddress.Parse(_captureUri).OpenAsync(stop);
                if (old.ReadOnly) return refused = true;
                var same = new byte[BlockPattern.BlockBytes];
                await old.ReadAsync(0, same, stop);
                await old.WriteAsync(0, same, true, stop);
                return false;
            }
            catch (NbdException problem) when (problem.Errno == 1)
            {
                return refused = true;
            }
            catch (Exception notYet) when (notYet is IOException or System.Net.Sockets.SocketException)
            {
                return false;
            }
        }, stop);
        screen.Say("a write to the old copy is refused");
        if (await load.TryOldCopyAsync(stop) is { } tried) screen.Say(tried);
        return refused;
    }

    private void Conclude(PrefixVerdict verdict, bool refused, string? reportedRpo, JsonObject times)
    {
        foreach (var (name, after) in times) _figures["rto." + name] = after?.DeepClone();
        _figures["prefixHolds"] = verdict.Holds;
        _figures["writesInReplica"] = verdict.PrefixLength;
        _figures["writesLost"] = verdict.LostWrites;
        _figures["rpoSeconds"] = verdict.LostSeconds;
        _figures["rpoReported"] = reportedRpo;
        _figures["staleCopyRefused"] = refused;
        _figures["seed"] = options.Seed;
        screen.Table(_figures);
        if (options.ReportPath is not null) File.WriteAllText(options.ReportPath, _figures.ToJsonString(new() { WriteIndented = true }));
    }

    /// <summary>How soon the machine was back, as the failover's job says it.</summary>
    private async Task<JsonObject> TimesAsync(CancellationToken stop) => (await _secondary.GetAsync($"/api/v1/jobs/{_failover}", stop))["times"] as JsonObject ?? [];

    private Task<JsonNode> MachineAsync(CancellationToken stop) => _secondary.GetAsync($"/api/v1/machines/{Machine}", stop);

    private async Task JoinTokenAsync(string noun, string file, CancellationToken stop)
    {
        var answer = await _secondary.PostAsync($"/api/v1/{noun}/join-tokens", new { site = "primary" }, stop);
        await File.WriteAllTextAsync(At(file), answer["token"]!.GetValue<string>(), stop);
    }

    private void StartNode(string site, string roles, params string[] more) =>
        _processes[site] = ChildProcess.Start("siterecovery", At(site + ".log"),
            ["node", "--site", site, "--roles", roles, "--data", At(site), "--http-port", "0", "--cluster-port", "0", "--data-port", "0", "--agent-port", "0", "--config", At("node.conf"), .. more]);

    private void StartAgent(params string[] more) =>
        _processes["agent"] = ChildProcess.Start("siterecovery-agent", At("agent.log"), ["run", "--data", At("agent"), "--name", AgentName, .. load.AgentArguments, .. more]);

    private async Task UntilAsync(string what, Func<Task<bool>> holds, CancellationToken stop)
    {
        using var limit = new CancellationTokenSource(TimeSpan.FromSeconds(60), time);
        using var either = CancellationTokenSource.CreateLinkedTokenSource(limit.Token, stop);
        using var timer = new PeriodicTimer(TimeSpan.FromMilliseconds(200), time);
        while (!await holds())
        {
            foreach (var (name, process) in _processes)
                if (process.HasExited) throw new InvalidOperationException($"{name} stopped while waiting for {what}; its log is {At(name + ".log")} and ends:\n{process.LastWords}\n");
            if (load.HasEnded) throw new InvalidOperationException($"{load.Name} stopped while waiting for {what}; the logs are in {folder}");
            try
            {
                await timer.WaitForNextTickAsync(either.Token);
            }
            catch (OperationCanceledException) when (limit.IsCancellationRequested)
            {
                throw new TimeoutException($"waited 60 s for {what}; the logs are in {folder}");
            }
        }
    }

    public async ValueTask DisposeAsync()
    {
        if (options.Stay)
        {
            screen.Say("both sites stay up; end with Ctrl+C");
            await Task.Delay(Timeout.InfiniteTimeSpan, time, options.Interrupted).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }
        await load.DisposeAsync(); // first: a machine whose disk has gone ends slowly
        foreach (var process in _processes.Values) process.Dispose();
        _secondary?.Dispose();
        if (!KeepsFolder) Directory.Delete(folder, recursive: true);
    }
}
