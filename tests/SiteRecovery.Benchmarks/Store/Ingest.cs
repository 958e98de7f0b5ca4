using System.Diagnostics;
using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.DataPlane.MasterTarget;
using SiteRecovery.Domain.History;
using SiteRecovery.Node.Bench;

namespace SiteRecovery.Benchmarks;

/// <summary>
/// Batches that are ready in memory, offered to the master target's receiver until all of them are durable, beside fio writing files of the same length in pieces of a batch's length, which
/// flushes as often as the store did in the same round.
/// </summary>
public static class Ingest
{
    private const long BytesOfAll = 384L << 20;
    private static readonly int[] MachineCounts = [1, 4];

    /// <param name="WriteBytes">Of the guest's writes.</param>
    /// <param name="PayloadBytes">Of a batch.</param>
    private sealed record Load(string Name, int WriteBytes, int PayloadBytes);

    private static readonly Load[] Loads = [new("batches of 64 KiB", 64 << 10, 64 << 10), new("4 KiB random writes, packed", 4096, Feed.PackedBytes)];

    public static async Task RunAsync(Bench bench, CancellationToken stop)
    {
        if (!Tool.Have(bench, "ingest", "fio")) return;
        foreach (var load in Loads)
            foreach (var machines in MachineCounts)
            {
                var name = $"ingest, {load.Name}, {(machines == 1 ? "1 machine" : $"{machines} machines")}";
                var streams = Enumerable.Range(0, machines).Select(n => Stream.Make(n, load, BytesOfAll / machines)).ToArray();
                await CalmRounds.RunAsync(bench, name, (results, _) => RoundAsync(bench, results, name, streams, stop), stop);
                bench.Report.Target(name, name, Ours, Limit, 0.8, atLeast: true);
            }
        bench.Report.Text("Ingest: the batches lie encoded in memory; ours verifies each, appends and flushes with group commit; the limit is fio with one file per machine, writes of a batch's length and an fdatasync after as many of them as ours made durable with one flush in that round. Both start with new files.");
    }

    private const string Ours = "siterecovery store", Limit = "fio, write and fdatasync";

    private sealed record Stream(Feed Feed, Batch[] Batches)
    {
        internal static Stream Make(int number, Load load, long bytes)
        {
            var feed = new Feed(new MachineId($"machine{number}"), new DiskGeometry(0, "disk", 8L << 30), TimeSpan.FromMilliseconds(1));
            var payload = Feed.Payload(load.PayloadBytes, compressible: false);
            var batches = new List<Batch> { feed.Start() };
            for (var left = bytes; left > 0; left -= load.PayloadBytes)
                batches.Add(feed.Scattered(load.WriteBytes, payload));
            return new Stream(feed, [.. batches]);
        }

        internal long Bytes => Batches.Sum(b => (long)b.Frame.Length);
        internal int FrameBytes => Batches[^1].Frame.Length;
    }

    private static async Task RoundAsync(Bench bench, Measurements results, string name, Stream[] streams, CancellationToken stop)
    {
        var (root, meters, bytes) = (bench.At("ingest"), new MeteredFiles(), streams.Sum(s => s.Bytes));
        TimeSpan elapsed;
        double cpu;
        var delays = new Delays();
        await using (var receiver = new StoreReceiver(root, meters, TimeProvider.System))
        {
            var sessions = await Task.WhenAll(streams.Select(s => DurableUpTo.OpenAsync(receiver, s.Feed, delays, stop)));
            GC.Collect();
            cpu = Environment.CpuUsage.TotalTime.TotalSeconds;
            var began = Stopwatch.GetTimestamp();
            await Task.WhenAll(streams.Zip(sessions, (s, session) => Task.Run(() => session.SendAsync(s.Batches, stop), stop)));
            elapsed = Stopwatch.GetElapsedTime(began);
            cpu = Environment.CpuUsage.TotalTime.TotalSeconds - cpu;
            foreach (var session in sessions) await session.DisposeAsync();
        }
        Directory.Delete(root, recursive: true);
        var log = meters.Of("log");
        var flushes = Math.Max(1, log.Flushes);
        var limit = await LimitAsync(root, streams, flushes, stop);
        results.Add(name, "MB/s", Ours, bytes / elapsed.TotalSeconds / 1e6, moreIsBetter: true);
        results.Add(name, "MB/s", Limit, limit, moreIsBetter: true);
        results.Add(name + ": written per flush", "MiB", Ours, bytes / 1048576.0 / flushes);
        results.Add(name + ": from the offer until it is durable", "ms", "median", delays.Quantile(0.5));
        results.Add(name + ": from the offer until it is durable", "ms", "99th percentile", delays.Quantile(0.99));
        Profile(results, name, streams, log, elapsed, cpu);
    }

    /// <summary>Where the time went, in seconds per GiB. Stages run beside each other, so that they do not add up to the whole.</summary>
    private static void Profile(Measurements results, string name, Stream[] streams, MeteredFiles.Meter log, TimeSpan elapsed, double cpu)
    {
        var verifying = Environment.CpuUsage.TotalTime;
        foreach (var stream in streams)
            foreach (var batch in stream.Batches) BatchCodec.Verify(batch.Frame);
        verifying = Environment.CpuUsage.TotalTime - verifying;
        var gibibytes = streams.Sum(s => s.Bytes) / (double)(1 << 30);
        foreach (var (stage, seconds) in ((string, double)[])[("the whole, by the clock", elapsed.TotalSeconds), ("checksum, CPU, measured alone", verifying.TotalSeconds), ("write (copy into the page cache)", log.Writing.TotalSeconds),
            ("flush (beside the appending)", log.Flushing.TotalSeconds), ("CPU of all of it, the kernel's too", cpu)])
            results.Add(name + ": stages", "s/GiB", stage, seconds / gibibytes);
    }

    private static async Task<double> LimitAsync(string folder, Stream[] streams, long flushes, CancellationToken stop)
    {
        Directory.CreateDirectory(folder);
        var (block, blocks) = (streams[0].FrameBytes / 4096 * 4096, streams[0].Batches.Length - 1);
        var perFlush = (int)Math.Clamp(Math.Round((double)blocks * streams.Length / flushes), 1, blocks);
        var rate = await Fio.WriteAsync(folder, (long)blocks * block, streams.Length, block, perFlush, stop);
        Directory.Delete(folder, recursive: true);
        return rate;
    }
}
