using SiteRecovery.DataPlane.Retention;
using SiteRecovery.Domain.History;
using SiteRecovery.Simulation.World;
using static SiteRecovery.Simulation.Retention.PromotedStore;

namespace SiteRecovery.Simulation.Retention;

/// <summary>Blocks of the base that a promotion covers in part: what it leaves of them is right, or damaged for everybody, and never keeps the others.</summary>
public sealed class PromotionDamageTests
{
    private const int OddDiskBytes = (64 << 10) - 3584;

    [Theory, InlineData(false), InlineData(true)]
    public void Of_a_damaged_block_what_is_left_stays_damaged_and_everything_else_goes_on(bool encrypted)
    {
        var on = new PromotedStore(encrypted);
        using var store = on.Store;
        on.Disk.Flip(encrypted ? Encrypted : Base, 2 * BlockBytes + 3000, 1);
        var before = on.Sequence;
        on.Fill((2 * BlockBytes, 512), (5 * BlockBytes, BlockBytes));
        store.Maintain(Nothing, default);
        Assert.True(store.OldestPoint!.Sequence.Value > before + 2);
        on.AssertShows(store, butFor: [2]);
    }

    [Theory, InlineData(false), InlineData(true)]
    public void A_damaged_block_that_several_writes_cover_is_whole_again(bool encrypted)
    {
        var on = new PromotedStore(encrypted);
        using var store = on.Store;
        var file = encrypted ? Encrypted : Base;
        on.Disk.Flip(file, 2 * BlockBytes + 3000, 1);
        on.Fill((2 * BlockBytes, 1024), (2 * BlockBytes + 1024, BlockBytes - 1024));
        store.Maintain(Nothing, default);
        on.AssertShows(store);
        // And where it was lost already.
        on.Disk.Flip(file, 3 * BlockBytes, 1);
        on.Fill((3 * BlockBytes, 512));
        store.Maintain(Nothing, default);
        on.AssertShows(store, butFor: [3]);
        on.Fill((3 * BlockBytes, 512), (3 * BlockBytes + 512, BlockBytes - 512));
        store.Maintain(Nothing, default);
        on.AssertShows(store);
    }

    [Theory, InlineData(false), InlineData(true)]
    public void A_last_block_that_its_disk_does_not_fill_is_whole_again_when_all_of_it_was_sent(bool encrypted)
    {
        var on = new PromotedStore(encrypted, OddDiskBytes);
        using var store = on.Store;
        on.Disk.Flip(encrypted ? Encrypted : Base, OddDiskBytes - 5, 1);
        on.Fill((OddDiskBytes - 512, 512));
        store.Maintain(Nothing, default);
        on.AssertShows(store);
    }

    /// <summary>The power goes at each of its I/Os: a block that was being written may be torn where the segments cover it, and there alone.</summary>
    [Fact]
    public void Rot_beside_what_a_promotion_that_was_cut_short_covers_is_never_shown()
    {
        var on = new PromotedStore();
        List<SimDisk> cuts = [];
        using (on.Store)
        {
            on.Fill((2 * BlockBytes + 512, 1024), (3 * BlockBytes + 2048, 2 * BlockBytes));
            on.Disk.After = _ =>
            {
                for (var seed = 0; seed < 4; seed++) cuts.Add(on.Disk.LosePower(seed));
            };
            on.Store.Maintain(Nothing, default);
            on.Disk.After = null;
            cuts.Add(on.Disk.Kill());
        }
        Assert.True(cuts.Count > 20);
        foreach (var cut in cuts)
        {
            using (var store = on.Open(Copy(cut))) on.AssertShows(store);
            foreach (var (at, block) in ((int, int)[])[(2 * BlockBytes + 100, 2), (3 * BlockBytes + 100, 3), (5 * BlockBytes + 3000, 5)])
            {
                var rotten = Copy(cut);
                rotten.Flip(Base, at, 1);
                using (var store = on.Open(rotten))
                {
                    on.AssertShows(store, butFor: [block]);
                    store.Maintain(Nothing, default);
                    on.AssertShows(store, butFor: [block]);
                }
                using var again = on.Open(rotten);
                on.AssertShows(again, butFor: [block]);
            }
        }
    }

