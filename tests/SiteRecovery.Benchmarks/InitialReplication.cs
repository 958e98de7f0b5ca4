using System.Diagnostics;
using System.Globalization;
using System.Net;
using System.Net.Sockets;
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
        var port = FreePort();
        await using var server = await PeerServer.StartAsync(bench, "nbdkit-tls", (ready, certificates) =>
            ("nbdkit", ["-f", "-i", "127.0.0.1", "-p", port, "-P", ready, "--tls=require", "--tls-verify-peer", "--tls-certificates=" + certificates, "file", target]), stop);
        var (before, clock) = (server.CpuSeconds + ProcessUsage.EndedChildrenCpuSeconds(), Stopwatch.StartNew());
        using var copy = Tool.Start("nbdcopy", "--flush", source, $"nbds://localhost:{port}/?tls-certificates={server.Certificates}");
        await copy.WaitForExitAsync(stop);
        if (copy.ExitCode != 0) throw new InvalidOperationException("nbdcopy: " + await copy.StandardError.ReadToEndAsync(stop));
        var result = (clock.Elapsed.TotalSeconds, server.CpuSeconds + ProcessUsage.EndedChildrenCpuSeconds() - before);
        File.Delete(target);
        return result;
    }

    internal static string FreePort()
    {
        using var probe = new TcpListener(IPAddress.Loopback, 0);
        probe.Start();
        return ((IPEndPoint)probe.LocalEndpoint).Port.ToString(CultureInfo.InvariantCulture);
    }
}
