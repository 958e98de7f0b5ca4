using System.Globalization;
using System.Text.Json.Nodes;
using SiteRecovery.DataPlane.Nbd;

namespace SiteRecovery.Node.Demo;

/// <summary>The demo, told as a story of real processes: protect, replicate, lose the site, fail over, prove, refuse the stale copy, and come home.</summary>
public sealed partial class DemoStory(DemoOptions options, TimeProvider time, DemoScreen screen) : IAsyncDisposable
{
    private const string Machine = "db1", PrimaryRoles = "process-server,master-target";
    private const long DiskBytes = 128L << 20;
    private readonly string _folder = Directory.CreateTempSubdirectory("siterecovery-demo-").FullName;
    private readonly Dictionary<string, ChildProcess> _processes = [];
    private readonly JsonObject _figures = [];
    private DemoSite _secondary = null!;
    private string _captureUri = "";

    private string At(string name) => Path.Combine(_folder, name);
    private string LedgerPath => At("ledger.txt");

    public async Task<bool> TellAsync(CancellationToken stop)
    {
        screen.Say($"working in {_folder}, seed {options.Seed}");
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
        Conclude(verdict, refused, reportedRpo);
        return verdict.Holds && refused && drilled && home;
    }

    private async Task StartSitesAsync(CancellationToken stop)
    {
        screen.Step("Two sites: each with a process server and a master target, the configuration server at the secondary, an agent at the primary");
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
        screen.Step($"A disk of {DiskBytes >> 20} MiB with an independent writer is protected");
        var disk = At("disk.raw");
        await using (var file = File.Create(disk))
        {
            var block = new byte[BlockPattern.BlockBytes];
            for (long at = 0; at < DiskBytes; at += block.Length)
            {
                BlockPattern.Fill(block, options.Seed, 0, at);
                await file.WriteAsync(block, stop);
            }
        }
        await _secondary.PutAsync("/api/v1/vaults/demo", new { sourceSite = "primary", targetSite = "secondary" }, stop);
        await _secondary.PostAsync("/api/v1/machines", new
        {
            name = Machine, vault = "demo", policy = "default",
            source = new { agent = "demo-agent", disks = new[] { new { id = "vda", path = disk, capture = "nbd" } } },
        }, stop);
        await UntilAsync("the agent to serve the disk", async () =>
        {
            var uri = (await MachineAsync(stop))["disks"]?[0]?["captureUri"]?.GetValue<string>();
            _captureUri = uri ?? "";
            return uri is not null;
        }, stop);
        screen.Say($"the disk is served at {_captureUri}");
        await File.WriteAllTextAsync(LedgerPath, "", stop);
        StartWriter(_captureUri, LedgerPath, options.Seed);
    }

    private async Task ReplicateAsync(CancellationToken stop)
    {
        screen.Step("Initial replication, while the writer goes on");
        var begun = time.GetTimestamp();
        await UntilAsync("initial replication", async () =>
        {
            var machine = await MachineAsync(stop);
            if (machine["progress"] is JsonObject progress && (long)progress["bytesTotal"]! > 0) screen.Progress(progress);
            return machine["state"]!.GetValue<string>() == "Protected";
        }, stop);
        _figures["initialReplicationSeconds"] = time.GetElapsedTime(begun).TotalSeconds;
        screen.Say($"protected after {time.GetElapsedTime(begun).TotalSeconds:F1} s, {Ledger.Read(LedgerPath).Count} writes acknowledged so far");
    }

    private async Task<string?> WatchAsync(CancellationToken stop)
    {
        screen.Step("Delta replication: the recovery point objective as the secondary measures it");
        string? rpo = null;
        for (var look = 0; look < 5; look++)
        {
            await Task.Delay(TimeSpan.FromSeconds(1), time, stop);
            rpo = (await MachineAsync(stop))["rpo"]?.ToString();
            screen.Say($"RPO {rpo ?? "unknown"}, {Ledger.Read(LedgerPath).Count} writes acknowledged");
        }
        return rpo;
    }

