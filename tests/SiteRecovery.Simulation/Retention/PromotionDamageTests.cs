using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.DataPlane.Keys;
using SiteRecovery.DataPlane.Retention;
using SiteRecovery.Domain.History;
using SiteRecovery.Simulation.World;

namespace SiteRecovery.Simulation.Retention;

/// <summary>Blocks of the base that a promotion covers in part: what it leaves of them is right, or damaged for everybody, and never keeps the others.</summary>
public sealed class PromotionDamageTests
{
    private const int DiskBytes = 64 << 10, FramesPerSegment = 8, BlockBytes = 4096;
    private const string Folder = "/stores/db1", Base = Folder + "/base/disk-0.raw", Encrypted = Folder + "/base/disk-0.aes";
    private static readonly MachineId Machine = new("db1");
    private static readonly RetentionLimits Nothing = new(TimeSpan.FromTicks(1), null);
    private readonly SimClock _clock = new();
    private readonly byte[] _model = new byte[DiskBytes];
    private readonly Random _random = new(7);
    private readonly SimDisk _disk = new();
    private long _ordinal = 1, _sequence;

    [Theory, InlineData(false), InlineData(true)]
    public void Of_a_damaged_block_what_is_left_stays_damaged_and_everything_else_goes_on(bool encrypted)
    {
        using var store = Promoted(encrypted);
        _disk.Flip(encrypted ? Encrypted : Base, 2 * BlockBytes + 3000, 1);
        var before = _sequence;
        Fill(store, (2 * BlockBytes, 512), (5 * BlockBytes, BlockBytes));
        store.Maintain(Nothing, default);
        Assert.True(store.OldestPoint!.Sequence.Value > before + 2);
        AssertShows(store, butFor: [2]);
    }

    [Theory, InlineData(false), InlineData(true)]
    public void A_damaged_block_that_several_writes_cover_is_whole_again(bool encrypted)
    {
        using var store = Promoted(encrypted);
        var file = encrypted ? Encrypted : Base;
        _disk.Flip(file, 2 * BlockBytes + 3000, 1);
        Fill(store, (2 * BlockBytes, 1024), (2 * BlockBytes + 1024, BlockBytes - 1024));
        store.Maintain(Nothing, default);
        AssertShows(store);
        // And where it was lost already.
        _disk.Flip(file, 3 * BlockBytes, 1);
        Fill(store, (3 * BlockBytes, 512));
        store.Maintain(Nothing, default);
        AssertShows(store, butFor: [3]);
        Fill(store, (3 * BlockBytes, 512), (3 * BlockBytes + 512, BlockBytes - 512));
        store.Maintain(Nothing, default);
        AssertShows(store);
    }

    /// <summary>The power goes at each of its I/Os: a block that was being written may be torn where the segments cover it, and there alone.</summary>
    [Fact]
    public void Rot_beside_what_a_promotion_that_was_cut_short_covers_is_never_shown()
    {
        List<SimDisk> cuts = [];
        using (var store = Promoted())
        {
            Fill(store, (2 * BlockBytes + 512, 1024), (3 * BlockBytes + 2048, 2 * BlockBytes));
            _disk.After = _ =>
            {
                for (var seed = 0; seed < 4; seed++) cuts.Add(_disk.LosePower(seed));
            };
            store.Maintain(Nothing, default);
            _disk.After = null;
            cuts.Add(_disk.Kill());
        }
        Assert.True(cuts.Count > 20);
        foreach (var cut in cuts)
        {
            using (var store = Open(Copy(cut))) AssertShows(store);
            foreach (var (at, block) in ((int, int)[])[(2 * BlockBytes + 100, 2), (3 * BlockBytes + 100, 3), (5 * BlockBytes + 3000, 5)])
            {
                var rotten = Copy(cut);
                rotten.Flip(Base, at, 1);
                using (var store = Open(rotten))
                {
                    AssertShows(store, butFor: [block]);
                    store.Maintain(Nothing, default);
                    AssertShows(store, butFor: [block]);
                }
                using var again = Open(rotten);
                AssertShows(again, butFor: [block]);
            }
        }
    }

    /// <summary>Where the file with the checksums of what is left has rotted itself, what differs is damaged.</summary>
    [Fact]
    public void Without_the_checksums_of_what_is_left_nothing_torn_is_believed()
    {
        SimDisk? torn = null;
        using (var store = Promoted())
        {
            Fill(store, (2 * BlockBytes + 512, 1024));
            _disk.After = io => torn ??= io.Kind == IoKind.Write && io.Path == Base ? _disk.Kill() : null;
            store.Maintain(Nothing, default);
        }
        using (var store = Open(Copy(torn!))) AssertShows(store);
        torn!.Flip(Folder + "/PARTIAL", 40, 1);
        using var without = Open(torn);
        AssertShows(without, butFor: [2]);
        without.Maintain(Nothing, default);
        AssertShows(without, butFor: [2]);
    }

