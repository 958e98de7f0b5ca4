using System.Globalization;
using SiteRecovery.Node.Bench;

namespace SiteRecovery.Benchmarks;

/// <summary>A protected disk under steady writes: how old the newest durable position is, what it costs, what memory it takes.</summary>
public static class Steady
{
    private static readonly int[] MegabytesPerSecond = [10, 50, 100];

    public static async Task RunAsync(Bench bench, CancellationToken stop)
    {
        var disk = bench.At("steady");
        SampleDisk.Create(disk, Math.Min(bench.Options.DiskBytes, 1L << 30));
        var duration = 4 * bench.Options.RunTime.TotalSeconds;
        await using (var site = await Site.StartAsync(bench))
        {
            await site.ProtectAsync("machine", disk);
            for (var round = 0; round < bench.Options.Rounds; round++)
                foreach (var rate in MegabytesPerSecond)
                {
                    stop.ThrowIfCancellationRequested();
                    await RoundAsync(bench, site, rate, duration);
                }
            bench.Results.Add("steady, peak memory", "MiB", "siterecovery agent", site.Agent.PeakMebibytes);
            bench.Results.Add("steady, peak memory", "MiB", "siterecovery receiver", site.Receiver.PeakMebibytes);
        }
        File.Delete(disk);
    }

    private static async Task RoundAsync(Bench bench, Site site, int rate, double duration)
    {
        await site.Receiver.AskAsync("watch", "machine");
        var (agent, receiver) = (site.Agent.CpuSeconds, site.Receiver.CpuSeconds);
        var churned = (await site.Agent.AskAsync("churn", "machine", $"{rate}", duration.ToString(CultureInfo.InvariantCulture))).Split(' ');
        var (agentCpu, receiverCpu) = (site.Agent.CpuSeconds - agent, site.Receiver.CpuSeconds - receiver);
        var ages = (await site.Receiver.AskAsync("ages")).Split(' ').Select(a => double.Parse(a, CultureInfo.InvariantCulture) * 1000).ToArray();
        var name = $"steady at {rate} MB/s";
        bench.Results.Add(name + ", RPO", "ms", "median age", ages[0]);
        bench.Results.Add(name + ", RPO", "ms", "99th percentile", ages[1]);
        bench.Results.Add(name + ", CPU", "% of a core", "agent with its writer", agentCpu / duration * 100);
        bench.Results.Add(name + ", CPU", "% of a core", "receiving side", receiverCpu / duration * 100);
        bench.Results.Add(name + ", written", "MB/s", "writer", double.Parse(churned[0], CultureInfo.InvariantCulture), moreIsBetter: true);
        if (churned[1] != "0") bench.Results.Note($"{name}: the stream was interrupted (the buffer overflowed)");
        await site.Agent.AskAsync("durable", "machine");
    }
}
