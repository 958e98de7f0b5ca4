using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.DataPlane.Keys;
using SiteRecovery.DataPlane.MasterTarget;
using SiteRecovery.DataPlane.Retention;
using SiteRecovery.Domain.History;
using SiteRecovery.Domain.Policies;
using SiteRecovery.Simulation.World;

namespace SiteRecovery.Simulation.Retention;

/// <summary>Sectors of a store that the disk does not give any more.</summary>
public sealed class UnreadableStoreTests
{
    private const int DiskBytes = 64 << 10, Batches = 40;
    private static readonly MachineId Machine = new("db1");
    private readonly SimClock _clock = new();
    private readonly byte[] _model = new byte[DiskBytes];

    /// <summary>It may be there again in a moment; when it is not, the store goes on in front of it, and says what it lost.</summary>
    [Fact]
    public async Task Of_the_last_segment_they_are_waited_for_and_then_given_up()
    {
        var disk = Filled(framesInSegment: 1000);
        var segment = SegmentsOf(disk)[^1];
        disk.Spoil(segment, disk.LengthOf(segment) / 2);
        await using var receiver = new StoreReceiver("/stores", disk, _clock);
        Assert.Throws<IOException>(() => receiver.StoreOf(Machine));
        _clock.Spend(TimeSpan.FromSeconds(10));
        Assert.Throws<IOException>(() => receiver.StoreOf(Machine));
        _clock.Spend(TimeSpan.FromSeconds(10));
        var store = receiver.StoreOf(Machine);
        Assert.Equal((null, true), (store.FailedReason, store.HasLost));
        Assert.InRange(store.ConsistentUpTo!.Sequence.Value, Batches / 4, Batches * 3 / 4);
    }

    /// <summary>Its header says nothing that its name does not; but of a page that cannot be read no part can be written.</summary>
    [Fact]
    public async Task In_front_of_the_last_segment_they_are_given_up_with_all_that_it_held()
    {
        var disk = Filled(framesInSegment: 1000);
        disk.Spoil(SegmentsOf(disk)[^1], 0);
        await using var receiver = new StoreReceiver("/stores", disk, _clock);
        Assert.Throws<IOException>(() => receiver.StoreOf(Machine));
        _clock.Spend(TimeSpan.FromSeconds(20));
        var store = receiver.StoreOf(Machine);
        Assert.Equal((null, true), (store.FailedReason, store.HasLost));
        Assert.Empty(store.Points);
    }

    /// <summary>Without its end a segment is replayed, for which the text of its markers is read: where it is gone the store is damaged, and opens all the same.</summary>
    [Theory]
    [InlineData(0, false), InlineData(0, true), InlineData(0.5, true)]
    public void Of_a_sealed_segment_without_its_end_they_do_not_keep_the_store_from_opening(double at, bool withoutIndex)
    {
        var disk = Filled(framesInSegment: 8);
        var segment = SegmentsOf(disk)[0];
        disk.Delete(Path.ChangeExtension(segment, ".end"));
        if (withoutIndex) disk.Delete(Path.ChangeExtension(segment, ".idx"));
        disk.Spoil(segment, (long)(at * disk.LengthOf(segment)));
        Assert.Throws<IOException>(() => RetentionStore.Open("/stores/db1", disk, _clock));
        using var store = RetentionStore.Open("/stores/db1", disk, _clock, options: new StoreOptions { GivesUpUnreadable = true });
        Assert.Contains("cannot be read", store.FailedReason, StringComparison.Ordinal);
        Assert.Equal(segment, store.Damage[0].File);
    }

    [Theory]
    [InlineData(0), InlineData(0.5)]
    public void Whoever_checks_a_store_is_told_of_each_segment_that_cannot_be_read(double at)
    {
        var disk = Filled(framesInSegment: 8);
        using var store = RetentionStore.Open("/stores/db1", disk, _clock);
        var segments = SegmentsOf(disk).Take(2).ToArray();
        foreach (var segment in segments) disk.Spoil(segment, (long)(at * disk.LengthOf(segment)));
        var found = store.Verify();
        Assert.Equal(segments, found.Select(d => d.File));
        Assert.All(found, d => Assert.Contains("cannot be read", d.Reason, StringComparison.Ordinal));
    }

