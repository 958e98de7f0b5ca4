using SiteRecovery.Node.Bench;
using SiteRecovery.Node.Demo;

namespace SiteRecovery.Benchmarks;

/// <summary>
/// Two nodes and an agent as they are deployed, a protected disk, and a writer that nobody holds back: what each process keeps resident at most. The
/// agent is the native one where its program is given by SITERECOVERY_AGENT.
/// </summary>
public static class Memory
{
    private const string Secondary = "secondary", Primary = "primary", Agent = "agent";
    private const long DiskBytes = 2L << 30;
    private static readonly (string Name, string[] Fio)[] Loads =
        [("4 KiB random, depth 32", ["--rw=randwrite", "--bs=4k", "--iodepth=32"]), ("1 MiB sequential, depth 4", ["--rw=write", "--bs=1M", "--iodepth=4"])];

    public static async Task RunAsync(Bench bench, CancellationToken stop)
    {
        if (!Tool.Have(bench, "memory", "fio")) return;
        for (var round = 0; round < Math.Min(3, bench.Options.Rounds); round++)
        {
            var folder = Directory.CreateDirectory(bench.At($"sites{round}")).FullName;
            var running = new Dictionary<string, (ChildProcess? Ours, System.Diagnostics.Process? Native)>();
            try
            {
                var (admin, uri) = await ProtectAsync(folder, running, stop);
                using (admin)
                    foreach (var (name, fio) in Loads)
                    {
                        await Tool.RunAsync("fio", ["--name=load", "--ioengine=nbd", $"--uri={uri}", $"--size={DiskBytes}", "--time_based",
                            $"--runtime={Math.Max(10, 10 * bench.Options.RunTime.TotalSeconds)}", .. fio], stop);
                        foreach (var (process, (ours, native)) in running)
                            bench.Results.Add($"memory after {name}", "MiB at most", process, ProcessUsage.PeakMebibytes(ours?.Id ?? native!.Id));
                    }
            }
            finally
            {
                foreach (var (ours, native) in running.Values)
                {
                    ours?.Dispose();
                    native?.Kill();
                    native?.Dispose();
                }
                Directory.Delete(folder, recursive: true);
            }
        }
    }

    private static async Task<(DemoSite Admin, string CaptureUri)> ProtectAsync(
        string folder, Dictionary<string, (ChildProcess? Ours, System.Diagnostics.Process? Native)> running, CancellationToken stop)
    {
        string At(string name) => Path.Combine(folder, name);
        void StartNode(string site, string roles, params string[] more) => running[site] = (ChildProcess.Start("siterecovery", At(site + ".log"),
            ["node", "--site", site, "--roles", roles, "--data", At(site), "--http-port", "0", "--cluster-port", "0", "--data-port", "0", "--agent-port", "0", .. more]), null);
        StartNode(Secondary, "configuration-server,process-server,master-target");
        DemoSite? admin = null;
        await UntilAsync(async () => File.Exists(At("secondary/endpoints.json")) && File.Exists(At("secondary/admin.token")) && await (admin ??= new DemoSite(At(Secondary))).IsReadyAsync(stop), stop);
        async Task<string> TokenAsync(string of, string site)
        {
            File.WriteAllText(At(of), (await admin!.PostAsync($"/api/v1/{of}/join-tokens", new { site }, stop))["token"]!.GetValue<string>());
            return At(of);
        }
        StartNode(Primary, "process-server,master-target", "--join", admin!.Url.ToString(), "--token-file", await TokenAsync("nodes", Primary));
        await UntilAsync(async () => (await admin.GetAsync("/api/v1/nodes", stop))["items"]!.AsArray().Count == 2, stop);
        string[] join = ["run", "--data", At(Agent), "--name", "host1", "--join", admin.Url.ToString(), "--token-file", await TokenAsync("agents", Primary)];
        running[Agent] = Environment.GetEnvironmentVariable("SITERECOVERY_AGENT") is { } native ? (null, Tool.Start(native, join)) : (ChildProcess.Start("siterecovery-agent", At("agent.log"), join), null);
        await UntilAsync(async () => (await admin.GetAsync("/api/v1/agents", stop))["items"]!.AsArray().Any(a => (bool?)a!["connected"] == true), stop);
        await admin.PutAsync("/api/v1/vaults/pair", new { sourceSite = Primary, targetSite = Secondary }, stop);
        using (var disk = File.Create(At("disk"))) disk.SetLength(DiskBytes);
        await admin.FinishAsync(await admin.PostAsync("/api/v1/machines",
            new { name = "db1", vault = "pair", source = new { agent = "host1", disks = new[] { new { id = "vda", path = At("disk") } } } }, stop), stop);
        return (admin, (await admin.GetAsync("/api/v1/machines/db1", stop))["disks"]![0]!["captureUri"]!.GetValue<string>());
    }

    private static async Task UntilAsync(Func<Task<bool>> holds, CancellationToken stop)
    {
        while (!await holds()) await Task.Delay(TimeSpan.FromMilliseconds(200), stop);
    }
}