    /// <summary>Where the file with the checksums of what is left has rotted itself, or cannot be read, what differs is damaged.</summary>
    [Theory, InlineData(false), InlineData(true)]
    public void Without_the_checksums_of_what_is_left_nothing_torn_is_believed(bool unreadable)
    {
        var on = new PromotedStore();
        SimDisk? torn = null;
        using (on.Store)
        {
            on.Fill((2 * BlockBytes + 512, 1024));
            on.Disk.After = io => torn ??= io.Kind == IoKind.Write && io.Path == Base ? on.Disk.Kill() : null;
            on.Store.Maintain(Nothing, default);
        }
        using (var store = on.Open(Copy(torn!))) on.AssertShows(store);
        if (unreadable) torn!.Spoil(Folder + "/PARTIAL", 40);
        else torn!.Flip(Folder + "/PARTIAL", 40, 1);
        if (unreadable) Assert.Throws<IOException>(() => on.Open(torn!));
        using var without = on.Open(torn!, givesUp: unreadable);
        on.AssertShows(without, butFor: [2]);
        without.Maintain(Nothing, default);
        on.AssertShows(without, butFor: [2]);
    }

    [Theory, InlineData(true), InlineData(false)]
    public void What_the_disk_does_not_give_is_waited_for_and_then_given_up(bool ofBase)
    {
        var on = new PromotedStore();
        using var store = on.Store;
        var before = on.Sequence;
        on.Fill((2 * BlockBytes, 512), (5 * BlockBytes, BlockBytes));
        if (ofBase) on.Disk.Spoil(Base, 2 * BlockBytes + 3000);
        else on.SpoilInLog(on.Model.AsSpan(2 * BlockBytes, 512));
        Assert.Equal(3, on.PassesUntilDone(most: 5));
        Assert.True(store.OldestPoint!.Sequence.Value > before + 2);
        on.AssertShows(store, butFor: [2]);
    }

    [Fact]
    public void Many_places_are_waited_for_at_once()
    {
        var on = new PromotedStore();
        using var store = on.Store;
        on.Fill((2 * BlockBytes, 512), (3 * BlockBytes, 512), (5 * BlockBytes, 512), (7 * BlockBytes, 4 * BlockBytes));
        foreach (var block in (int[])[2, 3, 5]) on.Disk.Spoil(Base, block * BlockBytes + 3000);
        on.SpoilInLog(on.Model.AsSpan(9 * BlockBytes, 512)); // in pages of no other frame
        // The log is not looked at before the base was.
        Assert.InRange(on.PassesUntilDone(most: 9), 3, 5);
        on.AssertShows(store, butFor: [2, 3, 5, 7, 8, 9, 10]);
    }

    /// <summary>It may be open for a moment only that there are too many files.</summary>
    [Fact]
    public void A_segment_that_could_not_be_opened_is_no_damage()
    {
        var on = new PromotedStore();
        using (on.Store) on.Fill((2 * BlockBytes, 512));
        using var store = on.Open(on.Disk);
        var segment = on.Segments[0];
        on.Disk.Rename(segment, segment + ".away");
        for (var pass = 0; pass < 3; pass++, on.Clock.Spend(TimeSpan.FromSeconds(20))) Assert.ThrowsAny<IOException>(() => store.Maintain(Nothing, default));
        on.Disk.Rename(segment + ".away", segment);
        store.Maintain(Nothing, default);
        on.AssertShows(store);
    }

    /// <summary>The sectors of what is known of blocks lie far apart; they are waited for together, too.</summary>
    [Theory, InlineData(false), InlineData(true)]
    public void Many_sectors_of_what_is_known_of_blocks_are_waited_for_at_once(bool encrypted)
    {
        var on = new PromotedStore(encrypted, 4 << 20);
        using var store = on.Store;
        var (table, pageBlocks) = ($"{Folder}/base/disk-0.{(encrypted ? "tag" : "sum")}", encrypted ? 96 : 512);
        var blocks = Enumerable.Range(0, 2).Select(i => i * pageBlocks + 5).ToArray();
        on.Fill([.. blocks.Select(b => (b * BlockBytes, BlockBytes))]);
        foreach (var block in blocks) on.Disk.Spoil(table, encrypted ? block / 12 * 512 : block * 8);
        Assert.InRange(on.PassesUntilDone(most: 9), 3, 4);
        var view = store.At(store.ConsistentUpTo!);
        foreach (var block in blocks)
        {
            var shown = new byte[BlockBytes];
            view.File(0).Read(block * BlockBytes, shown);
            Assert.True(on.Model.AsSpan(block * BlockBytes, BlockBytes).SequenceEqual(shown));
        }
    }

