using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.DataPlane.Retention;
using SiteRecovery.DataPlane.Storage;
using SiteRecovery.Domain.History;

namespace SiteRecovery.DataPlane.Tests.Retention;

/// <summary>What lies outside of the retention goes into the base; everything else stays as it was. StoreModel has the random histories.</summary>
public sealed class PromotionTests : IDisposable
{
    private const int DiskBytes = 1 << 20, FramesPerSegment = 10;
    private static readonly MachineId Machine = new("db1");
    private readonly string _folder = Directory.CreateTempSubdirectory("promotion").FullName;
    private readonly byte[] _now = new byte[DiskBytes];
    private readonly Dictionary<long, byte[]> _at = [];
    private readonly Random _random = new(1);
    private long _ordinal, _sequence, _ahead;
    private TimeProvider _clock = TimeProvider.System;

    private sealed class StoppedClock(int second) : TimeProvider
    {
        public override DateTimeOffset GetUtcNow() => DateTimeOffset.UnixEpoch.AddSeconds(second);
    }

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    public void Positions_within_the_window_stay_and_older_ones_go_with_their_segments()
    {
        using var store = Filled(frames: 55);
        var log = Bytes("log");
        store.Maintain(new RetentionLimits(TimeSpan.FromSeconds(24), null), CancellationToken.None);
        var oldest = store.OldestPoint!;
        // Segments go as a whole: less than one of them more than the window asks is kept.
        Assert.InRange((store.CurrentAsOf - oldest.At).TotalSeconds, 24, 24 + FramesPerSegment);
        foreach (var (sequence, content) in _at)
        {
            var point = store.ResolvePoint(new PointSelector.ById($"e1-s{sequence}"));
            Assert.Equal(sequence >= oldest.Sequence.Value, point is not null);
            if (point is not null) Assert.Equal(content, ReadAll(store, point));
            else Assert.Contains($"is from before what this store keeps: the oldest that is left is {oldest.Id}",
                Assert.Throws<InvalidDataException>(() => store.At(oldest with { Sequence = new Sequence(sequence) })).Message, StringComparison.Ordinal);
        }
        Assert.Null(store.ResolvePoint(new PointSelector.AtTime(oldest.At.AddSeconds(-1))));
        Assert.Equal(oldest.Sequence, store.ResolvePoint(new PointSelector.AtTime(oldest.At))!.Sequence);
        Assert.True(Bytes("log") < log * 6 / 10);
        Assert.Empty(store.Verify());
    }

    [Fact]
    public void The_newest_position_stays_however_short_the_window_and_a_silent_store_forgets_nothing()
    {
        using var store = Filled(frames: 35);
        for (var i = 0; i < 3; i++) store.Maintain(new RetentionLimits(TimeSpan.FromTicks(1), null), CancellationToken.None);
        Assert.Equal(_at[_sequence], ReadAll(store, store.ConsistentUpTo!));
        var before = (store.OldestPoint, store.Bytes);
        store.Maintain(new RetentionLimits(TimeSpan.FromTicks(1), null), CancellationToken.None);
        Assert.Equal(before, (store.OldestPoint, store.Bytes));
    }

    [Fact]
    public void The_segments_of_a_machine_that_writes_little_end_by_time()
    {
        using var store = Create(framesPerSegment: 1 << 15);
        for (var i = 0; i < 200; i++)
        {
            Write(store, _random.Next(DiskBytes / 512) * 512, 512);
            store.Maintain(new RetentionLimits(TimeSpan.FromSeconds(48), null), CancellationToken.None);
        }
        Assert.InRange((store.CurrentAsOf - store.OldestPoint!.At).TotalSeconds, 48, 48 + 12);
        Assert.Equal(_at[_sequence], ReadAll(store, store.ConsistentUpTo!));
    }

    [Fact]
    public void A_source_whose_clock_jumps_ahead_makes_its_store_forget_nothing()
    {
        _clock = new StoppedClock(60);
        using var store = Filled(frames: 55);
        _ahead = 1_000_000;
        for (var i = 0; i < 30; i++) Write(store, _random.Next(DiskBytes / 512) * 512, 512);
        store.Maintain(new RetentionLimits(TimeSpan.FromSeconds(40), null), CancellationToken.None);
        Assert.NotNull(store.ResolvePoint(new PointSelector.ById("e1-s22")));
        Assert.Null(store.ResolvePoint(new PointSelector.ById("e1-s5"))); // that is as old as it was
    }

