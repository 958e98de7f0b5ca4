using System.Diagnostics;
using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.DataPlane.MasterTarget;
using SiteRecovery.DataPlane.Retention;
using SiteRecovery.Domain.History;
using SiteRecovery.Node.Bench;

namespace SiteRecovery.Benchmarks;

/// <summary>Segments that overwrite the same blocks go into the base: what is written there for each byte that was ingested, how long it takes, and what a stream that comes in meanwhile feels of it.</summary>
public static class Promoting
{
    private const long DiskBytes = 128L << 20, LogBytes = 768L << 20, MeanwhileBytes = 256L << 20;
    private const string Written = "promotion, bytes written to the base", Rate = "promotion, log taken in", During = "ingest of packed 4 KiB writes beside a promotion", Delay = During + ": from the offer until it is durable";
    private const string Beside = "siterecovery store, promoting", Alone = "the same store, not promoting";
    private static readonly RetentionLimits Limits = new(TimeSpan.FromSeconds(1), null);

    /// <param name="BlockOf">Draws the number of the block that a write goes to.</param>
    private sealed record Load(string Name, int WriteBytes, Func<Random, long> BlockOf);

    private static readonly Load[] Loads =
    [
        new("4 KiB, the whole disk six times over", 4096, r => r.NextInt64(DiskBytes / 4096)),
        new("4 KiB, nine of ten writes to a tenth of the disk", 4096, r => r.NextInt64(r.Next(10) > 0 ? DiskBytes / 4096 / 10 : DiskBytes / 4096)),
        new("64 KiB, the whole disk six times over", 64 << 10, r => r.NextInt64(DiskBytes / (64 << 10))),
    ];

    public static async Task RunAsync(Bench bench, CancellationToken stop)
    {
        await CalmRounds.RunAsync(bench, "promotion", (results, _) =>
        {
            foreach (var load in Loads) Promote(bench, results, load, stop);
            return Task.CompletedTask;
        }, stop);
        foreach (var load in Loads) bench.Report.Target($"{Written}, {load.Name}", Written + ", " + load.Name, "siterecovery", "the bytes ingested", 1, atLeast: false);
        await CalmRounds.RunAsync(bench, During, async (results, round) =>
        {
            foreach (var promoting in Bench.InTurn([true, false], round)) await MeanwhileAsync(bench, results, promoting, stop);
        }, stop);
        bench.Report.Text("Promotion: bytes written to `base/`, checksums with them, beside the bytes of the segments that went into it, a log of 768 MiB over a disk of 128 MiB. Beside it, a stream of 256 MiB of packed 4 KiB writes into a store that promotes such a log at the same time, and into one that does not.");
    }

    private static void Promote(Bench bench, Measurements results, Load load, CancellationToken stop)
    {
        var (folder, meters) = (bench.At("promoting"), new MeteredFiles());
        var feed = new Feed(new MachineId("machine"), new DiskGeometry(0, "disk", DiskBytes), TimeSpan.FromSeconds(1));
        using (var store = RetentionStore.Create(folder, feed.Machine, [feed.Disk], Epoch.First, meters, TimeProvider.System))
        {
            Fill(store, feed, load);
            store.Maintain(null, stop);
            var (before, began) = (store.Bytes, Stopwatch.GetTimestamp());
            store.Maintain(Limits, stop);
            var (elapsed, promoted) = (Stopwatch.GetElapsedTime(began), before - store.Bytes);
            if (promoted < LogBytes / 2) throw new InvalidOperationException($"only {promoted} bytes were promoted");
            results.Add($"{Written}, {load.Name}", "MiB", "siterecovery", meters.Of("base").BytesWritten / 1048576.0);
            results.Add($"{Written}, {load.Name}", "MiB", "the bytes ingested", promoted / 1048576.0);
            results.Add(Rate, "MB/s", load.Name, promoted / elapsed.TotalSeconds / 1e6, moreIsBetter: true);
        }
        Directory.Delete(folder, recursive: true);
    }

    private static void Fill(RetentionStore store, Feed feed, Load load)
    {
        var payload = Feed.Payload(Feed.PackedBytes, compressible: false);
        store.Append(feed.Start());
        for (var left = LogBytes; left > 0; left -= Feed.PackedBytes) store.Append(feed.Scattered(load.WriteBytes, payload, load.BlockOf));
        store.Append(feed.Point());
        store.Flush();
    }

    private static async Task MeanwhileAsync(Bench bench, Measurements results, bool promoting, CancellationToken stop)
    {
        var (root, delays) = (bench.At("meanwhile"), new Delays());
        var feed = new Feed(new MachineId("machine"), new DiskGeometry(0, "disk", DiskBytes), TimeSpan.FromSeconds(1));
        await using (var receiver = new StoreReceiver(root, new MeteredFiles(), TimeProvider.System))
        {
            receiver.Hold(feed.Machine, [feed.Disk], Epoch.First);
            var store = receiver.StoreOf(feed.Machine);
            Fill(store, feed, Loads[0]);
            store.Maintain(null, stop);
            var payload = Feed.Payload(Feed.PackedBytes, compressible: false);
            var batches = new List<Batch>();
            for (var left = MeanwhileBytes; left > 0; left -= Feed.PackedBytes) batches.Add(feed.Scattered(4096, payload));
            await using var session = await DurableUpTo.OpenAsync(receiver, feed, delays, stop);
            GC.Collect();
            using var enough = CancellationTokenSource.CreateLinkedTokenSource(stop);
            var maintaining = promoting ? Task.Run(() => store.Maintain(Limits, enough.Token), stop) : Task.CompletedTask;
            var began = Stopwatch.GetTimestamp();
            await session.SendAsync(batches, stop);
            var elapsed = Stopwatch.GetElapsedTime(began);
            await enough.CancelAsync();
            await maintaining;
            results.Add(During, "MB/s", promoting ? Beside : Alone, MeanwhileBytes / elapsed.TotalSeconds / 1e6, moreIsBetter: true);
            foreach (var (what, share) in ((string, double)[])[("median", 0.5), ("99th percentile", 0.99)]) results.Add(Delay, "ms", $"{(promoting ? Beside : Alone)}, {what}", delays.Quantile(share));
        }
        Directory.Delete(root, recursive: true);
    }
}