    [Theory, InlineData(true), InlineData(false)]
    public void What_the_disk_does_not_give_is_waited_for_and_then_given_up(bool ofBase)
    {
        using var store = Promoted();
        var before = _sequence;
        Fill(store, (2 * BlockBytes, 512), (5 * BlockBytes, BlockBytes));
        if (ofBase) _disk.Spoil(Base, 2 * BlockBytes + 3000);
        else Spoil(_model.AsSpan(2 * BlockBytes, 512).ToArray());
        Assert.Throws<IOException>(() => store.Maintain(Nothing, default));
        _clock.Spend(TimeSpan.FromSeconds(10));
        Assert.Throws<IOException>(() => store.Maintain(Nothing, default));
        _clock.Spend(TimeSpan.FromSeconds(10));
        store.Maintain(Nothing, default);
        Assert.True(store.OldestPoint!.Sequence.Value > before + 2);
        AssertShows(store, butFor: [2]);
    }

    /// <summary>Where bytes lie in a segment, as they came.</summary>
    private void Spoil(byte[] bytes)
    {
        foreach (var path in _disk.Files(Folder + "/log").Where(f => f.EndsWith(".seg", StringComparison.Ordinal)))
        {
            var whole = new byte[_disk.LengthOf(path)];
            _disk.Peek(path, whole);
            if (whole.AsSpan().IndexOf(bytes) is var at and >= 0) _disk.Spoil(path, at);
        }
    }

    /// <summary>A store of which every block is in the base.</summary>
    private RetentionStore Promoted(bool encrypted = false)
    {
        var store = RetentionStore.Create(Folder, Machine, [new DiskGeometry(0, "vda", DiskBytes)], Epoch.First, _disk, _clock,
            options: new StoreOptions { SegmentFramesMax = FramesPerSegment, Keys = new KeyWrappings(SimKey.Wrapping, [], KeyWrappings.RenewAfterDefault) });
        if (encrypted) store.Encrypt(true);
        store.Append(BatchCodec.Encode(Header(BatchKind.Marker, 0) with { Marker = MarkerKind.StreamStart }, [], "continue"u8));
        Fill(store, (0, DiskBytes));
        store.Maintain(Nothing, default);
        Assert.Single(_disk.Files(Folder + "/log"), f => f.EndsWith(".seg", StringComparison.Ordinal));
        return store;
    }

    /// <summary>Writes, and then as much as it takes for the segment to be sealed with another one behind it: the first block, again and again.</summary>
    private void Fill(RetentionStore store, params (int Offset, int Length)[] writes)
    {
        foreach (var (offset, length) in writes) Write(store, offset, length);
        for (var segments = 0; segments < 2;)
        {
            Write(store, 0, BlockBytes);
            if (_ordinal % FramesPerSegment == 0) segments++;
        }
        store.Flush();
    }

    private void Write(RetentionStore store, int offset, int length)
    {
        _random.NextBytes(_model.AsSpan(offset, length));
        _sequence++;
        Assert.True(store.Append(BatchCodec.Encode(Header(BatchKind.Delta, _sequence), [new Extent(offset, length, 0, ExtentKind.Data)], _model.AsSpan(offset, length))));
    }

    private void AssertShows(RetentionStore store, params int[] butFor)
    {
        var view = store.At(store.ConsistentUpTo!);
        for (var block = 0; block < DiskBytes / BlockBytes; block++)
        {
            var (shown, number) = (new byte[BlockBytes], block);
            if (Array.IndexOf(butFor, block) >= 0) Assert.Contains("damaged", Assert.Throws<IOException>(() => view.File(0).Read(number * BlockBytes, shown)).Message, StringComparison.Ordinal);
            else
            {
                view.File(0).Read(block * BlockBytes, shown);
                Assert.True(_model.AsSpan(block * BlockBytes, BlockBytes).SequenceEqual(shown), $"block {block}");
            }
        }
        view.Release();
    }

    private RetentionStore Open(SimDisk disk) => RetentionStore.Open(Folder, disk, _clock, options: new StoreOptions { SegmentFramesMax = FramesPerSegment });

    /// <summary>As it is for whoever opens it next.</summary>
    private static SimDisk Copy(SimDisk disk) => disk.Kill();

    private BatchHeader Header(BatchKind kind, long sequence) => new()
    {
        Kind = kind, MachineTag = BatchCodec.TagOf(Machine), Epoch = Epoch.First, Incarnation = 1, Ordinal = _ordinal++,
        First = new Sequence(sequence), Last = new Sequence(sequence), Time = SimClock.Epoch.AddSeconds(_ordinal),
    };
}