    [Fact]
    public void What_was_written_while_a_clock_was_ahead_does_not_stay_until_then()
    {
        using var store = Create();
        for (var i = 0; i < 200; i++)
        {
            _ahead = i is > 40 and < 66 ? 1_000_000 : 0;
            Write(store, _random.Next(DiskBytes / 512) * 512, 512);
            store.Maintain(new RetentionLimits(TimeSpan.FromSeconds(24), null), CancellationToken.None);
            if (i is > 48 and < 66) Assert.NotNull(store.ResolvePoint(new PointSelector.ById("e1-s43")));
        }
        Assert.InRange((store.CurrentAsOf - store.OldestPoint!.At).TotalSeconds, 24, 24 + FramesPerSegment);
        Assert.Equal(_at[_sequence], ReadAll(store, store.ConsistentUpTo!));
    }

    [Fact]
    public void Too_many_bytes_shorten_the_window()
    {
        using var store = Filled(frames: 55);
        var before = store.Bytes;
        store.Maintain(new RetentionLimits(TimeSpan.FromDays(1), before / 2), CancellationToken.None);
        Assert.InRange(store.Bytes, 1, before / 2);
        Assert.Equal(_at[_sequence], ReadAll(store, store.ConsistentUpTo!));
    }

    [Fact]
    public void A_view_that_somebody_holds_stays_what_it_is()
    {
        using var store = Filled(frames: 55);
        var (held, young) = (store.ResolvePoint(new PointSelector.ById("e1-s25"))!, store.ResolvePoint(new PointSelector.ById($"e1-s{_sequence - 1}"))!);
        var (view, other) = (store.At(held), store.At(young));
        store.Maintain(new RetentionLimits(TimeSpan.FromTicks(1), null), CancellationToken.None);
        Assert.True(store.OldestPoint!.Sequence < held.Sequence);
        Assert.Equal(_at[25], ReadAll(view));
        Assert.NotNull(store.ResolvePoint(new PointSelector.ById("e1-s25")));
        Assert.Equal(_at[_sequence - 1], ReadAll(other));
        GC.KeepAlive(view);
    }

    [Fact]
    public void A_protected_point_stays_with_all_that_follows_it_until_it_is_given_up()
    {
        using (var store = Filled(frames: 55)) Assert.True(store.Protect(store.ResolvePoint(new PointSelector.ById("e1-s25"))!, keep: true).Protected);
        using var again = Open();
        again.Maintain(new RetentionLimits(TimeSpan.FromTicks(1), null), CancellationToken.None);
        var kept = again.ResolvePoint(new PointSelector.ById("e1-s25"))!;
        Assert.True(again.NoteOf(kept).Protected);
        Assert.Equal(_at[25], ReadAll(again, kept));
        Assert.NotNull(again.ResolvePoint(new PointSelector.ById("e1-s26")));
        Assert.True(again.OldestPoint!.Sequence > new Sequence(10));
        again.Protect(kept, keep: false);
        again.Maintain(new RetentionLimits(TimeSpan.FromTicks(1), null), CancellationToken.None);
        Assert.Null(again.ResolvePoint(new PointSelector.ById("e1-s25")));
        Assert.Throws<InvalidDataException>(() => again.Protect(kept, keep: true));
    }

    [Fact]
    public void Nothing_goes_while_it_is_not_known_what_is_protected()
    {
        using (var store = Filled(frames: 55)) store.Protect(store.ConsistentUpTo!, keep: true);
        File.WriteAllText(Path.Combine(_folder, "store", "NOTES.json"), "[{");
        // What is found of points meanwhile says nothing of what is to be kept, and a restart changes nothing.
        using (var found = Open())
        {
            found.Scrub(long.MaxValue, CancellationToken.None);
            Assert.NotNull(found.Verify(found.ConsistentUpTo!, CancellationToken.None).VerifiedAt);
            found.ProveNewest(long.MaxValue, CancellationToken.None);
            found.Maintain(new RetentionLimits(TimeSpan.FromTicks(1), null), CancellationToken.None);
        }
        using var damaged = Open();
        damaged.Maintain(new RetentionLimits(TimeSpan.FromTicks(1), null), CancellationToken.None);
        Assert.NotNull(damaged.ResolvePoint(new PointSelector.ById("e1-s1")));
        Assert.Contains(damaged.Verify(), d => d.File.EndsWith("NOTES.json", StringComparison.Ordinal));
        damaged.Protect(damaged.ConsistentUpTo!, keep: true);
        damaged.Maintain(new RetentionLimits(TimeSpan.FromTicks(1), null), CancellationToken.None);
        Assert.Null(damaged.ResolvePoint(new PointSelector.ById("e1-s1")));
        Assert.Empty(damaged.Verify());
    }

