using SiteRecovery.Node.Bench;

namespace SiteRecovery.Benchmarks;

/// <summary>
/// Two nodes and an agent as they are deployed, a protected disk, and a writer that nobody holds back: what each process keeps resident at most. The
/// agent is the native one where its program is given by SITERECOVERY_AGENT.
/// </summary>
public static class Memory
{
    private const long DiskBytes = 2L << 30;
    private static readonly (string Name, string[] Fio)[] Loads =
        [("4 KiB random, depth 32", ["--rw=randwrite", "--bs=4k", "--iodepth=32"]), ("1 MiB sequential, depth 4", ["--rw=write", "--bs=1M", "--iodepth=4"])];

    public static async Task RunAsync(Bench bench, CancellationToken stop)
    {
        if (!Tool.Have(bench, "memory", "fio")) return;
        for (var round = 0; round < Math.Min(3, bench.Options.Rounds); round++)
        {
            using var sites = new DeployedSites(bench.At($"sites{round}"));
            var uri = await sites.ProtectAsync(DiskBytes, stop);
            foreach (var (name, fio) in Loads)
            {
                await Tool.RunAsync("fio", ["--name=load", "--ioengine=nbd", $"--uri={uri}", $"--size={DiskBytes}", "--time_based",
                    $"--runtime={Math.Max(10, 10 * bench.Options.RunTime.TotalSeconds)}", .. fio], stop);
                foreach (var (process, id) in sites.Processes) bench.Results.Add($"memory after {name}", "MiB at most", process, ProcessUsage.PeakMebibytes(id));
            }
        }
    }
}
