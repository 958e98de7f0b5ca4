using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.DataPlane.Capture;
using SiteRecovery.DataPlane.Storage;
using SiteRecovery.Domain.History;
using SiteRecovery.Simulation.World;

namespace SiteRecovery.Simulation.Capture;

/// <summary>What an agent keeps of a machine lies on a disk, too.</summary>
public sealed class BadSectorTests
{
    private const long DiskBytes = 40L * BitmapFile.RegionBytes;
    private const string Path = "/state/disk-0.bitmap";

    /// <summary>Wherever it is: the machine gets its disks, and everything is compared.</summary>
    [Fact]
    public void A_bitmap_that_cannot_be_read_keeps_no_machine_from_its_disks()
    {
        var disk = new SimDisk();
        disk.CreateDirectory("/state");
        using (var bitmap = BitmapFile.Open(disk, Path, DiskBytes, disk.BootId, startsClean: true))
            bitmap.Mark(5 << 20, 1 << 20);
        for (long page = 0; page < disk.LengthOf(Path); page += 4096)
        {
            var spoiled = disk.Kill();
            spoiled.Spoil(Path, page);
            using (var bitmap = BitmapFile.Open(spoiled, Path, DiskBytes, spoiled.BootId))
            {
                Assert.Contains("cannot be read", bitmap.LostReason);
                Assert.Equal(bitmap.Unsynced.Blocks, bitmap.Unsynced.Count);
                bitmap.Mark(DiskBytes - 1, 1);
                bitmap.Flush();
            }
            using var again = BitmapFile.Open(spoiled, Path, DiskBytes, spoiled.BootId);
            Assert.Null(again.LostReason);
        }
    }

    /// <summary>A page that is changed in part is read first, and where memory is short it comes from the disk.</summary>
    [Fact]
    public void A_bitmap_whose_sectors_go_bad_while_it_is_open_fails_no_write()
    {
        var disk = new SimDisk();
        disk.CreateDirectory("/state");
        const long large = 5L << 30;
        using (var bitmap = BitmapFile.Open(disk, Path, large, disk.BootId, startsClean: true))
        {
            for (long page = 4096; page < disk.LengthOf(Path); page += 4096) disk.Spoil(Path, page);
            for (var slot = 0; slot < 2; slot++)
            {
                for (long at = 0; at < large; at += 1L << 30) bitmap.Mark(at, 1);
                bitmap.Rotate();
            }
            bitmap.Fold();
            bitmap.Flush();
        }
        using var again = BitmapFile.Open(disk, Path, large, disk.BootId);
        Assert.Null(again.LostReason);
        Assert.Equal(5, again.Unsynced.Count);
    }

    /// <summary>A bit that is set and not counted would never be written to the bitmap again.</summary>
    [Fact]
    public void Of_a_bitmap_that_was_read_half_nothing_is_left()
    {
        const long large = 5L << 30; // three pages a slot
        var disk = new SimDisk();
        disk.CreateDirectory("/state");
        using (var bitmap = BitmapFile.Open(disk, Path, large, disk.BootId, startsClean: true)) bitmap.Mark(0, 1);
        foreach (var page in Enumerable.Range(0, (int)(disk.LengthOf(Path) / 4096)))
        {
            var spoiled = disk.Kill();
            spoiled.Spoil(Path, page * 4096L);
            using var bitmap = BitmapFile.Open(spoiled, Path, large, spoiled.BootId);
            bitmap.Mark(0, 1);
            Assert.Equal(1, bitmap.Current.Count);
        }
    }

