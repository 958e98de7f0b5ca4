using System.Collections.Concurrent;
using System.Net;
using System.Net.Sockets;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using SiteRecovery.EndToEnd.Guests;
using SiteRecovery.Node.Demo;

namespace SiteRecovery.EndToEnd.Processes;

/// <summary>A node as it is started.</summary>
/// <param name="OverLink">The other site reaches its cluster and data ports only by the link.</param>
/// <param name="Launcher">A command that becomes the node; null for none.</param>
internal sealed record NodeUnderTest(string Name, string Site, string Roles, bool OverLink = true, string[]? Launcher = null);

/// <summary>
/// Two sites as real processes of one cluster: nodes, an agent, and a writer on the agent's disk. Each can be killed and started
/// again on what it left behind. What the sites say to each other goes over a link that can be cut: on loopback one that counts, if no other is given.
/// </summary>
internal sealed class SitesUnderTest : IAsyncDisposable
{
    internal const string Primary = "primary", Secondary = "secondary", Agent = "agent", Writer = "writer", Machine = "db1";
    internal const int Seed = 11;
    /// <summary>A small part of the disk, so that a delta can be told from a full copy: changes are tracked by 64 KiB.</summary>
    internal const long WorkingSetBytes = 32L << 20;
    private readonly string _folder = Directory.CreateTempSubdirectory("sr-components-").FullName;
    private readonly ConcurrentDictionary<string, ChildProcess> _running = []; // others kill than those who wait
    private readonly Dictionary<string, NodeUnderTest> _nodes;
    private readonly HashSet<int> _ports = [];
    private readonly CancellationToken _stop;
    private readonly string _settings;
    private DemoSite? _admin;
    private string _captureUri = "";

    /// <param name="nodes">The first one begins the cluster and has the configuration server.</param>
    /// <param name="settings">HOCON, the same for all.</param>
    internal SitesUnderTest(string settings, CancellationToken stop, params NodeUnderTest[] nodes) : this(new LoopbackLink(), settings, stop, nodes)
    {
    }

    /// <param name="link">Is this one's from now on.</param>
    /// <param name="nodes">The first one begins the cluster and has the configuration server.</param>
    /// <param name="settings">HOCON, the same for all.</param>
    internal SitesUnderTest(ISiteLink link, string settings, CancellationToken stop, params NodeUnderTest[] nodes)
    {
        (Link, _settings, _stop, _nodes, First) = (link, settings, stop, nodes.ToDictionary(n => n.Name), nodes[0].Name);
        foreach (var node in nodes) Configure(node);
        File.WriteAllText(LedgerPath, "");
    }

    private string First { get; }
    /// <summary>For each single thing to come.</summary>
    internal TimeSpan Patience { get; init; } = TimeSpan.FromSeconds(120);
    /// <summary>What the runtime of each node and agent may keep in its heap: one that needs more ends. 0: as much as it likes.</summary>
    internal long HeapBytesMax { get; init; }
    /// <summary>Besides what every agent is started with.</summary>
    internal string[] AgentArguments { get; set; } = [];
    internal long DiskBytes { get; init; } = 256L << 20;
    /// <summary>The machine's policy, as the API takes it; null: the default one.</summary>
    internal object? Policy { get; init; }
    internal DemoSite Admin => _admin ?? throw new InvalidOperationException("the first node has not started");
    internal string At(string name) => Path.Combine(_folder, name);
    internal string LedgerPath => At("ledger.txt");
    internal IReadOnlyList<LedgerEntry> LedgerNow => Ledger.Read(LedgerPath);

    internal ISiteLink Link { get; }

    /// <summary>Bytes that the primary has sent to the secondary's data ports.</summary>
    internal long BytesOverLink => Loopback.DataBytes;

    private LoopbackLink Loopback => Link as LoopbackLink ?? throw new InvalidOperationException("only a link on loopback can do that");

    internal void CutLink() => CutLink(toSecondary: true, toPrimary: true);

    internal void HealLink() => CutLink(toSecondary: false, toPrimary: false);

    /// <summary>Bytes pass, or do not: on their way to a site, and of one kind of port alone ("cluster", "data") where it is named.</summary>
    internal void CutLink(bool toSecondary, bool toPrimary, string? only = null) => Loopback.Cut(toSecondary, toPrimary, only);

