using System.Diagnostics;
using SiteRecovery.DataPlane.Storage;
using SiteRecovery.Node.Bench;

namespace SiteRecovery.Benchmarks;

/// <summary>
/// The same changes of a disk, kept as a point each and restored to a raw file: by the store, by QEMU's snapshots inside and outside of a qcow2 image, and by restic. Every restored file is compared with the
/// disk as it was.
/// </summary>
public static class KeepingPoints
{
    private const int Points = 4, Restored = 2, ScatteredWrites = 2048, Runs = 8, WriteBytes = 4096, RunBytes = 1 << 20;

    /// <param name="Offset">In bytes.</param>
    internal sealed record Change(long Offset, byte[] Data);

    public static async Task RunAsync(Bench bench, CancellationToken stop)
    {
        var diskBytes = Math.Min(bench.Options.DiskBytes, 256L << 20);
        var (disk, expected, restored) = (bench.At("disk"), bench.At("expected"), bench.At("restored"));
        SampleDisk.Create(disk, diskBytes);
        var keepers = new List<IPointKeeper> { new StoreKeeper(bench.At("kept-store"), disk) };
        if (Tool.Have(bench, "keeping points: QEMU's snapshots", "qemu-img", "qemu-nbd")) keepers.AddRange([new InternalSnapshots(bench, disk), new ExternalSnapshots(bench, disk)]);
        if (Tool.Have(bench, "keeping points: restic", "restic")) keepers.Add(new Restic(bench, disk));
        foreach (var keeper in keepers) await keeper.BeginAsync(stop);
        var spaceAtFirst = keepers.ToDictionary(k => k.Name, k => k.SpaceBytes);
        for (var point = 0; point < Points; point++)
        {
            var changes = Changes(diskBytes, seed: point).ToList();
            foreach (var keeper in Bench.InTurn(keepers, point)) await KeepAsync(bench, keeper, changes, point, stop);
            Apply(disk, changes);
            if (point == Restored) File.Copy(disk, expected);
        }
        foreach (var keeper in keepers) bench.Results.Add($"space of {Points} points beyond the first full copy", "MiB", keeper.Name, (keeper.SpaceBytes - spaceAtFirst[keeper.Name]) / 1048576.0);
        for (var round = 0; round < bench.Options.Rounds; round++)
            foreach (var keeper in Bench.InTurn(keepers, round)) await RestoreAsync(bench, keeper, restored, expected, prove: round == 0, stop);
        foreach (var keeper in keepers) await keeper.DisposeAsync();
        foreach (var file in new[] { disk, expected }) File.Delete(file);
        bench.Report.Text($"Keeping points: a disk of {diskBytes >> 20} MiB, {Points} times {ScatteredWrites} writes of 4 KiB all over it and {Runs} of 1 MiB, half of all random, half compressible. Written: until the changes are durable. Kept: from there until the point is. The store is given them as batches that it has to encode and compress (zstd); the images through qemu-nbd; restic reads the whole disk, in which they are made first. Restored: to a raw file, durable, from the disk, and compared.");
    }

    private static async Task KeepAsync(Bench bench, IPointKeeper keeper, List<Change> changes, int point, CancellationToken stop)
    {
        var began = Stopwatch.GetTimestamp();
        double Elapsed() => Stopwatch.GetElapsedTime(began).TotalSeconds;
        await keeper.OpenAsync(stop);
        began = Stopwatch.GetTimestamp();
        await keeper.WriteAsync(changes, stop);
        bench.Results.Add("keeping a point: its changes written", "s", keeper.Name, Elapsed());
        await keeper.CloseAsync(stop);
        began = Stopwatch.GetTimestamp();
        await keeper.KeepAsync(point, stop);
        bench.Results.Add("keeping a point: kept", "s", keeper.Name, Elapsed());
    }

    private static async Task RestoreAsync(Bench bench, IPointKeeper keeper, string restored, string expected, bool prove, CancellationToken stop)
    {
        File.Delete(restored);
        keeper.ForgetPages();
        var began = Stopwatch.GetTimestamp();
        await keeper.RestoreAsync(Restored, restored, stop);
        using (var file = RealFileSystem.Instance.Open(restored, FileOpening.ReadWrite)) file.Flush();
        bench.Results.Add("restoring a point to a raw file", "s", keeper.Name, Stopwatch.GetElapsedTime(began).TotalSeconds);
        if (prove) await Tool.RunAsync("cmp", [expected, restored], stop);
        File.Delete(restored);
    }

    private static IEnumerable<Change> Changes(long diskBytes, int seed)
    {
        var random = new Random(1000 + seed);
        byte[] Data(int bytes, bool compressible)
        {
            var data = new byte[bytes];
            if (compressible) SampleDisk.FillCompressible(data, random);
            else random.NextBytes(data);
            return data;
        }
        for (var n = 0; n < ScatteredWrites; n++) yield return new Change(random.NextInt64(diskBytes / WriteBytes) * WriteBytes, Data(WriteBytes, n % 2 == 0));
        for (var n = 0; n < Runs; n++) yield return new Change(random.NextInt64(diskBytes / RunBytes) * RunBytes, Data(RunBytes, n % 2 == 0));
    }

    internal static void Apply(string path, List<Change> changes)
    {
        using var file = RealFileSystem.Instance.Open(path, FileOpening.ReadWrite);
        foreach (var change in changes) file.Write(change.Offset, change.Data);
        file.Flush();
    }
}