    /// <summary>Without it nobody knows whether the machine is fenced, and it would not get its disks.</summary>
    [Theory]
    [InlineData("/state/capture.json", true)]
    [InlineData("/state/capture.json", false)]
    [InlineData("/state/capture.copy", true)]
    public async Task What_a_capture_must_know_outlives_a_bad_sector(string lost, bool unreadable)
    {
        var disk = new SimDisk();
        foreach (var folder in (string[])["/disks", "/state"]) disk.CreateDirectory(folder);
        using (var file = disk.Open("/disks/m1.img", FileOpening.Create)) file.SetLength(1 << 20);
        await using (var capture = await OpenAsync(disk))
        {
            await capture.Disks[0].WriteAsync(0, new byte[512], false, default);
            await capture.FenceAsync(new Epoch(4));
        }
        Lose(disk, lost, unreadable);
        await using (var again = await OpenAsync(disk))
        {
            Assert.True(again.IsFenced);
            Assert.Equal(4, again.Epoch.Value);
            Assert.Equal(1, again.Status().Newest.Value);
        }
        // What was lost is there again, by then.
        Lose(disk, lost == "/state/capture.json" ? "/state/capture.copy" : "/state/capture.json", unreadable);
        Assert.True(MachineCapture.IsFencedStored("/state", disk));
        Assert.Contains("disable its protection and protect it anew", (await Assert.ThrowsAsync<System.Text.Json.JsonException>(() => OpenAsync(Both(disk)))).Message);

        static void Lose(SimDisk disk, string path, bool unreadable)
        {
            if (unreadable) disk.Spoil(path, 0);
            else disk.Flip(path, 20, 1);
        }

        static SimDisk Both(SimDisk disk)
        {
            foreach (var path in (string[])["/state/capture.json", "/state/capture.copy"]) disk.Replace(path, "{"u8);
            return disk;
        }
    }

    /// <summary>It is written behind its copy: the first save of all may end between them.</summary>
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Without_what_a_capture_must_know_its_copy_says_it_and_without_either_the_machine_is_new(bool isWorn)
    {
        var disk = new SimDisk();
        foreach (var folder in (string[])["/disks", "/state"]) disk.CreateDirectory(folder);
        using (var file = disk.Open("/disks/m1.img", FileOpening.Create)) file.SetLength(1 << 20);
        await using (var capture = await OpenAsync(disk)) await capture.FenceAsync(new Epoch(4));
        disk.Delete("/state/capture.json");
        if (isWorn) disk.Spoil("/state/capture.copy", 0);
        await using var again = await OpenAsync(disk);
        Assert.Equal(!isWorn, again.IsFenced);
    }

    private static Task<MachineCapture> OpenAsync(SimDisk disk) => MachineCapture.OpenAsync(new CaptureOptions
    {
        Machine = new MachineId("m1"), Epoch = new Epoch(4), StateFolder = "/state", Disks = [new CaptureDisk(new DiskGeometry(0, "sda", 1 << 20), "/disks/m1.img")],
    }, disk, TimeProvider.System);

    /// <summary>It would be that of no state, and the failover would be rolled back as if the replica differed.</summary>
    [Fact]
    public async Task Hashes_that_are_lost_while_a_machine_is_drained_make_no_root_hash()
    {
        var disk = new SimDisk();
        foreach (var folder in (string[])["/disks", "/state"]) disk.CreateDirectory(folder);
        using (var file = disk.Open("/disks/m1.img", FileOpening.Create)) file.SetLength(64 << 20);
        var capture = await MachineCapture.OpenAsync(new CaptureOptions
        {
            Machine = new MachineId("m1"), Epoch = Epoch.First, StateFolder = "/state", Disks = [new CaptureDisk(new DiskGeometry(0, "sda", 64 << 20), "/disks/m1.img")],
        }, disk, TimeProvider.System);
        await capture.HashAsync(default);
        disk.Spoil("/state/leaves", 4096); // the first leaves; those of the last blocks are in memory
        await capture.Disks[0].WriteAsync(0, new byte[512], false, default);
        await capture.FreezeAsync(1, default);
        await Assert.ThrowsAsync<InvalidDataException>(() => capture.RootHashAsync(default));
    }
}
