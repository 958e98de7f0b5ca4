using System.Diagnostics;
using SiteRecovery.Node.Bench;

namespace SiteRecovery.Benchmarks;

/// <summary>A disk from its file to a durable, hashed point at the target, against nbdcopy over TLS to a file with fsync.</summary>
public static class InitialReplication
{
    public static async Task RunAsync(Bench bench, CancellationToken stop)
    {
        var source = bench.At("source");
        SampleDisk.Create(source, bench.Options.DiskBytes);
        var contestants = new List<(string Name, Func<Task<(double Seconds, double Cpu)>> Run)> { ("siterecovery", () => OursAsync(bench, source)) };
        if (Tool.Have(bench, "initial replication: nbdcopy", "nbdkit", "nbdcopy")) contestants.Add(("nbdcopy over TLS", () => NbdCopyAsync(bench, source, stop)));
        for (var round = 0; round < bench.Options.Rounds; round++)
            foreach (var (name, run) in Bench.InTurn(contestants, round))
            {
                var (seconds, cpu) = await run();
                Console.Error.WriteLine($"initial replication: round {round + 1}, {name}: {seconds:0.00} s, {cpu:0.00} s of CPU");
                bench.Results.Add("initial replication to durable", "s", name, seconds);
                bench.Results.Add("initial replication, CPU of both ends", "s/GiB", name, cpu * (1 << 30) / bench.Options.DiskBytes);
            }
        File.Delete(source);
    }

    private static async Task<(double, double)> OursAsync(Bench bench, string source)
    {
        await using var site = await Site.StartAsync(bench);
        var (cpu, clock) = (site.CpuSeconds, Stopwatch.StartNew());
        await site.ProtectAsync("machine", source);
        var result = (clock.Elapsed.TotalSeconds, site.CpuSeconds - cpu);
        bench.Results.Add("initial replication, peak memory", "MiB", "siterecovery agent", site.Agent.PeakMebibytes);
        bench.Results.Add("initial replication, peak memory", "MiB", "siterecovery receiver", site.Receiver.PeakMebibytes);
        return result;
    }

    private static async Task<(double, double)> NbdCopyAsync(Bench bench, string source, CancellationToken stop)
    {
        var target = bench.At("copy");
        using (var file = File.OpenHandle(target, FileMode.Create, FileAccess.Write)) RandomAccess.SetLength(file, bench.Options.DiskBytes);
        await using var server = await PeerServer.StartAsync(bench, "nbdkit-tls", (socket, certificates) =>
            ("nbdkit", ["-f", "-U", socket, "--tls=require", "--tls-verify-peer", "--tls-certificates=" + certificates, "file", target]), stop);
        var (before, clock) = (server.CpuSeconds + ProcessUsage.EndedChildrenCpuSeconds(), Stopwatch.StartNew());
        using var copy = Tool.Start("nbdcopy", "--flush", source, $"nbds+unix://localhost/?socket={server.Socket}&tls-certificates={server.Certificates}");
        await copy.WaitForExitAsync(stop);
        if (copy.ExitCode != 0) throw new InvalidOperationException("nbdcopy: " + await copy.StandardError.ReadToEndAsync(stop));
        var result = (clock.Elapsed.TotalSeconds, server.CpuSeconds + ProcessUsage.EndedChildrenCpuSeconds() - before);
        File.Delete(target);
        return result;
    }
}
