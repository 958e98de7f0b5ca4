using SiteRecovery.DataPlane.Retention;
using SiteRecovery.Domain.History;
using SiteRecovery.Simulation.World;
using static SiteRecovery.Simulation.Retention.PromotedStore;

namespace SiteRecovery.Simulation.Retention;

/// <summary>Whoever looks at a store whose base is not what it was: another process beside the writer, or one that finds the log failed.</summary>
public sealed class ChangedBaseTests
{
    [Fact]
    public void A_reader_beside_the_writer_is_told_that_its_position_has_gone()
    {
        var on = new PromotedStore();
        using var store = on.Store;
        on.Fill((2 * BlockBytes + 512, 1024));
        var (old, at) = (on.Model.ToArray(), store.ConsistentUpTo!);
        on.Fill((5 * BlockBytes, BlockBytes), (6 * BlockBytes + 512, 512));
        using var beside = on.Open(on.Disk, readOnly: true);
        AssertShows(beside.At(beside.ResolvePoint(new PointSelector.ById(at.Id))!), old);
        var (view, newest) = (beside.At(beside.ResolvePoint(new PointSelector.ById(at.Id))!), beside.At(beside.ConsistentUpTo!));
        // At every step of it.
        var looks = 0;
        on.Disk.After = io =>
        {
            if (!io.Path.StartsWith(Folder + "/base", StringComparison.Ordinal) || looks++ > 40) return;
            for (var block = 0; block < 16; block++)
            {
                Assert.True(IsRightOrRefused(view, old, block), $"block {block} behind {io}");
                Assert.True(IsRightOrRefused(newest, on.Model, block), $"block {block} of the newest behind {io}");
            }
        };
        store.Maintain(Nothing, default);
        on.Disk.After = null;
        Assert.True(looks > 4);
        Assert.Contains("beyond the retention", Assert.Throws<IOException>(() => view.File(0).Read(5 * BlockBytes, new byte[BlockBytes])).Message, StringComparison.Ordinal);
        using var anew = on.Open(on.Disk, readOnly: true);
        on.AssertShows(anew);
    }

    /// <summary>Cut short at any I/O, and then the newest segment rots: nobody may think that the base is as it was.</summary>
    [Fact]
    public void A_store_whose_log_has_failed_shows_nothing_of_what_was_on_its_way_into_the_base()
    {
        var on = new PromotedStore();
        List<SimDisk> cuts = [];
        byte[] old;
        RecoveryPoint at;
        using (on.Store)
        {
            on.Fill((2 * BlockBytes + 512, 1024));
            (old, at) = (on.Model.ToArray(), on.Store.ConsistentUpTo!);
            on.Fill((5 * BlockBytes, BlockBytes), (6 * BlockBytes + 512, 512));
            on.Disk.After = _ => cuts.Add(on.Disk.Kill());
            on.Store.Maintain(Nothing, default);
            on.Disk.After = null;
        }
        var refused = 0;
        foreach (var cut in cuts)
        {
            var newest = cut.Files(Folder + "/log").Last(f => f.EndsWith(".seg", StringComparison.Ordinal));
            cut.Flip(newest, cut.LengthOf(newest) - 5, 1);
            using var store = on.Open(cut, readOnly: true);
            Assert.NotNull(store.FailedReason);
            if (store.ResolvePoint(new PointSelector.ById(at.Id)) is { } point) AssertShows(store.At(point), old);
            else refused++;
            var view = store.At(store.ConsistentUpTo!);
            for (var block = 1; block < 16; block++)
            {
                var shown = new byte[BlockBytes];
                view.File(0).Read(block * BlockBytes, shown);
                Assert.True(on.Model.AsSpan(block * BlockBytes, BlockBytes).SequenceEqual(shown), $"block {block}");
            }
        }
        Assert.InRange(refused, 1, cuts.Count - 1);
    }

    /// <summary>Then nothing is behind what is on its way: it goes on all the same, and never begins with less.</summary>
    [Theory, InlineData(false), InlineData(true)]
    public void A_promotion_that_was_cut_short_ends_also_where_everything_behind_it_was_cut_off(bool missing)
    {
        var on = new PromotedStore();
        List<SimDisk> cuts = [];
        byte[] promoted;
        using (on.Store)
        {
            on.Fill((2 * BlockBytes + 512, 1024));
            on.Fill((5 * BlockBytes, BlockBytes), (6 * BlockBytes + 512, 512));
            promoted = on.Model.ToArray();
            on.Disk.After = io =>
            {
                if (io.Path.StartsWith(Folder + "/base", StringComparison.Ordinal)) cuts.Add(on.Disk.Kill());
            };
            on.Store.Maintain(Nothing, default);
            on.Disk.After = null;
        }
        Assert.NotEmpty(cuts);
        foreach (var cut in cuts)
        {
            var newest = cut.Files(Folder + "/log").Last(f => f.EndsWith(".seg", StringComparison.Ordinal));
            if (missing) cut.Delete(newest);
            else cut.Flip(newest, 200, 1);
            using var store = on.Open(cut);
            Assert.Null(store.FailedReason);
            for (var pass = 0; pass < 2; pass++, store.Maintain(new RetentionLimits(TimeSpan.FromSeconds(4), null), default))
            {
                var view = store.At(store.ConsistentUpTo!);
                for (var block = 1; block < 16; block++)
                {
                    var shown = new byte[BlockBytes];
                    view.File(0).Read(block * BlockBytes, shown);
                    Assert.True(promoted.AsSpan(block * BlockBytes, BlockBytes).SequenceEqual(shown), $"block {block} in pass {pass}");
                }
                view.Release();
            }
        }
    }

