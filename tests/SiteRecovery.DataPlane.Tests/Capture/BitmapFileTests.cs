using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.DataPlane.Capture;
using SiteRecovery.DataPlane.Storage;

namespace SiteRecovery.DataPlane.Tests.Capture;

public sealed class BitmapFileTests : IDisposable
{
    private const long DiskBytes = 2000L * BitmapFile.RegionBytes;
    private readonly string _folder = Directory.CreateTempSubdirectory("bitmap").FullName;
    private readonly Guid _boot = Guid.NewGuid();

    public void Dispose() => Directory.Delete(_folder, true);

    private BitmapFile Open(Guid boot) => BitmapFile.Open(RealFileSystem.Instance, Path.Combine(_folder, "b"), DiskBytes, boot);

    private BitmapFile OpenClean()
    {
        Open(_boot).Dispose();
        var bitmap = Open(_boot);
        bitmap.Unsynced.ClearAll();
        return bitmap;
    }

    [Fact]
    public void After_a_power_loss_only_regions_that_were_written_lately_are_unsynced()
    {
        using (var bitmap = OpenClean())
        {
            bitmap.Mark(5L * BitmapFile.RegionBytes, 4096);
            bitmap.RetireRegions();
        }
        using (var reopened = Open(Guid.NewGuid()))
        {
            Assert.Equal(64, reopened.Unsynced.Count);
            Assert.True(reopened.Unsynced.Any(5 * 64, 5 * 64));
        }
    }

    [Fact]
    public void Where_a_boot_of_the_host_has_no_id_it_is_like_no_other()
    {
        Open(Guid.Empty).Dispose();
        using (var bitmap = Open(Guid.Empty))
        {
            bitmap.Unsynced.ClearAll();
            bitmap.RetireRegions();
            bitmap.Mark(5L * BitmapFile.RegionBytes, 4096);
            bitmap.Rotate();
            bitmap.ForgetPrevious(); // durable at the target; and the disk may have lost it with its power
        }
        using (var reopened = Open(Guid.Empty)) Assert.True(reopened.Unsynced.Any(5 * 64, 5 * 64));
    }

    [Fact]
    public void A_region_stays_active_for_one_round_after_its_last_bit_is_gone()
    {
        using (var bitmap = OpenClean())
        {
            bitmap.Mark(5L * BitmapFile.RegionBytes, 4096);
            bitmap.Rotate();
            bitmap.ForgetPrevious();
            bitmap.RetireRegions();
        }
        using (var reopened = Open(Guid.NewGuid())) Assert.Equal(64, reopened.Unsynced.Count);
    }

    [Fact]
    public void A_retired_region_is_active_again_before_its_next_write_with_its_neighbours()
    {
        using (var bitmap = OpenClean())
        {
            bitmap.RetireRegions();
            bitmap.Mark(7L * BitmapFile.RegionBytes, 4096);
            bitmap.Mark(1999L * BitmapFile.RegionBytes, 4096);
        }
        using (var reopened = Open(Guid.NewGuid()))
        {
            Assert.Equal(9 * 64, reopened.Unsynced.Count);
            Assert.True(reopened.Unsynced.Any(7 * 64, 7 * 64) && reopened.Unsynced.Any(14 * 64, 14 * 64) && reopened.Unsynced.Any(1999 * 64, 1999 * 64));
        }
    }

    [Fact]
    public void Bits_are_set_cleared_counted_and_found_over_word_borders()
    {
        using var bitmap = OpenClean();
        var (bits, none) = (bitmap.Unsynced, new BlockBits(null, 0, bitmap.Unsynced.Blocks));
        bits.Set(60, 6000);
        bits.Set(100, 200);
        Assert.Equal((5941L, 60L, -1L), (bits.Count, bits.Next(0, none), bits.Next(6001, none)));
        bits.Clear(63, 5999);
        Assert.Equal((4L, 62L, 6000L, true, false), (bits.Count, bits.Next(62, none), bits.Next(63, none), bits.Any(62, 64), bits.Any(63, 5999)));
        bits.Set(0, bits.Blocks - 1);
        Assert.Equal(bits.Blocks, bits.Count);
        Assert.Equal(-1, bits.Next(0, bits));
    }
}