    /// <summary>All processes, a protected disk with a writer on it, and the initial replication behind it.</summary>
    internal async Task StartAsync(int writesPerSecond)
    {
        await BeginAsync(writesPerSecond);
        await UntilAsync("the initial replication", async () => await LookAsync() is { IsWell: true });
    }

    /// <summary>The same, with the initial replication only begun.</summary>
    internal async Task BeginAsync(int writesPerSecond)
    {
        await JoinAsync();
        await ProtectAsync();
        StartWriter(writesPerSecond);
    }

    /// <summary>All processes of one cluster, with a vault and no machine.</summary>
    internal async Task JoinAsync()
    {
        Start(First);
        await UntilAsync("the first node to be ready", async () =>
        {
            if (!File.Exists(At(First + "/endpoints.json")) || !File.Exists(At(First + "/admin.token"))) return false;
            _admin ??= new DemoSite(At(First));
            return await Admin.IsReadyAsync(_stop);
        });
        foreach (var node in _nodes.Values.Where(n => n.Name != First))
        {
            await JoinTokenAsync("nodes", node.Site);
            StartNode(node, "--join", Admin.Url.ToString(), "--token-file", At("nodes.token"));
            await UntilAsync($"{node.Name} to join", async () => (await MembersAsync()).Any(n => (string?)n!["name"] == node.Name));
        }
        await JoinTokenAsync("agents", Primary);
        StartAgent("--join", Admin.Url.ToString(), "--token-file", At("agents.token"));
        await UntilAsync("the agent to connect", async () => (await ItemsAsync("agents")).Any(a => (bool?)a!["connected"] == true));
        await Admin.PutAsync("/api/v1/vaults/vault-1", new { sourceSite = Primary, targetSite = Secondary }, _stop);
    }

    internal void Start(string process)
    {
        if (process == Agent) StartAgent();
        else StartNode(_nodes[process]);
    }

    /// <summary>SIGKILL, one right after the other.</summary>
    internal void Kill(params IEnumerable<string> processes)
    {
        foreach (var name in processes)
            if (_running.TryRemove(name, out var process)) process.Dispose();
    }

    /// <summary>SIGTERM, and the end of it: a good one.</summary>
    internal async Task StopAsync(string name)
    {
        _running.TryRemove(name, out var process);
        await HostProgram.RunAsync("kill", ["-TERM", $"{process!.Id}"]);
        await process.WaitAsync(_stop);
        Assert.Equal(0, process.ExitCode);
        process.Dispose();
    }

    /// <summary>It has ended by itself.</summary>
    internal async Task EndAsync(string name)
    {
        _running.TryRemove(name, out var process);
        using (process) await process!.WaitAsync(_stop).WaitAsync(Patience, _stop);
    }

    internal int ProcessIdOf(string name) => _running[name].Id;

    /// <summary>Those that run now, with their ids.</summary>
    internal IReadOnlyList<(string Name, int Id)> Running => [.. _running.Select(r => (r.Key, r.Value.Id)).OrderBy(r => r.Key, StringComparer.Ordinal)];

    internal void StartWriter(int writesPerSecond) => _running[Writer] = ChildProcess.Start("siterecovery", At("writer.log"), "demo-writer", "--uri", _captureUri,
        "--ledger", LedgerPath, "--seed", $"{Seed}", "--rate", $"{writesPerSecond}", "--working-set", $"{WorkingSetBytes}", "--reconnect-delay", "60");

    /// <summary>How the machine stands now; null while the first node cannot say it.</summary>
    internal async Task<MachineSeen?> LookAsync()
    {
        try
        {
            return new MachineSeen(await Admin.GetAsync($"/api/v1/machines/{Machine}", _stop));
        }
        catch (Exception down) when (down is HttpRequestException or InvalidOperationException or IOException)
        {
            return null;
        }
    }

    /// <summary>Protected, healthy, and with a point that is younger than now.</summary>
    internal async Task<MachineSeen> RecoveredAsync()
    {
        var (now, seen) = (TimeProvider.System.GetUtcNow(), (MachineSeen?)null);
        await UntilAsync("the machine to be protected and healthy again", async () => (seen = await LookAsync()) is { IsWell: true } && seen.PointAt > now,
            () => seen?.ToString() ?? "no answer");
        return seen!;
    }

