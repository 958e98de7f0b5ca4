using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.DataPlane.Retention;
using SiteRecovery.DataPlane.Storage;
using SiteRecovery.Domain.History;

namespace SiteRecovery.Benchmarks;

/// <summary>
/// A 100 GiB disk with 1, 10 and 50 GiB of 4 KiB random writes in its log, compressible so that they fit: how long until a view of the newest and of a middle position
/// gives its first sector, from an open store and from a directory, and what memory that takes.
/// </summary>
public static class Views
{
    private const int ExtentBytes = 4096, ExtentsPerFrame = 256;
    private const long DiskBytes = 100L << 30;
    private static readonly long[] LogBytes = [1L << 30, 10L << 30, 50L << 30];
    private static readonly MachineId Machine = new("machine");

    public static Task RunAsync(Bench bench, CancellationToken stop)
    {
        foreach (var bytes in LogBytes)
        {
            stop.ThrowIfCancellationRequested();
            var folder = bench.At("views");
            var name = $"log of {bytes >> 30} GiB, {bytes / ExtentBytes / 1e6:0.0} million extents";
            using (var store = RetentionStore.Create(folder, Machine, [new DiskGeometry(0, "vda", DiskBytes)], Epoch.First, RealFileSystem.Instance, TimeProvider.System))
                Fill(bench, store, name, bytes / ExtentBytes / ExtentsPerFrame);
            for (var round = 0; round < bench.Options.Rounds; round++) Look(bench, folder, name, new Random(round));
            Directory.Delete(folder, recursive: true);
        }
        return Task.CompletedTask;
    }

    /// <summary>A stream of random writes behind what the store has.</summary>
    internal static void Fill(Bench bench, RetentionStore store, string name, long frames)
    {
        var (random, extents, payload) = (new Random(1), new Extent[ExtentsPerFrame], new byte[ExtentsPerFrame * ExtentBytes]);
        var (ordinal, sequence, appending) = (1L, store.DurableSequence.Value, TimeSpan.Zero);
        var (incarnation, begun) = (store.Held.Incarnation + 1, store.CurrentAsOf);
        BatchHeader Header(long ordinal, long first, long last) => new()
        {
            Kind = BatchKind.Delta, MachineTag = BatchCodec.TagOf(store.Machine), Epoch = store.CurrentEpoch, Incarnation = incarnation, Ordinal = ordinal,
            First = new Sequence(first), Last = new Sequence(last), Time = begun.AddMilliseconds(ordinal),
        };
        store.Append(BatchCodec.Encode(Header(ordinal, sequence, sequence) with { Kind = BatchKind.Marker, Marker = MarkerKind.StreamStart }, [], "continue"u8));
        for (var frame = 0L; frame < frames; frame++)
        {
            for (var i = 0; i < ExtentsPerFrame; i++) extents[i] = new Extent(random.NextInt64(store.Disks[0].SizeBytes / ExtentBytes) * ExtentBytes, ExtentBytes, 0, ExtentKind.Data);
            payload[random.Next(payload.Length)]++;
            var batch = BatchCodec.Compress(BatchCodec.Encode(Header(++ordinal, sequence + 1, sequence += ExtentsPerFrame), extents, payload), PayloadCompression.Lz4);
            var began = TimeProvider.System.GetTimestamp();
            store.Append(batch);
            appending += TimeProvider.System.GetElapsedTime(began);
        }
        store.Flush();
        bench.Results.Add("append of a batch (1 MiB raw, 256 extents), mean", "µs", name, appending.TotalMicroseconds / frames);
        var mapping = TimeProvider.System.GetTimestamp();
        store.Maintain(null, CancellationToken.None);
        bench.Results.Add("maps of all segments, in the background", "s", name, TimeProvider.System.GetElapsedTime(mapping).TotalSeconds);
        bench.Results.Add("indexes and maps on disk", "MiB", name, Directory.GetFiles(Path.Combine(store.Folder, "log")).Where(f => !f.EndsWith(".seg", StringComparison.Ordinal)).Sum(f => new FileInfo(f).Length) / 1048576.0);
    }

    private static void Look(Bench bench, string folder, string name, Random random)
    {
        var began = TimeProvider.System.GetTimestamp();
        double Elapsed() => TimeProvider.System.GetElapsedTime(began).TotalMilliseconds;
        var before = GC.GetTotalMemory(forceFullCollection: true);
        began = TimeProvider.System.GetTimestamp();
        using var store = RetentionStore.Open(folder, RealFileSystem.Instance, TimeProvider.System);
        bench.Results.Add("opening the directory", "ms", name, Elapsed());
        var latest = store.ConsistentUpTo!;
        foreach (var (which, sequence) in ((string, long)[])[("newest", latest.Sequence.Value), ("middle", latest.Sequence.Value / 2)])
        {
            began = TimeProvider.System.GetTimestamp();
            var file = store.At(store.ResolvePoint(new PointSelector.ById($"e1-s{sequence}"))!).File(0);
            var sector = new byte[4096];
            file.Read(random.NextInt64(DiskBytes / 4096) * 4096, sector);
            bench.Results.Add($"first sector of a view of the {which} position", "ms", name, Elapsed());
            began = TimeProvider.System.GetTimestamp();
            for (var i = 0; i < 1000; i++) file.RunAt(random.NextInt64(DiskBytes / 4096) * 4096);
            bench.Results.Add($"finding a random 4 KiB of the {which} position, mean", "µs", name, Elapsed());
            began = TimeProvider.System.GetTimestamp();
            for (var i = 0; i < 100; i++) file.Read(random.NextInt64(DiskBytes / 4096) * 4096, sector);
            bench.Results.Add($"reading a random 4 KiB of the {which} position, mean", "µs", name, Elapsed() * 10);
        }
        bench.Results.Add("memory of the open store with two views", "MiB", name, (GC.GetTotalMemory(forceFullCollection: true) - before) / 1048576.0);
    }
}