    [Fact]
    public void What_could_be_read_in_between_is_waited_for_anew()
    {
        var on = new PromotedStore();
        using var store = on.Store;
        on.Fill((2 * BlockBytes, 512));
        bool fails = true, isFull = false;
        on.Disk.Faults = io => (fails && io.Kind == IoKind.Read && io.Path == Base) || (isFull && io.Kind == IoKind.Write && io.Path == Base) ? Fault.Error : Fault.None;
        Assert.Throws<IOException>(() => store.Maintain(Nothing, default));
        on.Clock.Spend(TimeSpan.FromMinutes(10));
        (fails, isFull) = (false, true);
        Assert.Throws<IOException>(() => store.Maintain(Nothing, default));
        on.Clock.Spend(TimeSpan.FromMinutes(10));
        (fails, isFull) = (true, false);
        Assert.ThrowsAny<IOException>(() => store.Maintain(Nothing, default));
        on.Disk.Faults = null;
        store.Maintain(Nothing, default);
        on.AssertShows(store);
    }

    /// <summary>What an image says of its blocks, where the disk does not give it: its blocks are lost, the scrub says so, and the rest goes on.</summary>
    [Theory, InlineData(false), InlineData(true)]
    public void A_bad_sector_of_what_is_known_of_blocks_keeps_neither_promotion_nor_scrub(bool encrypted)
    {
        var on = new PromotedStore(encrypted);
        using var store = on.Store;
        on.Disk.Spoil($"{Folder}/base/disk-0.{(encrypted ? "tag" : "sum")}", 8);
        store.Scrub(long.MaxValue, default);
        Assert.NotEmpty(store.Rot);
        Assert.NotEmpty(store.DamageOfNewest());
        on.Fill((2 * BlockBytes, 512), (5 * BlockBytes, BlockBytes));
        Assert.InRange(on.PassesUntilDone(most: 9), 3, 5);
        // The newest position is whole again once the source has sent all of it.
        on.Fill((0, on.Model.Length));
        store.Maintain(Nothing, default);
        on.AssertShows(store);
        store.Scrub(long.MaxValue, default);
        store.Scrub(long.MaxValue, default);
        Assert.Empty(store.Rot);
    }

    [Fact]
    public void Whoever_ends_a_store_does_not_wait_for_what_promotion_still_would_look_at()
    {
        var on = new PromotedStore();
        using var store = on.Store;
        on.Fill([.. Enumerable.Range(1, 14).Select(i => (i * BlockBytes + 512, 512))]);
        using var stop = new CancellationTokenSource();
        var reads = 0;
        on.Disk.Faults = io =>
        {
            if (io.Kind == IoKind.Read && io.Path == Base && ++reads == 1) stop.Cancel();
            return Fault.None;
        };
        store.Maintain(Nothing, stop.Token);
        Assert.Equal(1, reads);
    }

    [Fact]
    public void Segments_go_also_where_the_file_of_what_is_left_cannot_be_deleted()
    {
        var on = new PromotedStore();
        using var store = on.Store;
        on.Fill((2 * BlockBytes, 512));
        on.Disk.Faults = io => io.Kind == IoKind.Delete && io.Path.EndsWith("PARTIAL", StringComparison.Ordinal) ? Fault.Error : Fault.None;
        Assert.Throws<IOException>(() => store.Maintain(Nothing, default));
        Assert.Single(on.Segments);
        on.Disk.Faults = null;
        on.Fill((2 * BlockBytes + 512, 512));
        store.Maintain(Nothing, default);
        on.AssertShows(store);
        Assert.False(on.Disk.Exists(Folder + "/PARTIAL"));
    }

    /// <summary>As it is for whoever opens it next.</summary>
    private static SimDisk Copy(SimDisk disk) => disk.Kill();
}
