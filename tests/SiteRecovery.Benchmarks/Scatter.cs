using SiteRecovery.DataPlane.Blocks;

namespace SiteRecovery.Benchmarks;

/// <summary>Changes that lie all over a disk: a share of its 64 KiB blocks, each written with random data.</summary>
public static class Scatter
{
    public const int BlockBytes = 64 << 10;

    public static IEnumerable<long> Blocks(long diskBytes, double share, int seed)
    {
        var random = new Random(seed);
        var count = diskBytes / BlockBytes;
        // One block out of every run, so that none is met twice.
        var run = (long)(1 / share);
        for (long first = 0; first + run <= count; first += run) yield return (first + random.NextInt64(run)) * BlockBytes;
    }

    public static Task WriteAsync(IBlockDevice disk, double share, int seed) =>
        WriteAsync(disk.SizeBytes, (at, data) => disk.WriteAsync(at, data, false, CancellationToken.None).AsTask(), () => disk.FlushAsync(CancellationToken.None).AsTask(), share, seed);

    public static async Task WriteAsync(long diskBytes, Func<long, byte[], Task> write, Func<Task> flush, double share, int seed)
    {
        var (random, data) = (new Random(seed), new byte[BlockBytes]);
        foreach (var at in Blocks(diskBytes, share, seed))
        {
            random.NextBytes(data);
            await write(at, data);
        }
        await flush();
    }
}