    /// <summary>The writer is killed, everything arrives, and the replica is exactly what was acknowledged.</summary>
    internal async Task ProveEqualAsync()
    {
        Kill(Writer);
        var quiet = TimeProvider.System.GetUtcNow();
        MachineSeen? seen = null;
        // Looks of before the writer's death may still be on their way: a point after it holds all.
        await UntilAsync("everything to arrive", async () => (seen = await LookAsync()) is { IsWell: true, Lag: 0 } && seen.Newest == seen.Durable && seen.PointAt > quiet.AddSeconds(2),
            () => seen?.ToString() ?? "no answer");
        var verdict = await JudgeAsync();
        Assert.True(verdict is { Holds: true, LostWrites: 0 }, verdict.ToString());
    }

    /// <summary>The replica's newest point as its store's folder alone gives it, against the ledger; replication is not touched.</summary>
    internal async Task<PrefixVerdict> JudgeAsync() => await LiveReplica.JudgeAsync(StoreFolder, LedgerPath, Seed, WorkingSetBytes, _stop);

    private string StoreFolder => Directory.GetDirectories(_folder, "master-target", SearchOption.AllDirectories).Select(d => Path.Combine(d, "stores", Machine)).Single(Directory.Exists);

    internal async Task<string[]> UnfinishedJobsAsync() => [.. (await ItemsAsync("jobs"))
        .Where(j => (string?)j!["status"] is not ("succeeded" or "succeededWithWarnings" or "cancelled")).Select(j => j!.ToJsonString())];

    /// <param name="state">What to show of it where it does not come.</param>
    internal async Task UntilAsync(string what, Func<Task<bool>> holds, Func<string>? state = null)
    {
        using var patience = new CancellationTokenSource(Patience);
        using var either = CancellationTokenSource.CreateLinkedTokenSource(patience.Token, _stop);
        using var timer = new PeriodicTimer(TimeSpan.FromMilliseconds(100));
        try
        {
            while (!await holds())
            {
                if (EndedByItself() is { } ended) throw new InvalidOperationException($"{ended} ended while waiting for {what}{LogEnds()}");
                await timer.WaitForNextTickAsync(either.Token);
            }
        }
        catch (InvalidOperationException failed) when (failed.Message.Contains(" answered 500", StringComparison.Ordinal))
        {
            throw new InvalidOperationException($"{failed.Message}, while waiting for {what}{LogEnds()}", failed);
        }
        catch (OperationCanceledException) when (either.IsCancellationRequested)
        {
            throw new TimeoutException($"waited too long for {what}: {state?.Invoke()}{LogEnds()}");
        }
    }

    private string? EndedByItself()
    {
        foreach (var (name, process) in _running)
            try
            {
                if (process.HasExited && _running.TryGetValue(name, out var now) && now == process) return name;
            }
            catch (InvalidOperationException)
            {
                // Killed and let go of in between.
            }
        return null;
    }

    private async Task ProtectAsync()
    {
        var disk = At("disk.raw");
        await using (var file = File.Create(disk))
        {
            var block = new byte[BlockPattern.BlockBytes];
            for (long at = 0; at < DiskBytes; at += block.Length)
            {
                BlockPattern.Fill(block, Seed, 0, at);
                await file.WriteAsync(block, _stop);
            }
        }
        if (Policy is not null) await Admin.PutAsync("/api/v1/policies/tested", Policy, _stop);
        await Admin.PostAsync("/api/v1/machines", new
        {
            name = Machine, vault = "vault-1", policy = Policy is null ? "default" : "tested", source = new { agent = "agent-1", disks = new[] { new { id = "vda", path = disk, capture = "nbd" } } },
        }, _stop);
        await UntilAsync("the disk to be served", async () => (_captureUri = (await LookAsync())?.CaptureUri ?? "").Length > 0);
    }

    internal async Task<JsonArray> ItemsAsync(string nouns) => (await Admin.GetAsync($"/api/v1/{nouns}", _stop))["items"]!.AsArray();

    /// <summary>The nodes, without those that are only known.</summary>
    internal async Task<IReadOnlyList<JsonNode>> MembersAsync() => [.. (await ItemsAsync("nodes")).Where(n => (string?)n!["status"] != "notSeen").Select(n => n!)];

    private async Task JoinTokenAsync(string nouns, string site)
    {
        var answer = await Admin.PostAsync($"/api/v1/{nouns}/join-tokens", new { site }, _stop);
        await File.WriteAllTextAsync(At(nouns + ".token"), answer["token"]!.GetValue<string>(), _stop);
    }

