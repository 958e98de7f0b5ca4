using System.Diagnostics;
using System.Globalization;
using SiteRecovery.Node.Bench;

namespace SiteRecovery.Benchmarks;

/// <summary>5 % of the blocks changed all over the disk: found by our bitmap, found by hashes, by QEMU's bitmaps, and by rsync.</summary>
public static class Delta
{
    private const double Share = 0.05;
    private const string Figure = "delta of 5 % scattered blocks", CpuFigure = Figure + ", CPU of both ends";

    public static async Task RunAsync(Bench bench, CancellationToken stop)
    {
        var (source, copy) = (bench.At("delta-source"), bench.At("delta-copy"));
        SampleDisk.Create(source, bench.Options.DiskBytes);
        var rsync = Tool.Have(bench, "delta: rsync", "rsync");
        if (rsync) File.Copy(source, copy);
        await using var qemu = Tool.Have(bench, "delta: QEMU's dirty bitmaps", "qemu-storage-daemon", "nbdkit", "nbdinfo") ? await QemuRounds.StartAsync(bench, source, stop) : null;
        bench.Results.Note("delta: bdsync is not in Debian 12; rsync stands in for it");
        await using (var site = await Site.StartAsync(bench))
        {
            await site.ProtectAsync("machine", source);
            for (var round = 0; round < bench.Options.Rounds; round++)
            {
                await site.Agent.AskAsync("pause", "machine");
                await ScatterAsync(site, 2 * round);
                await TimedAsync(bench, "siterecovery, by bitmap", () => site.CpuSeconds, () => ResumeAsync(site));
                if (qemu is not null) await qemu.RunAsync(round, stop);
                if (rsync) await TimedAsync(bench, "rsync, local, in place", ProcessUsage.EndedChildrenCpuSeconds, () => RsyncAsync(source, copy, stop));
                await site.Agent.AskAsync("pause", "machine");
                await ScatterAsync(site, 2 * round + 1);
                await site.Agent.AskAsync("unsynced", "machine");
                await TimedAsync(bench, "siterecovery, by hash", () => site.CpuSeconds, () => ResumeAsync(site));
                if (rsync) await RsyncAsync(source, copy, stop);
            }
        }
        if (qemu is not null) await qemu.ProveEqualAsync(stop);
        File.Delete(source);
        File.Delete(copy);
    }

    /// <summary>To what is durable at the end.</summary>
    internal static async Task TimedAsync(Bench bench, string name, Func<double> cpuSeconds, Func<Task> run)
    {
        var (cpu, clock) = (cpuSeconds(), Stopwatch.StartNew());
        await run();
        var seconds = clock.Elapsed.TotalSeconds;
        bench.Results.Add(Figure, "s", name, seconds);
        bench.Results.Add(CpuFigure, "s", name, cpuSeconds() - cpu);
        Console.Error.WriteLine(string.Create(CultureInfo.InvariantCulture, $"delta: {name}: {seconds:0.00} s"));
    }

    private static Task<string> ScatterAsync(Site site, int seed) => site.Agent.AskAsync("scatter", "machine", Share.ToString(CultureInfo.InvariantCulture), $"{seed}");

    private static async Task ResumeAsync(Site site)
    {
        await site.Agent.AskAsync("resume", "machine");
        await site.Agent.AskAsync("durable", "machine");
        await site.Receiver.AskAsync("point", "machine");
    }

    private static Task<string> RsyncAsync(string source, string copy, CancellationToken stop) =>
        Tool.RunAsync("rsync", ["--ignore-times", "--inplace", "--no-whole-file", "--fsync", source, copy], stop);

    /// <summary>The same disk with the same changes in QEMU, and two copies that its two ways keep.</summary>
    private sealed class QemuRounds : IAsyncDisposable
    {
        private readonly Bench _bench;
        private readonly QemuDisk _qemu;
        private readonly PeerServer _target;
        private readonly int _port;

        private QemuRounds(Bench bench, QemuDisk qemu, PeerServer target, int port) => (_bench, _qemu, _target, _port) = (bench, qemu, target, port);

        private static string Disk(Bench bench) => bench.At("qemu-source");
        private static string BackupCopy(Bench bench) => bench.At("qemu-backup");
        private static string PullCopy(Bench bench) => bench.At("qemu-pull");

        internal static async Task<QemuRounds> StartAsync(Bench bench, string source, CancellationToken stop)
        {
            foreach (var path in new[] { Disk(bench), BackupCopy(bench), PullCopy(bench) }) File.Copy(source, path);
            var port = InitialReplication.FreePort();
            var target = await PeerServer.StartAsync(bench, "qemu-target", (ready, certificates) =>
                ("nbdkit", ["-f", "-i", "127.0.0.1", "-p", port, "-P", ready, "--tls=require", "--tls-verify-peer", "--tls-certificates=" + certificates, "file", BackupCopy(bench)]), stop);
            bench.Results.Note("delta: QEMU's backup job writes over TLS to nbdkit; its pull is nbdinfo's map of an exported bitmap and our NBD client over TLS, 16 reads in flight, into a file; the CPU of the pull has the reader's in it");
            return new QemuRounds(bench, await QemuDisk.StartAsync(bench, Disk(bench), stop), target, int.Parse(port, CultureInfo.InvariantCulture));
        }

        internal async Task RunAsync(int round, CancellationToken stop)
        {
            await _qemu.ScatterAsync(Share, 2 * round, stop);
            await TimedAsync(_bench, "QEMU blockdev-backup", () => _qemu.CpuSeconds + _target.CpuSeconds, async () =>
            {
                await _qemu.BackupAsync(_port, stop);
                Flush(BackupCopy(_bench));
            });
            await TimedAsync(_bench, "QEMU bitmap, pulled", () => _qemu.CpuSeconds + ProcessUsage.CpuSeconds(Environment.ProcessId) + ProcessUsage.EndedChildrenCpuSeconds(), () => _qemu.PullAsync(PullCopy(_bench), stop));
        }

        /// <exception cref="InvalidOperationException">A peer was quick because it copied too little.</exception>
        internal async Task ProveEqualAsync(CancellationToken stop)
        {
            await _qemu.ScatterAsync(0, 0, stop); // flushes
            foreach (var copy in new[] { BackupCopy(_bench), PullCopy(_bench) }) await Tool.RunAsync("cmp", [Disk(_bench), copy], stop);
        }

        private static void Flush(string path)
        {
            using var file = File.OpenHandle(path, FileMode.Open, FileAccess.ReadWrite);
            RandomAccess.FlushToDisk(file);
        }

        public async ValueTask DisposeAsync()
        {
            await _qemu.DisposeAsync();
            await _target.DisposeAsync();
            foreach (var path in new[] { Disk(_bench), BackupCopy(_bench), PullCopy(_bench) }) File.Delete(path);
        }
    }
}
