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
        Assert.Contains("protect one of them anew", Assert.Throws<InvalidDataException>(() => again.Protect(second, keep: false)).Message, StringComparison.Ordinal);
        on.Disk.Faults = null;
        again.Protect(second, keep: true);
        again.Maintain(Nothing, default);
        Assert.True(again.NoteOf(first).Protected);
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
            return refused.Message.Contains("beyond the retention", StringComparison.Ordinal) || refused.Message.Contains("just now", StringComparison.Ordinal);
        }
    }
}