    private async Task<bool> TestFailoverAsync(CancellationToken stop)
    {
        screen.Step("Test failover: a copy of the replica comes up beside the running replication, and is thrown away");
        var before = Ledger.Read(LedgerPath).Count;
        await _secondary.FinishAsync(await _secondary.PostAsync($"/api/v1/machines/{Machine}/test-failover", new { point = "latest" }, stop), stop);
        var export = (await _secondary.GetAsync($"/api/v1/machines/{Machine}/exports", stop))["items"]![0]!;
        PrefixVerdict verdict;
        await using (var copy = await NbdAddress.Parse(export["uri"]!.GetValue<string>()).OpenAsync(stop))
        {
            verdict = await PrefixVerdict.JudgeAsync(Ledger.Read(LedgerPath), options.Seed, copy.SizeBytes, (offset, into) => copy.ReadAsync(offset, into, stop));
            await copy.WriteAsync(0, new byte[BlockPattern.BlockBytes], forceUnitAccess: true, stop); // the test's own, and gone with it
        }
        await _secondary.FinishAsync(await _secondary.PostAsync($"/api/v1/machines/{Machine}/test-failover-cleanup", new { notes = "demo" }, stop), stop);
        var drill = (await MachineAsync(stop))["drills"]!.AsArray()[^1]!;
        _figures["testFailoverRto"] = drill["rto"]?.GetValue<string>();
        screen.Say(verdict.Holds
            ? $"the copy held exactly the first {verdict.PrefixLength} writes, was served after {drill["rto"]}, and is gone; the writer went on from {before} to {Ledger.Read(LedgerPath).Count} writes"
            : $"the copy was NOT a prefix: {verdict.Reason}");
        return verdict.Holds;
    }

    private void KillPrimarySite()
    {
        screen.Step("The primary site dies: SIGKILL for every process of it");
        foreach (var name in (string[])["primary", "agent", "writer"])
        {
            _processes[name].KillHard();
            _processes.Remove(name, out var dead);
            dead!.Dispose();
        }
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
        await _secondary.FinishAsync(job, stop);
        var exports = await _secondary.GetAsync($"/api/v1/machines/{Machine}/exports", stop);
        await using var replica = await NbdAddress.Parse(exports["items"]![0]!["uri"]!.GetValue<string>()).OpenAsync(stop);
        var block = new byte[BlockPattern.BlockBytes];
        await replica.ReadAsync(0, block, stop);
        _figures["rtoSeconds"] = time.GetElapsedTime(begun).TotalSeconds;
        screen.Say($"the replica serves its first sector after {time.GetElapsedTime(begun).TotalSeconds:F2} s");

        if (options.Sabotage is { } how) await Sabotage.DamageAsync(how, replica, Ledger.Read(LedgerPath), options.Seed, stop);

        screen.Step("The proof: the replica against the writer's own ledger");
        var verdict = await PrefixVerdict.JudgeAsync(Ledger.Read(LedgerPath), options.Seed, replica.SizeBytes, (offset, into) => replica.ReadAsync(offset, into, stop));
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
        return refused;
    }

    private void Conclude(PrefixVerdict verdict, bool refused, string? reportedRpo)
    {
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

    private Task<JsonNode> MachineAsync(CancellationToken stop) => _secondary.GetAsync($"/api/v1/machines/{Machine}", stop);

    private async Task JoinTokenAsync(string noun, string file, CancellationToken stop)
    {
        var answer = await _secondary.PostAsync($"/api/v1/{noun}/join-tokens", new { site = "primary" }, stop);
        await File.WriteAllTextAsync(At(file), answer["token"]!.GetValue<string>(), stop);
    }

    private void StartNode(string site, string roles, params string[] more) =>
        _processes[site] = ChildProcess.Start("siterecovery", At(site + ".log"),
            ["node", "--site", site, "--roles", roles, "--data", At(site), "--http-port", "0", "--cluster-port", "0", "--data-port", "0", "--agent-port", "0", .. more]);

    private void StartWriter(string uri, string ledger, int seed) =>
        _processes["writer"] = ChildProcess.Start("siterecovery", At("writer.log"), "demo-writer", "--uri", uri, "--ledger", ledger,
            "--seed", seed.ToString(CultureInfo.InvariantCulture), "--rate", "1500");

    private void StartAgent(params string[] more) =>
        _processes["agent"] = ChildProcess.Start("siterecovery-agent", At("agent.log"), ["run", "--data", At("agent"), "--name", "demo-agent", .. more]);

    private async Task UntilAsync(string what, Func<Task<bool>> holds, CancellationToken stop)
    {
        using var limit = new CancellationTokenSource(TimeSpan.FromSeconds(60), time);
        using var either = CancellationTokenSource.CreateLinkedTokenSource(limit.Token, stop);
        using var timer = new PeriodicTimer(TimeSpan.FromMilliseconds(200), time);
        while (!await holds())
        {
            foreach (var (name, process) in _processes)
                if (process.HasExited) throw new InvalidOperationException($"{name} stopped while waiting for {what}; its log is {At(name + ".log")}");
            try
            {
                await timer.WaitForNextTickAsync(either.Token);
            }
            catch (OperationCanceledException) when (limit.IsCancellationRequested)
            {
                throw new TimeoutException($"waited 60 s for {what}; the logs are in {_folder}");
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
        foreach (var process in _processes.Values) process.Dispose();
        _secondary?.Dispose();
        if (!options.KeepFolder) Directory.Delete(_folder, recursive: true);
    }
}