    private void Configure(NodeUnderTest node)
    {
        var (http, cluster, data, agent) = (FreePort(), FreePort(), FreePort(), FreePort());
        File.WriteAllText(At(node.Name + ".conf"), $$"""
            {{_settings}}
            siterecovery {
              node { name = "{{node.Name}}", site = "{{node.Site}}", roles = [{{node.Roles}}] }
              ports { http = {{http}}, cluster = {{cluster}}, data = {{data}}, agent = {{agent}} }
              {{Link.SettingsOf(node, cluster, data)}}
            }
            """);
    }

    /// <summary>Outside the range that connections get theirs from, so that it is still free when a killed process comes back.</summary>
    private int FreePort()
    {
        while (true)
        {
            var port = Random.Shared.Next(20000, 30000);
            using var probe = new Socket(SocketType.Stream, ProtocolType.Tcp);
            try
            {
                probe.Bind(new IPEndPoint(IPAddress.IPv6Any, port));
                if (_ports.Add(port)) return port;
            }
            catch (SocketException)
            {
                // Another one.
            }
        }
    }

    private string[] Heap => HeapBytesMax == 0 ? [] : ["env", $"DOTNET_GCHeapHardLimit={HeapBytesMax:x}"];

    private void StartNode(NodeUnderTest node, params string[] more) =>
        _running[node.Name] = ChildProcess.StartUnder([.. Link.LauncherAt(node.Site), .. Heap, .. node.Launcher ?? []], "siterecovery", At(node.Name + ".log"), ["node", "--data", At(node.Name), "--config", At(node.Name + ".conf"), .. more]);

    private void StartAgent(params string[] more) =>
        _running[Agent] = ChildProcess.StartUnder([.. Link.LauncherAt(Primary), .. Heap], "siterecovery-agent", At("agent.log"), ["run", "--data", At("agent-data"), "--name", "agent-1", .. AgentArguments, .. more]);

    /// <summary>What was said last, each thing once.</summary>
    private string LogEnds()
    {
        const int LogLineMax = 600;
        var ends = new StringBuilder();
        // Of what is long, people often keep the end.
        foreach (var log in Directory.GetFiles(_folder, "*.log").OrderBy(l => Path.GetFileNameWithoutExtension(l) == First).ThenBy(l => l, StringComparer.Ordinal))
        {
            using var file = new StreamReader(new FileStream(log, FileMode.Open, FileAccess.Read, FileShare.ReadWrite));
            var lines = file.ReadToEnd().Split('\n').Reverse().DistinctBy(WithoutNumbers).Take(25).Reverse().Select(line => line.Length > LogLineMax ? line[..LogLineMax] : line);
            ends.Append('\n').Append(Path.GetFileName(log)).Append(":\n").AppendJoin('\n', lines);
        }
        return ends.ToString();

        static string WithoutNumbers(string line) => string.Concat(line.Where(c => !char.IsAsciiDigit(c)));
    }

    public async ValueTask DisposeAsync()
    {
        Kill([.. _running.Keys]);
        await Link.DisposeAsync();
        _admin?.Dispose();
        if (Environment.GetEnvironmentVariable("SITERECOVERY_KEEP") is null) Directory.Delete(_folder, recursive: true);
    }
}

/// <summary>A machine as the API showed it.</summary>
internal sealed class MachineSeen(JsonNode view)
{
    internal string State => (string)view["state"]!;
    internal string Health => (string)view["health"]!["status"]!;
    internal IEnumerable<string> Reasons => view["health"]!["reasons"]!.AsArray().Select(r => (string)r!["code"]!);
    internal string? Mode => (string?)view["replication"]?["agentMode"];
    internal long Newest => (long?)view["replication"]?["newestSequence"] ?? -1;
    internal long Durable => (long?)view["replication"]?["durableSequence"] ?? -2;
    internal long Sent => (long?)view["replication"]?["bytesSent"] ?? 0;
    internal long Resent => (long?)view["replication"]?["bytesResent"] ?? 0;
    internal long? Lag => (long?)view["lag"]?["bytes"];
    internal bool Consistent => (bool?)view["store"]?["consistent"] == true;
    internal DateTimeOffset? PointAt => (DateTimeOffset?)view["newestPoint"]?["at"];
    internal string? CaptureUri => (string?)view["disks"]?[0]?["captureUri"];
    internal bool? SourceFenced => (bool?)view["sourceFenced"];
    internal bool IsWell => State == "Protected" && Health == "healthy" && Mode == "Streaming" && Consistent;

    public override string ToString() => view.ToJsonString(new JsonSerializerOptions { WriteIndented = true });
}
