using System.Diagnostics;
using System.Net.Sockets;
using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.DataPlane.Nbd;
using SiteRecovery.DataPlane.Retention;
using SiteRecovery.DataPlane.Storage;
using SiteRecovery.Domain.History;
using SiteRecovery.Node.Bench;

namespace SiteRecovery.Benchmarks;

/// <summary>
/// A view of the newest position, read from its beginning to its end and at random, beside the same reads of raw files with the same bytes. Before each the kernel is made to forget the files, and each
/// view is a new one: everything comes from the disk and is checked.
/// </summary>
public static class ViewReads
{
    private const int ReadBytes = 1 << 20, RandomReads = 500, SampleFrames = 64;
    private const string Buffered = "fio, buffered", Direct = "fio, direct", Base = "a view of the promoted base", RandomFigure = "random 4 KiB read, one after the other";

    /// <param name="Scattered">A twentieth of it was overwritten since in 4 KiB writes all over the disk.</param>
    private sealed record Content(string Name, bool Compressed, bool Scattered);

    private static readonly Content[] Contents =
        [new("data as it is", Compressed: false, Scattered: false), new("compressed frames, 4 to 1", Compressed: true, Scattered: false), new("data as it is, 5 % overwritten in 4 KiB writes", Compressed: false, Scattered: true)];

    public static async Task RunAsync(Bench bench, CancellationToken stop)
    {
        if (!Tool.Have(bench, "reading views", "fio")) return;
        var bytes = Math.Min(bench.Options.DiskBytes, 512L << 20) / ReadBytes * ReadBytes;
        var raw = bench.At("raw");
        foreach (var content in Contents)
        {
            var folder = bench.At("view");
            using (var store = Fill(folder, raw, content, bytes))
            {
                await CalmRounds.RunAsync(bench, NameOf(content), (results, _) => SequentialAsync(bench, results, store, raw, content, bytes, stop), stop);
                await CalmRounds.RunAsync(bench, $"{RandomFigure}, {content.Name}", (results, _) => RandomAsync(results, store, raw, content, bytes, stop), stop);
                if (content is { Compressed: false, Scattered: false }) await PromotedAsync(bench, store, raw, bytes, stop);
            }
            Directory.Delete(folder, recursive: true);
            var name = NameOf(content);
            if (!content.Scattered)
                foreach (var limit in new[] { Buffered, Direct }) bench.Report.Target(name, name, Ours, limit, 0.7, atLeast: true);
        }
        File.Delete(raw);
        bench.Report.Text("Views: 1 MiB reads, one after the other, of a view that nobody has read before; the limit is fio with the same reads of a raw file of the same bytes, through the page cache, which it has the kernel forget first, and past it. Through NBD four reads are under way.");
    }

    private const string Ours = "siterecovery view";

    private static string NameOf(Content content) => $"view, sequential read, {content.Name}";

    private static RetentionStore Fill(string folder, string raw, Content content, long bytes)
    {
        var feed = new Feed(new MachineId("machine"), new DiskGeometry(0, "disk", bytes), TimeSpan.FromSeconds(1));
        var store = RetentionStore.Create(folder, feed.Machine, [feed.Disk], Epoch.First, RealFileSystem.Instance, TimeProvider.System);
        store.Append(feed.Start());
        using (var file = File.OpenHandle(raw, FileMode.Create, FileAccess.Write))
        {
            for (long at = 0; at < bytes; at += Feed.PackedBytes)
            {
                var payload = Feed.Payload(Feed.PackedBytes, content.Compressed, seed: (int)(at >> 20));
                RandomAccess.Write(file, payload, at);
                var batch = feed.Write(at, payload);
                store.Append(content.Compressed ? BatchCodec.Compress(batch, PayloadCompression.Zstd) : batch);
            }
            RandomAccess.FlushToDisk(file);
        }
        if (content.Scattered)
            for (var left = bytes / 20; left > 0; left -= Feed.PackedBytes) store.Append(feed.Scattered(4096, Feed.Payload(Feed.PackedBytes, compressible: false)));
        store.Append(feed.Point());
        store.Flush();
        store.Maintain(null, CancellationToken.None);
        return store;
    }

    private static StoreView Cold(RetentionStore store)
    {
        PageCache.Forget(store.Folder);
        return store.At(store.ConsistentUpTo!);
    }

    private static async Task SequentialAsync(Bench bench, Measurements results, RetentionStore store, string raw, Content content, long bytes, CancellationToken stop)
    {
        var view = Cold(store);
        var cpu = Environment.CpuUsage.TotalTime;
        var ours = ReadAll(view.File(0), bytes);
        cpu = Environment.CpuUsage.TotalTime - cpu;
        view.Release();
        var (buffered, direct) = (await Fio.ReadAsync(raw, bytes, direct: false, stop), await Fio.ReadAsync(raw, bytes, direct: true, stop));
        view = Cold(store);
        var served = await ServedAsync(bench, view.Disk(0), bytes, stop);
        view.Release();
        PageCache.Forget(raw);
        using var file = RealFileSystem.Instance.Open(raw, FileOpening.Read);
        var servedRaw = await ServedAsync(bench, new FileDevice(file, readOnly: true), bytes, stop);
        var name = NameOf(content);
        foreach (var (contestant, rate) in new[] { (Ours, ours), (Buffered, buffered), (Direct, direct) }) results.Add(name, "MB/s", contestant, rate, moreIsBetter: true);
        results.Add(name + ": stages", "s/GiB", "CPU of all of it, the kernel's too", cpu.TotalSeconds / bytes * (1 << 30));
        Profile(results, name + ": stages", content);
        foreach (var (contestant, rate) in new[] { (Ours, served), ("a raw file, by the same server", servedRaw) }) results.Add(name + ", through NBD", "MB/s", contestant, rate, moreIsBetter: true);
    }