    /// <summary>Without it the segment would be open again, and nobody would know that an epoch may have been begun behind it.</summary>
    [Fact]
    public void Of_the_last_segments_end_they_are_waited_for()
    {
        var disk = Filled(framesInSegment: 1000);
        var end = End(disk, disk.LengthOf(SegmentsOf(disk)[^1]));
        disk.Spoil(end, 0);
        Assert.Throws<IOException>(() => RetentionStore.Open("/stores/db1", disk, _clock));
        Assert.Contains(end, disk.Files("/stores/db1/log"));
        using var store = RetentionStore.Open("/stores/db1", disk, _clock, options: new StoreOptions { GivesUpUnreadable = true });
        Assert.Equal(Batches, store.ConsistentUpTo!.Sequence.Value);
    }

    /// <summary>Back behind a loss of power, the end of before it grew would keep a store with a bad sector in that segment from going on.</summary>
    [Fact]
    public void An_end_of_a_segment_that_grows_does_not_come_back()
    {
        var disk = Filled(framesInSegment: 1000);
        var end = End(disk, disk.LengthOf(SegmentsOf(disk)[^1]) / 2);
        using (var store = RetentionStore.Open("/stores/db1", disk, _clock))
        {
            store.Append(BatchCodec.Encode(Header(BatchKind.Delta, Batches + 2, Batches + 1), [new Extent(0, 512, 0, ExtentKind.Data)], new byte[512]));
            store.Flush();
        }
        for (var seed = 0; seed < 50; seed++) Assert.DoesNotContain(end, disk.LosePower(seed).Files("/stores/db1/log"));
    }

    /// <summary>A last segment's end, as a store writes it.</summary>
    private static string End(SimDisk disk, long bytes)
    {
        var path = Path.ChangeExtension(SegmentsOf(disk)[^1], ".end");
        disk.Replace(path, new SegmentEnd
        {
            Tag = BatchCodec.TagOf(Machine), Segment = 1, Bytes = bytes, Epoch = 1, Frames = Batches + 1, Extents = Batches, FirstSequence = 1, LastSequence = Batches, FirstTime = SimClock.Epoch, LastTime = SimClock.Epoch,
            Gap = false, Held = new StreamPosition(1, Batches + 1), Newest = Batches, CurrentAsOf = SimClock.Epoch, Points = [],
        }.ToBytes());
        return path;
    }

    [Fact]
    public async Task Of_the_last_segment_they_cost_nothing_when_they_can_be_read_again()
    {
        var disk = Filled(framesInSegment: 1000);
        disk.Faults = io => io.Kind == IoKind.Read && io.Path.EndsWith(".seg", StringComparison.Ordinal) ? Fault.Error : Fault.None;
        await using var receiver = new StoreReceiver("/stores", disk, _clock);
        Assert.Throws<IOException>(() => receiver.StoreOf(Machine));
        _clock.Spend(TimeSpan.FromSeconds(10));
        disk.Faults = null;
        Assert.Equal((Batches, false), (receiver.StoreOf(Machine).ConsistentUpTo!.Sequence.Value, receiver.StoreOf(Machine).HasLost));
    }

    /// <summary>Every file that can be made from the segments is.</summary>
    [Theory, InlineData(".idx"), InlineData(".map"), InlineData(".end"), InlineData("SYNCED")]
    public void Of_what_is_made_from_segments_they_are_made_again(string file)
    {
        var disk = Filled(framesInSegment: 8);
        var spoiled = disk.Files("/stores/db1/log").Where(f => f.EndsWith(file, StringComparison.Ordinal)).ToArray();
        Assert.NotEmpty(spoiled);
        foreach (var path in spoiled) disk.Spoil(path, 0);
        // What was flushed is not made from segments: it is waited for first.
        if (file == "SYNCED") Assert.Throws<IOException>(() => RetentionStore.Open("/stores/db1", disk, _clock));
        using var store = RetentionStore.Open("/stores/db1", disk, _clock, options: new StoreOptions { GivesUpUnreadable = file == "SYNCED" });
        Assert.Equal(Batches, store.ConsistentUpTo!.Sequence.Value);
        var view = store.At(store.ConsistentUpTo);
        var shown = new byte[DiskBytes];
        view.File(0).Read(0, shown);
        view.Release();
        Assert.True(_model.AsSpan().SequenceEqual(shown));
    }

