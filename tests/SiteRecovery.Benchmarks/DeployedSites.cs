using SiteRecovery.Node.Demo;

namespace SiteRecovery.Benchmarks;

/// <summary>Two nodes and an agent as they are deployed, each a process of its own, and one protected machine. The agent is the native one where its program is given by SITERECOVERY_AGENT.</summary>
public sealed class DeployedSites(string folder) : IDisposable
{
    public const string Machine = "db1";
    private const string Secondary = "secondary", Primary = "primary", Agent = "agent";
    private readonly Dictionary<string, (ChildProcess? Ours, System.Diagnostics.Process? Native)> _running = [];

    public DemoSite Admin { get; private set; } = null!;
    public IEnumerable<(string Name, int Id)> Processes => _running.Select(r => (r.Key, r.Value.Ours?.Id ?? r.Value.Native!.Id));

    /// <summary>Of the secondary site's master target.</summary>
    public string StoreFolder => Directory.GetFiles(At(Secondary), "MANIFEST.json", SearchOption.AllDirectories).Select(f => Path.GetDirectoryName(f)!).Single(f => Path.GetFileName(f) == Machine);

    /// <summary>Both sites from nothing, and a machine with one disk of zeroes.</summary>
    /// <returns>Where the disk is captured.</returns>
    public async Task<string> ProtectAsync(long diskBytes, CancellationToken stop)
    {
        Directory.CreateDirectory(folder);
        await StartSecondaryAsync(stop);
        StartNode(Primary, "process-server,master-target", "--join", Admin.Url.ToString(), "--token-file", await TokenAsync("nodes", Primary, stop));
        await UntilAsync(async () => (await Admin.GetAsync("/api/v1/nodes", stop))["items"]!.AsArray().Count == 2, stop);
        string[] join = ["run", "--data", At(Agent), "--name", "host1", "--join", Admin.Url.ToString(), "--token-file", await TokenAsync("agents", Primary, stop)];
        _running[Agent] = Environment.GetEnvironmentVariable("SITERECOVERY_AGENT") is { } native ? (null, Tool.Start(native, join)) : (ChildProcess.Start("siterecovery-agent", At("agent.log"), join), null);
        await UntilAsync(async () => (await Admin.GetAsync("/api/v1/agents", stop))["items"]!.AsArray().Any(a => (bool?)a!["connected"] == true), stop);
        await Admin.PutAsync("/api/v1/vaults/pair", new { sourceSite = Primary, targetSite = Secondary }, stop);
        using (var disk = File.Create(At("disk"))) disk.SetLength(diskBytes);
        await Admin.FinishAsync(await Admin.PostAsync("/api/v1/machines",
            new { name = Machine, vault = "pair", source = new { agent = "host1", disks = new[] { new { id = "vda", path = At("disk") } } } }, stop), stop);
        return (await Admin.GetAsync($"/api/v1/machines/{Machine}", stop))["disks"]![0]!["captureUri"]!.GetValue<string>();
    }

    /// <summary>Also again, on what it left.</summary>
    public async Task StartSecondaryAsync(CancellationToken stop)
    {
        if (File.Exists(At("secondary/endpoints.json"))) File.Delete(At("secondary/endpoints.json"));
        StartNode(Secondary, "configuration-server,process-server,master-target");
        Admin?.Dispose();
        Admin = null!;
        await UntilAsync(async () => File.Exists(At("secondary/endpoints.json")) && File.Exists(At("secondary/admin.token")) && await (Admin ??= new DemoSite(At(Secondary))).IsReadyAsync(stop), stop);
    }

    /// <summary>As by SIGKILL.</summary>
    public void KillAll()
    {
        foreach (var (ours, native) in _running.Values)
        {
            ours?.Dispose();
            native?.Kill();
            native?.Dispose();
        }
        _running.Clear();
    }

    public void Dispose()
    {
        KillAll();
        Admin?.Dispose();
        Directory.Delete(folder, recursive: true);
    }

    public static async Task UntilAsync(Func<Task<bool>> holds, CancellationToken stop)
    {
        while (!await holds()) await Task.Delay(TimeSpan.FromMilliseconds(200), stop);
    }

    private string At(string name) => Path.Combine(folder, name);

    private void StartNode(string site, string roles, params string[] more) => _running[site] = (ChildProcess.Start("siterecovery", At(site + ".log"),
        ["node", "--site", site, "--roles", roles, "--data", At(site), "--http-port", "0", "--cluster-port", "0", "--data-port", "0", "--agent-port", "0", .. more]), null);

    private async Task<string> TokenAsync(string of, string site, CancellationToken stop)
    {
        File.WriteAllText(At(of), (await Admin.PostAsync($"/api/v1/{of}/join-tokens", new { site }, stop))["token"]!.GetValue<string>());
        return At(of);
    }
}
