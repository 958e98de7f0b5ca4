using System.Diagnostics;
using SiteRecovery.Node.Bench;

namespace SiteRecovery.Benchmarks;

/// <summary>5 % of the blocks changed all over the disk: found by our bitmap, found by hashes, and by rsync.</summary>
public static class Delta
{
    private const string Share = "0.05";

    public static async Task RunAsync(Bench bench, CancellationToken stop)
    {
        var (source, copy) = (bench.At("delta-source"), bench.At("delta-copy"));
        SampleDisk.Create(source, bench.Options.DiskBytes);
        var rsync = Tool.Have(bench, "delta: rsync", "rsync");
        if (rsync) File.Copy(source, copy);
        await using (var site = await Site.StartAsync(bench))
        {
            await site.ProtectAsync("machine", source);
            for (var round = 0; round < bench.Options.Rounds; round++)
            {
                await site.Agent.AskAsync("pause", "machine");
                await site.Agent.AskAsync("scatter", "machine", Share, $"{2 * round}");
                await TimedAsync(bench, site, "siterecovery, by bitmap", ["resume", "machine"]);
                if (rsync) await RsyncAsync(bench, source, copy, stop);
                await site.Agent.AskAsync("pause", "machine");
                await site.Agent.AskAsync("scatter", "machine", Share, $"{2 * round + 1}");
                await site.Agent.AskAsync("unsynced", "machine");
                await TimedAsync(bench, site, "siterecovery, by hash", ["resume", "machine"]);
                if (rsync) await Tool.RunAsync("rsync", ["--ignore-times", "--inplace", "--no-whole-file", "--fsync", source, copy], stop);
            }
        }
        File.Delete(source);
        File.Delete(copy);
    }

    private static async Task TimedAsync(Bench bench, Site site, string name, string[] begin)
    {
        var (cpu, clock) = (site.CpuSeconds, Stopwatch.StartNew());
        await site.Agent.AskAsync(begin);
        await site.Agent.AskAsync("durable", "machine");
        await site.Receiver.AskAsync("point", "machine");
        bench.Results.Add("delta of 5 % scattered blocks", "s", name, clock.Elapsed.TotalSeconds);
        bench.Results.Add("delta of 5 % scattered blocks, CPU of both ends", "s", name, site.CpuSeconds - cpu);
        Console.Error.WriteLine($"delta: {name}: {clock.Elapsed.TotalSeconds:0.00} s");
    }

    private static async Task RsyncAsync(Bench bench, string source, string copy, CancellationToken stop)
    {
        var clock = Stopwatch.StartNew();
        await Tool.RunAsync("rsync", ["--ignore-times", "--inplace", "--no-whole-file", "--fsync", source, copy], stop);
        bench.Results.Add("delta of 5 % scattered blocks", "s", "rsync, local, in place", clock.Elapsed.TotalSeconds);
    }
}