    /// <summary>Said to be open while the store was still in the epoch before, it would take that one's stream, and keep a replica's writes in the wrong place.</summary>
    [Fact]
    public void Of_what_an_epoch_forks_from_they_keep_it_from_beginning_until_they_can_be_read()
    {
        var reads = 0;
        for (var failed = true; failed; reads++)
        {
            var disk = Marked();
            using var store = RetentionStore.Open("/stores/db1", disk, _clock);
            var (left, point) = (reads, Assert.Single(store.Points));
            failed = false;
            disk.Faults = io => io.Kind == IoKind.Read && left-- <= 0 ? Fault.Error : Fault.None;
            try
            {
                store.OpenEpoch(Epoch.First.Next(), point);
            }
            catch (IOException)
            {
                failed = true;
            }
            disk.Faults = null;
            store.OpenEpoch(Epoch.First.Next(), point);
            Assert.Equal((Epoch.First.Next(), Batches), (store.CurrentEpoch, store.ConsistentUpTo!.Sequence.Value));
            Assert.Throws<StaleEpochException>(() => store.Append(BatchCodec.Encode(Header(BatchKind.Marker, 99, Batches) with { Marker = MarkerKind.StreamStart }, [], "continue"u8)));
        }
        Assert.True(reads > 1, "nothing had to be read");
    }

    /// <summary>Whether a stream went on, that nothing else tells: a position that may be viewable in a moment is not said to be none.</summary>
    [Fact]
    public void Of_a_streams_start_they_are_waited_for_and_only_then_it_is_guessed()
    {
        var (disk, start) = Started();
        using var store = RetentionStore.Open("/stores/db1", disk, _clock);
        disk.Faults = io => io.Kind == IoKind.Read && io.Path.EndsWith("1.seg", StringComparison.Ordinal) && io.Offset == start ? Fault.Error : Fault.None;
        Assert.Throws<IOException>(Unmarked);
        _clock.Spend(TimeSpan.FromSeconds(10));
        Assert.Throws<IOException>(Unmarked);
        _clock.Spend(TimeSpan.FromSeconds(10));
        Assert.Null(Unmarked());
        disk.Faults = null;
        Assert.NotNull(Unmarked());

        RecoveryPoint? Unmarked() => store.ResolvePoint(new PointSelector.ById("e1-s2"));
    }

    /// <summary>What was said of a point whose position cannot be looked up just now stays, and so does what is said of others.</summary>
    [Fact]
    public void Of_a_streams_start_they_keep_nobody_from_saying_something_of_a_point()
    {
        var (disk, start) = Started();
        using (var store = RetentionStore.Open("/stores/db1", disk, _clock)) store.Verify(store.ResolvePoint(new PointSelector.ById("e1-s2"))!, default);
        using var again = RetentionStore.Open("/stores/db1", disk, _clock);
        disk.Faults = io => io.Kind == IoKind.Read && io.Path.EndsWith("1.seg", StringComparison.Ordinal) && io.Offset == start ? Fault.Error : Fault.None;
        var (verified, unreadable) = (again.ConsistentUpTo!, new RecoveryPoint(Epoch.First, new Sequence(2), default, PointKind.CrashConsistent));
        Assert.Null(again.Verify(verified, default).Damage);
        Assert.NotNull(again.NoteOf(unreadable).VerifiedAt);
        Assert.NotNull(again.NoteOf(verified).VerifiedAt);
    }

    /// <summary>Where thinning has changed what lies in front of a segment, its end says only what became of it.</summary>
    [Fact]
    public void Of_a_streams_start_in_a_segment_that_is_replayed_they_are_waited_for_and_a_guess_is_not_kept()
    {
        var (disk, path) = (Started().Disk, "/stores/db1/log/0000000001.end");
        disk.Replace(path, (SegmentEnd.TryRead(disk.TryReadAll(path), BatchCodec.TagOf(Machine), 1)! with { ThinnedBefore = new StreamPosition(1, 1) }).ToBytes());
        disk.Faults = io => io.Kind == IoKind.Read && io.Path.EndsWith("1.seg", StringComparison.Ordinal) && io.Offset == SegmentFile.HeaderBytesOf(SegmentId.Of(1)) ? Fault.Error : Fault.None;
        Assert.Throws<IOException>(() => RetentionStore.Open("/stores/db1", disk, _clock));
        using (var store = RetentionStore.Open("/stores/db1", disk, _clock, options: new StoreOptions { GivesUpUnreadable = true }))
            Assert.Equal((null, null, "e1-s5"), (store.FailedReason, store.ResolvePoint(new PointSelector.ById("e1-s2")), store.ConsistentUpTo?.Id));
        disk.Faults = null;
        using var again = RetentionStore.Open("/stores/db1", disk, _clock);
        Assert.NotNull(again.ResolvePoint(new PointSelector.ById("e1-s2")));
    }

