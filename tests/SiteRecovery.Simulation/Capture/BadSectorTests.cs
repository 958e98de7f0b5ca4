using SiteRecovery.DataPlane.Capture;
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
}