    [Fact]
    public void A_reader_beside_the_writer_takes_nothing_for_a_hole_that_has_become_one()
    {
        var on = new PromotedStore();
        using var store = on.Store;
        on.Fill((2 * BlockBytes + 512, 1024));
        var at = store.ConsistentUpTo!;
        on.Discard(10 * BlockBytes, 4 * BlockBytes);
        on.Fill();
        using var beside = on.Open(on.Disk, readOnly: true);
        var file = beside.At(beside.ResolvePoint(new PointSelector.ById(at.Id))!).File(0);
        Assert.False(file.RunAt(10 * BlockBytes).Hole);
        store.Maintain(Nothing, default);
        Assert.Contains("beyond the retention", Assert.Throws<IOException>(() => file.RunAt(10 * BlockBytes)).Message, StringComparison.Ordinal);
    }

    /// <summary>The end of the log may rot away behind an epoch that was begun on a store which had failed: it is no store for ever lost, but one that needs all of its data.</summary>
    [Fact]
    public void An_epoch_whose_fork_was_lost_begins_with_a_gap()
    {
        var on = new PromotedStore();
        using (on.Store)
        {
            on.Fill((2 * BlockBytes, 512));
            on.Store.OpenEpoch(Epoch.First.Next(), on.Store.ConsistentUpTo!);
        }
        foreach (var made in on.Disk.Files(Folder + "/log").Where(f => f.EndsWith(".end", StringComparison.Ordinal) || f.EndsWith(".idx", StringComparison.Ordinal)).ToArray()) on.Disk.Delete(made);
        var newest = on.Segments[^1];
        on.Disk.Flip(newest, on.Disk.LengthOf(newest) - 5, 1);
        for (var opened = 0; opened < 2; opened++)
        {
            using var store = on.Open(on.Disk);
            Assert.Equal((Epoch.First.Next(), false, true), (store.CurrentEpoch, store.Consistent, store.HasLost));
        }
    }

    /// <summary>What is missing may come back, and then what was to be kept must still be.</summary>
    [Fact]
    public void A_protected_point_behind_a_segment_that_is_missing_for_a_while_stays_protected()
    {
        var on = new PromotedStore();
        RecoveryPoint point;
        using (on.Store)
        {
            on.Fill((2 * BlockBytes, 512));
            on.Fill((3 * BlockBytes, 512));
            point = on.Store.ConsistentUpTo!;
            on.Store.Protect(point, keep: true);
            on.Fill((5 * BlockBytes, 512));
            on.Store.Verify(on.Store.ConsistentUpTo!, default);
        }
        var missing = on.Segments[1];
        on.Disk.Rename(missing, missing + ".away");
        using (var store = on.Open(on.Disk))
        {
            Assert.NotNull(store.FailedReason);
            store.Scrub(long.MaxValue, default);
            store.Verify(store.OldestPoint!, default);
        }
        on.Disk.Rename(missing + ".away", missing);
        using var again = on.Open(on.Disk);
        again.Maintain(Nothing, default);
        Assert.True(again.NoteOf(point).Protected);
        Assert.NotNull(again.ResolvePoint(new PointSelector.ById(point.Id)));
    }

    [Fact]
    public void Notes_that_could_not_be_read_for_a_while_are_read_again()
    {
        var on = new PromotedStore();
        RecoveryPoint first, second;
        using (on.Store)
        {
            on.Fill();
            first = on.Store.ConsistentUpTo!;
            on.Store.Protect(first, keep: true);
            on.Fill();
            second = on.Store.ConsistentUpTo!;
            on.Fill();
        }
        on.Disk.Faults = io => io.Kind == IoKind.Read && io.Path.EndsWith("NOTES.json", StringComparison.Ordinal) ? Fault.Error : Fault.None;
        Assert.Throws<IOException>(() => on.Open(on.Disk));
        using var again = on.Open(on.Disk, givesUp: true);
        Assert.NotNull(again.Verify(second, default).VerifiedAt);
        Assert.Contains("protect one of them anew", Assert.Throws<InvalidDataException>(() => again.Protect(second, keep: false)).Message, StringComparison.Ordinal);
        on.Disk.Faults = null;
        again.Protect(second, keep: true);
        again.Maintain(Nothing, default);
        Assert.True(again.NoteOf(first).Protected);
        Assert.NotNull(again.NoteOf(second).VerifiedAt);
        Assert.NotNull(again.ResolvePoint(new PointSelector.ById(first.Id)));
    }

    private static bool IsRightOrRefused(StoreView view, byte[] content, int block)
    {
        var shown = new byte[BlockBytes];
        try
        {
            view.File(0).Read(block * BlockBytes, shown);
            return content.AsSpan(block * BlockBytes, BlockBytes).SequenceEqual(shown);
        }
        catch (IOException refused)
        {
            return refused.Message.Contains("open the store again", StringComparison.Ordinal);
        }
    }
}