    /// <summary>A sealed segment with a start of which only its frame says that it continued, and where that lies.</summary>
    private (SimDisk Disk, long Start) Started()
    {
        var (disk, ordinal, length, start) = (new SimDisk(), 0L, (long)SegmentFile.HeaderBytesOf(SegmentId.Of(1)), 0L);
        using var store = RetentionStore.Create("/stores/db1", Machine, [new DiskGeometry(0, "vda", DiskBytes)], Epoch.First, disk, _clock);
        Append(BatchKind.Marker, MarkerKind.StreamStart, 0, "continue");
        Append(BatchKind.Delta, MarkerKind.None, 1);
        start = length;
        Append(BatchKind.Marker, MarkerKind.StreamStart, 1, "continue");
        Append(BatchKind.Delta, MarkerKind.None, 2);
        Append(BatchKind.Delta, MarkerKind.None, 3);
        Append(BatchKind.Marker, MarkerKind.StreamStart, 3, "gap");
        Append(BatchKind.Delta, MarkerKind.None, 4);
        Append(BatchKind.Marker, MarkerKind.SyncCompleted, 4);
        Append(BatchKind.Delta, MarkerKind.None, 5);
        store.Flush();
        store.ContinueEpoch(new Epoch(2), Epoch.First);
        store.Append(BatchCodec.Encode(Header(BatchKind.Marker, 1, 5) with { Marker = MarkerKind.StreamStart, Epoch = new Epoch(2), Incarnation = 2 }, [], "gap"u8));
        store.Flush();
        return (disk.Kill(), start);

        void Append(BatchKind kind, MarkerKind marker, long sequence, string text = "")
        {
            Extent[] extents = kind == BatchKind.Delta ? [new Extent(sequence * 512, 512, 0, ExtentKind.Zero)] : [];
            var batch = BatchCodec.Encode(Header(kind, ++ordinal, sequence) with { Marker = marker }, extents, System.Text.Encoding.UTF8.GetBytes(text));
            store.Append(batch);
            length += batch.Frame.Length;
        }
    }

    /// <summary>Else it would be refused at the next opening, by an epoch that nobody was told has begun.</summary>
    [Theory, InlineData(false), InlineData(true)]
    public void An_epoch_that_could_not_be_saved_is_on_no_disk_once_the_stream_before_it_has_gone_on(bool isFull)
    {
        var disk = Filled(framesInSegment: 1000);
        using (var store = RetentionStore.Open("/stores/db1", disk, _clock))
        {
            var failing = isFull ? (IoKind.Create, "/stores/db1/MANIFEST.json.tmp") : (IoKind.FlushFolder, "/stores/db1");
            disk.Faults = io => (io.Kind, io.Path) == failing ? Fault.Error : Fault.None;
            Assert.Throws<IOException>(() => store.OpenEpoch(new Epoch(2), store.ConsistentUpTo!));
            Assert.Equal(Epoch.First, store.CurrentEpoch);
            if (isFull)
            {
                Assert.Throws<IOException>(() => Write(store));
                Assert.NotNull(store.WriteFailure);
            }
            disk.Faults = null;
            using var opened = isFull ? RetentionStore.Open("/stores/db1", disk, _clock) : null;
            Assert.True(Write(opened ?? store));
            (opened ?? store).Flush();
        }
        using var again = RetentionStore.Open("/stores/db1", disk.LosePower(1), _clock);
        Assert.Equal((Epoch.First, Batches + 1), (again.CurrentEpoch, again.ConsistentUpTo!.Sequence.Value));

        bool Write(RetentionStore store) => store.Append(BatchCodec.Encode(Header(BatchKind.Delta, Batches + 2, Batches + 1), [new Extent(0, 512, 0, ExtentKind.Data)], new byte[512]));
    }

