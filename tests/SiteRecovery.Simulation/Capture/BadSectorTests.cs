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
