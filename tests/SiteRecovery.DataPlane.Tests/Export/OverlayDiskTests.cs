using SiteRecovery.DataPlane.Export;
using SiteRecovery.DataPlane.Storage;

namespace SiteRecovery.DataPlane.Tests.Export;

public sealed class OverlayDiskTests : IDisposable
{
    private const int DiskBytes = (1 << 20) + 5 * 512; // the last cluster is cut short
    private static readonly Guid Boot = new(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11), NextBoot = new(2, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11);
    private readonly string _folder = Directory.CreateTempSubdirectory("overlay").FullName;
    private readonly byte[] _below = new byte[DiskBytes];
    private readonly CancellationTokenSource _deadline = new(TimeSpan.FromSeconds(30));

    public OverlayDiskTests() => new Random(7).NextBytes(_below);

    public void Dispose()
    {
        _deadline.Dispose();
        Directory.Delete(_folder, recursive: true);
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    public async Task It_equals_the_model_also_when_the_process_was_killed_without_a_flush(int seed)
    {
        var (model, random) = (_below.ToArray(), new Random(seed));
        for (var life = 0; life < 6; life++)
        {
            var disk = Open(); // never disposed: a killed process disposes nothing
            Assert.Equal(model, await ReadAsync(disk));
            for (var i = 0; i < 25; i++)
            {
                await ChangeAsync(disk, model, random);
                var (offset, length) = (random.Next(DiskBytes - 20000), random.Next(1, 20000));
                var read = new byte[length];
                await disk.ReadAsync(offset, read, _deadline.Token);
                Assert.Equal(model[offset..(offset + length)], read);
            }
            if (random.Next(3) == 0) await disk.FlushAsync(_deadline.Token);
        }
        await using var last = Open();
        Assert.Equal(model, await ReadAsync(last));
    }

    [Fact]
    public async Task After_another_boot_only_what_was_flushed_counts()
    {
        var (model, random) = (_below.ToArray(), new Random(4));
        var disk = Open();
        await disk.WriteAsync(8192 + 100, new byte[50], false, _deadline.Token);
        model.AsSpan(8192 + 100, 50).Clear();
        await disk.FlushAsync(_deadline.Token);
        await disk.WriteAsync(65536, new byte[5000], false, _deadline.Token);
        var afterPowerLoss = Open(NextBoot);
        Assert.Equal(model, await ReadAsync(afterPowerLoss));
        // The garbage that the lost write left in the data file must not show through a partial write, nor through zeroes.
        await ChangeAsync(afterPowerLoss, model, random);
        await afterPowerLoss.WriteZeroesAsync(65536 + 1000, 10, true, false, _deadline.Token);
        model.AsSpan(65536 + 1000, 10).Clear();
        await using var killed = Open(NextBoot);
        Assert.Equal(model, await ReadAsync(killed));
    }

    [Fact]
    public async Task Concurrent_writes_to_one_cluster_do_not_tear_each_other()
    {
        await using var disk = new OverlayDisk(new PatternDisk(_below) { Slow = true }, Path.Combine(_folder, "vda"), RealFileSystem.Instance, Boot);
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
        Assert.Equal(model, await ReadAsync(disk));
    }

    [Fact]
    public async Task Trimmed_ranges_take_no_space_and_are_reported_as_holes()
    {
        await using var disk = Open();
        await disk.WriteAsync(0, new byte[4096], false, _deadline.Token);
        await disk.WriteZeroesAsync(16384, 65536, true, false, _deadline.Token);
        var status = await disk.StatusAsync(0, DiskBytes, _deadline.Token);
        Assert.Equal(DiskBytes, status.Sum(e => e.Length));
        Assert.Equal(65536, status.Where(e => e.Hole && e.Zero).Sum(e => e.Length));
    }

    [Fact]
    public async Task Files_of_another_disk_or_without_their_map_are_refused_and_not_touched()
    {
        await Open().DisposeAsync();
        Assert.Throws<InvalidDataException>(() => new OverlayDisk(new PatternDisk(new byte[4096]), Path.Combine(_folder, "vda"), RealFileSystem.Instance));
        Assert.Equal(DiskBytes, new FileInfo(Path.Combine(_folder, "vda.data")).Length);
        File.Delete(Path.Combine(_folder, "vda.map"));
        Assert.Throws<InvalidDataException>(() => Open());
    }

    private OverlayDisk Open(Guid? boot = null) => new(new PatternDisk(_below), Path.Combine(_folder, "vda"), RealFileSystem.Instance, boot ?? Boot);

    private async Task ChangeAsync(OverlayDisk disk, byte[] model, Random random)
    {
        var data = new byte[random.Next(1, random.Next(2) == 0 ? 9000 : 400_000)];
        var offset = random.Next(DiskBytes - data.Length + 1);
        if (random.Next(3) == 0) await disk.WriteZeroesAsync(offset, data.Length, true, random.Next(9) == 0, _deadline.Token);
        else
        {
            random.NextBytes(data);
            await disk.WriteAsync(offset, data, random.Next(9) == 0, _deadline.Token);
        }
        data.CopyTo(model, offset);
    }

    private async Task<byte[]> ReadAsync(OverlayDisk disk)
    {
        var read = new byte[DiskBytes];
        await disk.ReadAsync(0, read, _deadline.Token);
        return read;
    }
}