    /// <summary>What was read before the sector broke is right; but the source sends only what differs, and the disk is what a failover has.</summary>
    [Fact]
    public async Task Of_the_newest_position_they_are_compared_as_the_disk_has_them_and_not_as_they_are_remembered()
    {
        var disk = Filled(framesInSegment: 8);
        using var store = RetentionStore.Open("/stores/db1", disk, _clock, options: new StoreOptions { SegmentFramesMax = 8 });
        var before = await store.HashesAsync(0, 0, 4096, DiskBytes / 4096, default);
        foreach (var segment in SegmentsOf(disk).SkipLast(1))
            for (var at = 32; at < disk.LengthOf(segment); at += SimDisk.SectorBytes) disk.Spoil(segment, at);
        store.Scrub(1 << 20, default);
        Assert.NotEmpty(store.DamageOfNewest());
        var after = await store.HashesAsync(0, 0, 4096, DiskBytes / 4096, default);
        Assert.False(before.SequenceEqual(after));
    }

    /// <summary>It stays as it is; the others are thinned, and what is to go altogether goes.</summary>
    [Fact]
    public void Of_one_segment_they_keep_no_other_from_being_thinned()
    {
        var disk = Filled(framesInSegment: 8);
        disk.Spoil(SegmentsOf(disk)[1], disk.LengthOf(SegmentsOf(disk)[1]) / 2);
        using var store = RetentionStore.Open("/stores/db1", disk, _clock, options: new StoreOptions { SegmentFramesMax = 8 });
        var limits = new RetentionLimits(TimeSpan.FromSeconds(5), null, RetentionTiers.Of([new RetentionTier(TimeSpan.FromSeconds(4), TimeSpan.FromSeconds(100))]));
        Assert.Throws<IOException>(() => store.Maintain(limits, default));
        _clock.Spend(TimeSpan.FromSeconds(20));
        store.Maintain(limits, default);
        store.Maintain(limits, default);
        Assert.Contains(Enumerable.Range(20, 10), s => store.ThinnedAround(Epoch.First, new Sequence(s)) is not null);
        Assert.DoesNotContain(Enumerable.Range(9, 6), s => store.ThinnedAround(Epoch.First, new Sequence(s)) is not null);
    }

    /// <summary>It was read meanwhile: that it could not be once, long ago, is no part of its patience.</summary>
    [Fact]
    public void Of_one_segment_they_do_not_keep_it_from_being_thinned_because_it_could_not_be_read_once_before()
    {
        var disk = Filled(framesInSegment: 8);
        using var store = RetentionStore.Open("/stores/db1", disk, _clock, options: new StoreOptions { SegmentFramesMax = 8 });
        Thin(every: 2);
        var before = ThinnedAway();
        _clock.Spend(TimeSpan.FromSeconds(20));
        Thin(every: 8);
        Assert.True(ThinnedAway() > before, $"as before {before} positions are thinned away");

        int ThinnedAway() => Enumerable.Range(1, Batches).Count(s => store.ThinnedAround(Epoch.First, new Sequence(s)) is not null);

        void Thin(int every)
        {
            var limits = new RetentionLimits(TimeSpan.FromSeconds(5), null, RetentionTiers.Of([new RetentionTier(TimeSpan.FromSeconds(every), TimeSpan.FromSeconds(100))]));
            var failed = 0;
            foreach (var segment in SegmentsOf(disk))
            {
                var left = 1;
                disk.Faults = io => io.Kind == IoKind.Read && io.Path == segment && left-- == 1 ? Fault.Error : Fault.None;
                try
                {
                    store.Maintain(limits, default);
                }
                catch (IOException)
                {
                    failed++;
                }
            }
            disk.Faults = null;
            for (var i = 0; i < 3; i++) store.Maintain(limits, default);
            Assert.True(failed > 0, "nothing of it had to be read");
        }
    }

    /// <summary>An order that ended an earlier protection had to wait for the manifest once: the store's own sectors are waited for all the same.</summary>
    [Fact]
    public async Task Of_a_store_that_is_opened_they_are_waited_for_whatever_was_waited_for_before()
    {
        var disk = Filled(framesInSegment: 1000);
        await using var receiver = new StoreReceiver("/stores", disk, _clock);
        Fail("MANIFEST.json");
        Assert.Throws<IOException>(() => receiver.TryEnd(Machine, new Epoch(0)));
        disk.Faults = null;
        Assert.False(receiver.TryEnd(Machine, new Epoch(0)));
        _clock.Spend(TimeSpan.FromSeconds(20));
        Fail(".seg");
        Assert.Throws<IOException>(() => receiver.StoreOf(Machine));
        // Nor the other way round: whose it is is not unknown at once.
        _clock.Spend(TimeSpan.FromSeconds(20));
        Fail("MANIFEST.json");
        Assert.Throws<IOException>(() => receiver.TryEnd(Machine, new Epoch(0)));
        disk.Faults = null;
        Assert.Equal((Batches, false), (receiver.StoreOf(Machine).ConsistentUpTo!.Sequence.Value, receiver.StoreOf(Machine).HasLost));

        void Fail(string file) => disk.Faults = io => io.Kind == IoKind.Read && io.Path.EndsWith(file, StringComparison.Ordinal) ? Fault.Error : Fault.None;
    }