    [Fact]
    public void What_is_protected_is_written_anew_where_its_file_rots_under_an_open_store()
    {
        using (var store = Filled(frames: 55))
        {
            store.Protect(store.ResolvePoint(new PointSelector.ById("e1-s25"))!, keep: true);
            File.WriteAllText(Path.Combine(_folder, "store", "NOTES.json"), "[{");
            store.Scrub(long.MaxValue, CancellationToken.None);
            Assert.Contains(store.Rot, d => d.File.EndsWith("NOTES.json", StringComparison.Ordinal));
            store.Scrub(long.MaxValue, CancellationToken.None);
            Assert.Empty(store.Rot);
        }
        using var again = Open();
        Assert.Empty(again.Verify());
        Assert.True(again.NoteOf(again.ResolvePoint(new PointSelector.ById("e1-s25"))!).Protected);
    }

    [Fact]
    public void A_verification_says_of_a_point_what_it_found_and_keeps_it()
    {
        using (var store = Filled(frames: 25))
        {
            store.Flush();
            var good = store.Verify(store.ConsistentUpTo!, CancellationToken.None);
            Assert.NotNull(good.VerifiedAt);
            Assert.Null(good.Damage);
        }
        var segment = Path.Combine(_folder, "store", "log", "0000000002.seg");
        var bytes = File.ReadAllBytes(segment);
        bytes[^1] ^= 1;
        File.WriteAllBytes(segment, bytes);
        using var again = Open();
        Assert.NotNull(again.NoteOf(again.ConsistentUpTo!).VerifiedAt);
        var early = again.ResolvePoint(new PointSelector.ById("e1-s5"))!;
        Assert.Null(again.Verify(early, CancellationToken.None).Damage);
        Assert.Contains("segment 2 is damaged", again.Verify(again.ResolvePoint(new PointSelector.ById("e1-s19"))!, CancellationToken.None).Damage, StringComparison.Ordinal);
    }

    [Fact]
    public void What_is_promoted_together_is_written_once_however_often_it_was_overwritten()
    {
        var files = new FullBaseFiles();
        using var store = Create(files: files);
        for (var i = 0; i < 200; i++) Write(store, offset: i % 4 * 65536, length: 65536);
        store.Maintain(new RetentionLimits(TimeSpan.FromTicks(1), null), CancellationToken.None);
        // Of forty frames at a time four ranges are left.
        Assert.InRange(files.BytesWritten, 4 * 65536, 200 * 65536 / 8);
        Assert.Equal(_at[_sequence], ReadAll(store, store.ConsistentUpTo!));
    }

    [Fact]
    public void A_flipped_bit_in_the_base_is_found_by_verify_and_by_views()
    {
        using (var store = Filled(frames: 55)) store.Maintain(new RetentionLimits(TimeSpan.FromTicks(1), null), CancellationToken.None);
        foreach (var file in Directory.GetFiles(Path.Combine(_folder, "store", "base")))
        {
            var whole = File.ReadAllBytes(file);
            var flipped = whole.ToArray();
            flipped[Array.FindIndex(flipped, b => b != 0)] ^= 16;
            File.WriteAllBytes(file, flipped);
            using var damaged = Open();
            Assert.NotEmpty(damaged.Verify());
            Assert.Contains("damaged", Assert.Throws<IOException>(() => ReadAll(damaged, damaged.ConsistentUpTo!)).Message, StringComparison.Ordinal);
            File.WriteAllBytes(file, whole);
        }
        using var again = Open();
        Assert.Equal(_at[_sequence], ReadAll(again, again.ConsistentUpTo!));
    }

