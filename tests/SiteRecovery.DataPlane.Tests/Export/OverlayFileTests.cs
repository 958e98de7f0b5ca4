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
    public void A_header_that_was_cut_short_when_the_next_boot_began_hides_nothing()
    {
        var model = _below.ToArray();
        using (var disk = Open())
        {
            disk.Write(8192, new byte[4096]);
            model.AsSpan(8192, 4096).Clear();
            disk.Flush();
        }
        CutHeaderShort();
        using (var next = Open(NextBoot)) Assert.Equal(model, Read(next));

        Open(NextBoot).Write(65536, new byte[4096]); // killed: it counts for this boot only, which nobody can know any more
        CutHeaderShort();
        Assert.Contains("damaged", Assert.Throws<InvalidDataException>(() => Open(NextBoot)).Message, StringComparison.Ordinal);

        void CutHeaderShort()
        {
            using var map = File.OpenHandle(Path.Combine(_folder, "vda.map"), FileMode.Open, FileAccess.Write);
            RandomAccess.Write(map, new byte[24], 24);
        }
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

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    [InlineData(4)]
    public void Flattened_between_writes_kills_and_power_losses_it_equals_the_model_and_knows_what_was_written(int seed)
    {
        var (model, random, written, boot) = (_below.ToArray(), new Random(seed), new bool[Clusters(DiskBytes)], 1);
        for (var life = 0; life < 12; life++)
        {
            var disk = Open(new Guid(boot, 0, 0, new byte[8]));
            Assert.Equal(model, Read(disk));
            AssertWrittenRuns(written, disk, whole: boot == 1);
            var at = 0L;
            for (var i = 0; i < 10; i++)
            {
                if (random.Next(2) == 0) Change(disk, model, random, written, flushes: false);
                else at = disk.FlattenFrom(at)?.Next ?? 0;
            }
            AssertWrittenRuns(written, disk, whole: boot == 1);
            if (random.Next(3) == 0) disk.Flush();
            // A power loss may keep more than was flushed, but in this test it keeps all, so that it is known what to expect: only the order of the bits is lost.
            if (random.Next(4) == 0)
            {
                boot++;
                disk.Flush();
                SetEveryFilledBit();
            }
        }
        Assert.NotEqual(1, boot);
    }

    [Fact]
    public void A_flattened_disk_is_a_raw_file_of_which_nothing_counts_as_written()
    {
        _below.AsSpan(300_000, 500_000).Clear();
        using (var disk = Open())
        {
            disk.Write(5000, new byte[10]);
            var copied = 0;
            for (var next = 0L; disk.FlattenFrom(next) is { } piece; next = piece.Next) copied += piece.Copied;
            Assert.Equal(DiskBytes, disk.FlatBytes);
            Assert.InRange(copied, DiskBytes - 550_000, DiskBytes - 4096);
            Assert.Equal([(4096L, 4096L)], disk.WrittenRuns());
            disk.Write(8192, new byte[1]);
            Assert.Equal([(4096L, 8192L)], disk.WrittenRuns());
        }
        _below.AsSpan(5000, 10).Clear();
        _below[8192] = 0;
        Assert.Equal(_below, File.ReadAllBytes(Path.Combine(_folder, "vda.data")));
        // Nothing below is read any more.
        Array.Clear(_below);
        using var again = Open();
        Assert.Equal(File.ReadAllBytes(Path.Combine(_folder, "vda.data")), Read(again));
    }

    [Fact]
    public async Task Flattening_and_writes_at_once_lose_no_write()
    {
        var (model, file) = (_below.ToArray(), new OverlayFile(new PatternFile(_below) { Slow = true }, Path.Combine(_folder, "vda"), RealFileSystem.Instance, Boot));
        await using var disk = new FileDevice(file, readOnly: false);
        var flattening = Task.Run(() =>
        {
            for (var next = 0L; file.FlattenFrom(next) is { } piece; next = piece.Next) _deadline.Token.ThrowIfCancellationRequested();
        });
        await Task.WhenAll(Enumerable.Range(0, DiskBytes / 512).OrderBy(n => n * 7919 % 2053).Where(sector => sector % 3 == 0).Select(sector => Task.Run(async () =>
        {
            var data = Enumerable.Repeat((byte)sector, 512).ToArray();
            await disk.WriteAsync(sector * 512, data, false, _deadline.Token);
            data.CopyTo(model.AsSpan(sector * 512));
        })));
        await flattening;
        Assert.Equal(DiskBytes, file.FlatBytes);
        Assert.Equal(model, Read(file));
        var all = new bool[Clusters(DiskBytes)];
        all.AsSpan().Fill(true);
        AssertWrittenRuns(all, file);
    }

    [Fact]
    public void A_layer_of_the_first_version_is_opened_and_continued()
    {
        var disk = Open();
        disk.Write(8192, new byte[100]);
        disk.Dispose();
        // As the first version left it: two bitmaps, version 1, nothing in the place of the flags.
        var (path, map) = (Path.Combine(_folder, "vda.map"), File.ReadAllBytes(Path.Combine(_folder, "vda.map"))[..(3 * 4096)]);
        map[4] = 1;
        System.Buffers.Binary.BinaryPrimitives.WriteUInt64LittleEndian(map.AsSpan(40), System.IO.Hashing.XxHash3.HashToUInt64(map.AsSpan(0, 40)));
        File.WriteAllBytes(path, map);
        using (var continued = Open())
        {
            Assert.Equal([(8192L, 4096L)], continued.WrittenRuns());
            for (var next = 0L; continued.FlattenFrom(next) is { } piece; next = piece.Next) { }
        }
        using var again = Open(NextBoot);
        Assert.Equal([(8192L, 4096L)], again.WrittenRuns());
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

    private static void Change(OverlayFile disk, byte[] model, Random random, bool[]? written = null, bool flushes = true)
    {
        var data = new byte[random.Next(1, random.Next(4) > 0 ? 9000 : 400_000)];
        var offset = random.Next(DiskBytes - data.Length + 1);
        if (random.Next(3) == 0) disk.Zero(offset, data.Length);
        else
        {
            random.NextBytes(data);
            disk.Write(offset, data);
        }
        if (flushes && random.Next(9) == 0) disk.Flush();
        data.CopyTo(model, offset);
        written?.AsSpan((offset / 4096)..Clusters(offset + data.Length)).Fill(true);
    }

    /// <summary>As if no cleared bit of the third bitmap had reached the disk.</summary>
    private void SetEveryFilledBit()
    {
        using var map = RealFileSystem.Instance.Open(Path.Combine(_folder, "vda.map"), FileOpening.ReadWrite);
        map.Write(3 * 4096, Enumerable.Repeat((byte)0xFF, Clusters(DiskBytes) / 8).ToArray());
    }

    private static int Clusters(int bytes) => (bytes + 4095) / 4096;

    private static void AssertWrittenRuns(bool[] expected, OverlayFile disk, bool whole = true)
    {
        var (written, end, full) = (new bool[expected.Length], -1L, false);
        foreach (var (offset, length) in disk.WrittenRuns())
        {
            Assert.True(offset > end || full || !whole, "neighbours are one run");
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