    /// <summary>The other one is whole, and the scrub makes two of it again.</summary>
    [Theory, InlineData("KEYS.json"), InlineData("KEYS-2.json")]
    public void Of_one_copy_of_the_keys_they_cost_nothing(string copy)
    {
        var disk = Filled(framesInSegment: 8, encrypted: true);
        var path = $"/stores/db1/{copy}";
        disk.Spoil(path, 0);
        using var store = RetentionStore.Open("/stores/db1", disk, _clock, options: Encrypted(8));
        var view = store.At(store.ConsistentUpTo!);
        var shown = new byte[DiskBytes];
        view.File(0).Read(0, shown);
        view.Release();
        Assert.True(_model.AsSpan().SequenceEqual(shown));
        store.Encrypt(true);
        Assert.Throws<IOException>(() => disk.TryReadAll(path));
        while (!store.IsBetweenScrubs) store.Scrub(1 << 20, default);
        Assert.Contains(store.Rot, r => r.File == path);
        Assert.Equal(disk.TryReadAll("/stores/db1/KEYS.json"), disk.TryReadAll("/stores/db1/KEYS-2.json"));
    }

    private static StoreOptions Encrypted(int framesInSegment) => new() { SegmentFramesMax = framesInSegment, Keys = new KeyWrappings(SimKey.Wrapping, [], KeyWrappings.RenewAfterDefault) };

    /// <summary>With a point that lies behind the last segment.</summary>
    private SimDisk Marked()
    {
        var disk = Filled(framesInSegment: 8);
        using var store = RetentionStore.Open("/stores/db1", disk, _clock, options: new StoreOptions { SegmentFramesMax = 8 });
        store.Append(BatchCodec.Encode(Header(BatchKind.Marker, Batches + 2, Batches) with { Marker = MarkerKind.CrashConsistentPoint }, [], default));
        for (var i = 1; i <= 20; i++) store.Append(BatchCodec.Encode(Header(BatchKind.Delta, Batches + 2 + i, Batches + i), [new Extent(0, 512, 0, ExtentKind.Data)], new byte[512]));
        store.Flush();
        return disk.Kill();
    }

    private static string[] SegmentsOf(SimDisk disk) => [.. disk.Files("/stores/db1/log").Where(f => f.EndsWith(".seg", StringComparison.Ordinal))];

    private SimDisk Filled(int framesInSegment, bool encrypted = false)
    {
        var (disk, random) = (new SimDisk(), new Random(framesInSegment));
        using var store = RetentionStore.Create("/stores/db1", Machine, [new DiskGeometry(0, "vda", DiskBytes)], Epoch.First, disk, _clock, options: Encrypted(framesInSegment));
        store.Encrypt(encrypted);
        store.Append(BatchCodec.Encode(Header(BatchKind.Marker, 1, 0) with { Marker = MarkerKind.StreamStart }, [], "continue"u8));
        for (var i = 1; i <= Batches; i++)
        {
            var (data, offset) = (new byte[1024], random.Next(DiskBytes / 512 - 2) * 512);
            random.NextBytes(data);
            data.CopyTo(_model, offset);
            store.Append(BatchCodec.Encode(Header(BatchKind.Delta, i + 1, i), [new Extent(offset, data.Length, 0, ExtentKind.Data)], data));
            store.Flush();
        }
        store.Maintain(null, default);
        store.At(store.ConsistentUpTo!).Release();
        return disk.Kill();
    }

    private static BatchHeader Header(BatchKind kind, long ordinal, long sequence) => new()
    {
        Kind = kind, MachineTag = BatchCodec.TagOf(Machine), Epoch = Epoch.First, Incarnation = 1, Ordinal = ordinal,
        First = new Sequence(sequence), Last = new Sequence(sequence), Time = SimClock.Epoch.AddDays(-1).AddSeconds(sequence),
    };
}