    [Fact]
    public void Each_block_of_a_long_read_of_the_base_is_checked()
    {
        using (var store = Create())
        {
            for (var at = 0; at < DiskBytes; at += 1 << 16) Write(store, at, 1 << 16);
            for (var i = 0; i < 20; i++) Write(store, 0, 512);
            store.Maintain(new RetentionLimits(TimeSpan.FromTicks(1), null), CancellationToken.None);
        }
        var file = Path.Combine(_folder, "store", "base", "disk-0.raw");
        var whole = File.ReadAllBytes(file);
        foreach (var block in (int[])[64, 65, 100, 255])
        {
            var flipped = whole.ToArray();
            flipped[block * 4096 + 77] ^= 1;
            File.WriteAllBytes(file, flipped);
            using var damaged = Open();
            var disk = damaged.At(damaged.ConsistentUpTo!).File(0);
            Assert.Contains($"offset {block * 4096}", Assert.Throws<IOException>(() => disk.Read(4096 * 30, new byte[DiskBytes - 4096 * 30])).Message, StringComparison.Ordinal);
            // What does not touch it is there, as far as the byte in front of it.
            var before = new byte[block * 4096 - 512];
            disk.Read(512, before.AsSpan(0, before.Length));
            Assert.True(_now.AsSpan(512, before.Length).SequenceEqual(before));
        }
        File.WriteAllBytes(file, whole);
    }

    [Fact]
    public async Task Readers_and_the_writer_go_on_while_segments_are_promoted()
    {
        using var store = Filled(frames: 155);
        var (point, content) = (store.ConsistentUpTo!, _at[_sequence]);
        var view = store.At(point);
        using var stop = new CancellationTokenSource();
        var reading = Task.Run(() =>
        {
            var reads = 0;
            for (; !stop.IsCancellationRequested || reads == 0; reads++) Assert.Equal(content, ReadAll(view));
            return reads;
        });
        for (var i = 0; i < 20; i++)
        {
            for (var w = 0; w < FramesPerSegment; w++) Write(store, _random.Next(DiskBytes / 512 - 16) * 512, _random.Next(1, 16) * 512);
            store.Maintain(new RetentionLimits(TimeSpan.FromSeconds(40), null), CancellationToken.None);
        }
        await stop.CancelAsync();
        Assert.True(await reading > 0);
        Assert.Equal(_at[_sequence], ReadAll(store, store.ConsistentUpTo!));
    }

    private RetentionStore Filled(int frames)
    {
        var store = Create();
        for (var i = 0; i < frames; i++) Write(store, _random.Next(DiskBytes / 512 - 64) * 512, _random.Next(1, 64) * 512);
        return store;
    }

    private RetentionStore Create(int framesPerSegment = FramesPerSegment, IFileSystem? files = null)
    {
        var store = RetentionStore.Create(Path.Combine(_folder, "store"), Machine, [new DiskGeometry(0, "vda", DiskBytes)], Epoch.First, files ?? RealFileSystem.Instance,
            _clock, options: new StoreOptions { SegmentFramesMax = framesPerSegment });
        store.Append(BatchCodec.Encode(Header(BatchKind.Marker, 0, 0) with { Marker = MarkerKind.StreamStart }, [], "continue"u8));
        return store;
    }

    private RetentionStore Open() => RetentionStore.Open(Path.Combine(_folder, "store"), RealFileSystem.Instance, TimeProvider.System);

    private void Write(RetentionStore store, int offset, int length)
    {
        _random.NextBytes(_now.AsSpan(offset, length));
        _sequence++;
        Assert.True(store.Append(BatchCodec.Encode(Header(BatchKind.Delta, _sequence, _sequence), [new Extent(offset, length, 0, ExtentKind.Data)], _now.AsSpan(offset, length))));
        _at[_sequence] = [.. _now];
    }

    private BatchHeader Header(BatchKind kind, long first, long last) => new()
    {
        Kind = kind, MachineTag = BatchCodec.TagOf(Machine), Epoch = Epoch.First, Incarnation = 1, Ordinal = ++_ordinal,
        First = new Sequence(first), Last = new Sequence(last), Time = DateTimeOffset.UnixEpoch.AddSeconds(_ordinal + _ahead),
    };

    private long Bytes(string folder) => Directory.GetFiles(Path.Combine(_folder, "store", folder), "*.seg").Sum(f => new FileInfo(f).Length);

    private static byte[] ReadAll(RetentionStore store, RecoveryPoint point)
    {
        var view = store.At(point);
        var bytes = ReadAll(view);
        view.Release();
        return bytes;
    }

    private static byte[] ReadAll(StoreView view)
    {
        var bytes = new byte[DiskBytes];
        view.File(0).Read(0, bytes);
        return bytes;
    }
}
