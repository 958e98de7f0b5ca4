using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.DataPlane.Export;
using SiteRecovery.DataPlane.Nbd;
using SiteRecovery.DataPlane.Storage;

namespace SiteRecovery.DataPlane.Tests.Export;

public sealed class OverlayFileTests : IDisposable
{
    private const int DiskBytes = (1 << 20) + 5 * 512; // the last cluster is cut short
    private static readonly Guid Boot = new(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11), NextBoot = new(2, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11);
    private readonly string _folder = Directory.CreateTempSubdirectory("overlay").FullName;
    private readonly byte[] _below = new byte[DiskBytes];
    private readonly CancellationTokenSource _deadline = new(TimeSpan.FromSeconds(30));

    public OverlayFileTests() => new Random(7).NextBytes(_below);

    public void Dispose()
    {
        _deadline.Dispose();
        Directory.Delete(_folder, recursive: true);
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    public void It_equals_the_model_also_when_the_process_was_killed_without_a_flush(int seed)
    {
        var (model, random, written) = (_below.ToArray(), new Random(seed), new bool[Clusters(DiskBytes)]);
        for (var life = 0; life < 6; life++)
        {
            var disk = Open(); // never disposed: a killed process disposes nothing
            Assert.Equal(model, Read(disk));
            for (var i = 0; i < (life == 0 ? 3 : 12); i++)
            {
                Change(disk, model, random, written);
                var (offset, length) = (random.Next(DiskBytes - 20000), random.Next(1, 20000));
                var read = new byte[length];
                disk.Read(offset, read);
                Assert.Equal(model[offset..(offset + length)], read);
            }
            AssertWrittenRuns(written, disk);
            if (random.Next(3) == 0) disk.Flush();
        }
        using var last = Open();
        Assert.Equal(model, Read(last));
        AssertWrittenRuns(written, last);
    }

    [Fact]
    public void After_another_boot_only_what_was_flushed_counts()
    {
        var (model, random) = (_below.ToArray(), new Random(4));
        var disk = Open();
        disk.Write(8192 + 100, new byte[50]);
        model.AsSpan(8192 + 100, 50).Clear();
        disk.Flush();
        disk.Write(65536, new byte[5000]);
        var afterPowerLoss = Open(NextBoot);
        Assert.Equal(model, Read(afterPowerLoss));
        Assert.Equal([(8192L, 4096L)], afterPowerLoss.WrittenRuns());
        // The garbage that the lost write left in the data file must not show through a partial write, nor through zeroes.
        Change(afterPowerLoss, model, random);
        afterPowerLoss.Zero(65536 + 1000, 10);
        model.AsSpan(65536 + 1000, 10).Clear();
        using var killed = Open(NextBoot);
        Assert.Equal(model, Read(killed));
    }

    [Fact]
    public async Task Concurrent_writes_to_one_cluster_do_not_tear_each_other()
    {
        await using var disk = new FileDevice(new OverlayFile(new PatternFile(_below) { Slow = true }, Path.Combine(_folder, "vda"), RealFileSystem.Instance, Boot), readOnly: false);
        var model = _below.ToArray();
        await Task.WhenAll(Enumerable.Range(0, DiskBytes / 512).OrderBy(n => n * 7919 % 2053).Select(sector => Task.Run(async () =>
        {
            if (sector % 5 == 0) return;
            var data = Enumerable.Repeat((byte)sector, 512).ToArray();
            if (sector % 7 == 0) data.AsSpan().Clear();
            if (sector % 7 == 0) await disk.WriteZeroesAsync(sector * 512, 512, true, false, _deadline.Token);
            else await disk.WriteAsync(sector * 512, data, sector % 64 == 1, _deadline.Token);
            data.CopyTo(model.AsSpan(sector * 512));
        })));
        var read = new byte[DiskBytes];
        await disk.ReadAsync(0, read, _deadline.Token);
        Assert.Equal(model, read);
    }

    [Fact]
    public async Task Trimmed_ranges_take_no_space_and_are_reported_as_holes()
    {
        await using var disk = new FileDevice(Open(), readOnly: false);
        await disk.WriteAsync(0, new byte[4096], false, _deadline.Token);
        await disk.WriteZeroesAsync(16384, 65536, true, false, _deadline.Token);
        var status = await disk.StatusAsync(0, DiskBytes, _deadline.Token);
        Assert.Equal(DiskBytes, status.Sum(e => e.Length));
        Assert.Equal(65536, status.Where(e => e.Hole && e.Zero).Sum(e => e.Length));
        Assert.Equal(3, status.Count);
    }

    [Fact]
    public void Written_runs_are_whole_clusters_and_at_most_a_mebibyte_long()
    {
        using var disk = Open();
        Assert.Empty(disk.WrittenRuns());
        disk.Write(DiskBytes - 1, new byte[1]);
        disk.Zero(5000, 1);
        Assert.Equal([(4096L, 4096L), (1L << 20, DiskBytes - (1L << 20))], disk.WrittenRuns());
        disk.Write(0, new byte[DiskBytes]);
        Assert.Equal([(0L, 1L << 20), (1L << 20, DiskBytes - (1L << 20))], disk.WrittenRuns());
    }

    [Fact]
    public void It_keeps_within_the_disk_below()
    {
        using var disk = Open();
        Assert.Throws<NotSupportedException>(() => disk.SetLength(DiskBytes + 512));
        Assert.Throws<ArgumentOutOfRangeException>(() => disk.Write(DiskBytes - 511, new byte[512]));
        Assert.Throws<ArgumentOutOfRangeException>(() => disk.Zero(DiskBytes, 1));
        var read = Enumerable.Repeat((byte)1, 1024).ToArray();
        disk.Read(DiskBytes - 512, read);
        Assert.Equal([.. _below[^512..], .. new byte[512]], read);
        Assert.Empty(disk.WrittenRuns());
    }

    [Fact]
    public void Files_of_another_disk_or_without_their_map_are_refused_and_not_touched()
    {
        Open().Dispose();
        Assert.Throws<InvalidDataException>(() => new OverlayFile(new PatternFile(new byte[4096]), Path.Combine(_folder, "vda"), RealFileSystem.Instance));
        Assert.Equal(DiskBytes, new FileInfo(Path.Combine(_folder, "vda.data")).Length);
        File.Delete(Path.Combine(_folder, "vda.map"));
        Assert.Throws<InvalidDataException>(() => Open());
    }

    private OverlayFile Open(Guid? boot = null) => new(new PatternFile(_below), Path.Combine(_folder, "vda"), RealFileSystem.Instance, boot ?? Boot);

    private static void Change(OverlayFile disk, byte[] model, Random random, bool[]? written = null)
    {
        var data = new byte[random.Next(1, random.Next(4) > 0 ? 9000 : 400_000)];
        var offset = random.Next(DiskBytes - data.Length + 1);
        if (random.Next(3) == 0) disk.Zero(offset, data.Length);
        else
        {
            random.NextBytes(data);
            disk.Write(offset, data);
        }
        if (random.Next(9) == 0) disk.Flush();
        data.CopyTo(model, offset);
        written?.AsSpan((offset / 4096)..Clusters(offset + data.Length)).Fill(true);
    }

    private static int Clusters(int bytes) => (bytes + 4095) / 4096;

    private static void AssertWrittenRuns(bool[] expected, OverlayFile disk)
    {
        var (written, end, full) = (new bool[expected.Length], -1L, false);
        foreach (var (offset, length) in disk.WrittenRuns())
        {
            Assert.True(offset > end || full, "neighbours are one run");
            full = length == 1 << 20;
            written.AsSpan(((int)offset / 4096)..Clusters((int)(end = offset + length))).Fill(true);
        }
        Assert.Equal(expected, written);
    }

    private static byte[] Read(OverlayFile disk)
    {
        var read = new byte[DiskBytes];
        disk.Read(0, read);
        return read;
    }
}