    /// <summary>What the processor does with a frame once it is in memory.</summary>
    private static void Profile(Measurements results, string figure, Content content)
    {
        var feed = new Feed(new MachineId("machine"), new DiskGeometry(0, "disk", Feed.PackedBytes), TimeSpan.FromSeconds(1));
        var batch = feed.Write(0, Feed.Payload(Feed.PackedBytes, content.Compressed));
        if (content.Compressed) batch = BatchCodec.Compress(batch, PayloadCompression.Zstd);
        var (raw, frame) = (new byte[Feed.PackedBytes], batch.Frame);
        Stage("checksum of the frame", () => BatchCodec.Verify(frame));
        Stage(content.Compressed ? "decompression, and checksum of what comes out" : "copy, and checksum of the data", () => BatchCodec.Decompress(batch, raw));

        void Stage(string name, Action work)
        {
            var cpu = Environment.CpuUsage.TotalTime;
            for (var n = 0; n < SampleFrames; n++) work();
            results.Add(figure, "s/GiB", name, (Environment.CpuUsage.TotalTime - cpu).TotalSeconds / SampleFrames * (1 << 30) / Feed.PackedBytes);
        }
    }

    private static double ReadAll(IBlockFile file, long bytes)
    {
        var into = new byte[ReadBytes];
        var began = Stopwatch.GetTimestamp();
        for (long at = 0; at < bytes; at += ReadBytes) file.Read(at, into);
        return bytes / Stopwatch.GetElapsedTime(began).TotalSeconds / 1e6;
    }

    private static async Task<double> ServedAsync(Bench bench, IBlockDevice disk, long bytes, CancellationToken stop)
    {
        var (exports, socket) = (new NbdExports(), bench.At("view.sock"));
        File.Delete(socket);
        exports.Add(new NbdExport("view", disk, ""));
        await using var server = new NbdServer(exports, new NbdServerOptions(), TimeProvider.System);
        server.Listen(new UnixDomainSocketEndPoint(socket));
        return await Fio.ReadNbdAsync($"nbd+unix:///view?socket={socket}", bytes, stop);
    }

    private static async Task RandomAsync(Measurements results, RetentionStore store, string raw, Content content, long bytes, CancellationToken stop)
    {
        var view = Cold(store);
        var first = RandomRead(view.File(0), bytes, seed: 1001);
        PageCache.Forget(store.Folder);
        var again = RandomRead(view.File(0), bytes, seed: 1002);
        view.Release();
        PageCache.Forget(raw);
        using var file = RealFileSystem.Instance.Open(raw, FileOpening.Read);
        var plain = RandomRead(file, bytes, seed: 1001);
        var fio = await Fio.RandomReadAsync(raw, bytes, RandomReads, stop);
        foreach (var (contestant, microseconds) in new[] { ("a raw file, from here", plain), (Buffered, fio), ($"siterecovery view, {content.Name}, never read before", first), ($"siterecovery view, {content.Name}, its frames checked before", again) })
            if (!content.Compressed && !content.Scattered || contestant.StartsWith("siterecovery", StringComparison.Ordinal)) results.Add(RandomFigure, "µs", contestant, microseconds);
    }

    /// <summary>What the log held, from the base: the oldest segments but the last, in which the last position lies.</summary>
    private static async Task PromotedAsync(Bench bench, RetentionStore store, string raw, long bytes, CancellationToken stop)
    {
        store.Maintain(new RetentionLimits(TimeSpan.FromSeconds(1), 0), stop);
        var inBase = store.OldestPoint!;
        const string Name = "view of the promoted base, sequential read";
        bench.Report.Target(Name, Name, Ours, Buffered, 0.7, atLeast: true);
        await CalmRounds.RunAsync(bench, Name, async (results, _) =>
        {
            var promoted = inBase.Sequence.Value * Feed.PackedBytes; // a write each
            PageCache.Forget(store.Folder);
            var file = store.At(inBase).File(0);
            results.Add(RandomFigure, "µs", Base, RandomRead(file, promoted, seed: 1001));
            PageCache.Forget(store.Folder);
            var ours = ReadAll(store.At(inBase).File(0), promoted);
            results.Add(Name, "MB/s", Ours, ours, moreIsBetter: true);
            results.Add(Name, "MB/s", Buffered, await Fio.ReadAsync(raw, promoted, direct: false, stop), moreIsBetter: true);
        }, stop);
    }

    private static double RandomRead(IBlockFile file, long bytes, int seed)
    {
        var (into, random) = (new byte[4096], new Random(seed));
        var began = Stopwatch.GetTimestamp();
        for (var n = 0; n < RandomReads; n++) file.Read(random.NextInt64(bytes / 4096) * 4096, into);
        return Stopwatch.GetElapsedTime(began).TotalMicroseconds / RandomReads;
    }
}
