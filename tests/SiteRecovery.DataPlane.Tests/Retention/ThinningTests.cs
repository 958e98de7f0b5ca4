using System.IO.Hashing;
using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.DataPlane.Retention;
using SiteRecovery.DataPlane.Storage;
using SiteRecovery.Domain.History;
using SiteRecovery.Domain.Policies;

namespace SiteRecovery.DataPlane.Tests.Retention;

/// <summary>Beyond the window one position per slot stays. StoreModel has the random histories.</summary>
public sealed class ThinningTests : IDisposable
{
    private const int DiskBytes = 1 << 20, FramesPerSegment = 10;
    private static readonly MachineId Machine = new("db1");
    private static readonly string GoldenFolder = Path.Combine(AppContext.BaseDirectory, "Golden", "thinned");
    private readonly string _folder = Directory.CreateTempSubdirectory("thinning").FullName;
    private readonly byte[] _now = new byte[DiskBytes];
    private readonly Dictionary<long, byte[]> _at = [];
    private Random _random = new(1);
    private long _ordinal, _ordinalsBefore, _sequence, _incarnation = 1;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    public void Of_each_slot_beyond_the_window_one_position_stays_as_it_was_and_space_shrinks()
    {
        RecoveryPoint[] left;
        using (var store = Create())
        {
            for (var i = 0; i < 400; i++) Write(store);
            var bytes = store.Bytes;
            store.Maintain(Limits(60, (20, 200), (80, 600)), CancellationToken.None);
            Assert.True(store.Bytes < bytes * 2 / 3, $"{store.Bytes} of {bytes} bytes are left");
            left = Left(store);
            AssertSlots(left, store.CurrentAsOf);
            Assert.Equal(store.Bytes, Directory.GetFiles(Path.Combine(_folder, "store", "log"), "*.seg").Sum(f => new FileInfo(f).Length));
            Assert.Equal(store.ConsistentUpTo, left[^1]);
            var (before, after) = left.Zip(left.Skip(1)).First(p => p.Second.Sequence.Value > p.First.Sequence.Value + 3);
            var thinned = Enumerable.Range((int)before.Sequence.Value + 1, 3).Select(s => new Sequence(s)).ToArray();
            foreach (var sequence in thinned)
            {
                Assert.Equal((before.Id, after.Id), store.ThinnedAround(Epoch.First, sequence) is { } around ? (around.Before.Id, around.After.Id) : default);
                Assert.Contains($"thinned away in this store: the nearest that are left are {before.Id} and {after.Id}",
                    Assert.Throws<InvalidDataException>(() => store.At(before with { Sequence = sequence })).Message, StringComparison.Ordinal);
            }
            Assert.Null(store.ThinnedAround(Epoch.First, new Sequence(_sequence + 1)));
            Assert.Equal(before.Id, store.ResolvePoint(new PointSelector.AtTime(after.At.AddSeconds(-1)))!.Id);
            Assert.Empty(store.Verify());
        }
        using var again = Open();
        Assert.Equal(left, Left(again));
        again.Maintain(Limits(60, (20, 200), (80, 600)), CancellationToken.None);
        Assert.Equal(left, Left(again)); // nothing was left to do
        for (var i = 0; i < 50; i++) Write(again);
        again.Maintain(Limits(60, (20, 200), (80, 600)), CancellationToken.None);
        AssertSlots(Left(again), again.CurrentAsOf);
        Assert.Empty(again.Verify());

        void AssertSlots(RecoveryPoint[] left, DateTimeOffset now)
        {
            var extra = 0;
            // A slot is thinned when all of it and of the segment that it ends in is old enough.
            foreach (var (every, from, to) in new[] { (1, 0, 60), (20, 60 + 40, 200), (80, 200 + 2 * 80, 600) })
                foreach (var slot in left.Where(p => p.At < now.AddSeconds(-from) && p.At >= now.AddSeconds(-to)).GroupBy(p => p.At.ToUnixTimeSeconds() / every))
                    extra += slot.Count() - 1;
            // A thinned segment may end with a position of its own.
            Assert.InRange(extra, 0, Directory.GetFiles(Path.Combine(_folder, "store", "log"), "*-*.seg").Length);
            Assert.Equal(60, left.Count(p => p.At > now.AddSeconds(-60)));
        }
    }

    [Fact]
    public void Of_a_slot_the_point_stays_that_is_worth_most()
    {
        using (var written = Create()) WriteWithPoints(written);
        using var store = Open(framesMax: 1000);
        var kept = store.ResolvePoint(new PointSelector.ById("e1-s85"))!;
        store.Protect(kept, keep: true);
        store.Maintain(Limits(60, (20, 1000)), CancellationToken.None);
        var left = Left(store).Where(p => p.At < store.CurrentAsOf.AddSeconds(-100)).ToArray();
        Assert.Contains(kept.Id, left.Select(p => p.Id));
        Assert.Single(left, p => p.At.ToUnixTimeSeconds() / 20 == kept.At.ToUnixTimeSeconds() / 20);
        // In the slots of 100 to 199 s: the application-consistent one, though a labelled one is younger; the labelled one; the youngest of the others; none, so the last position.
        Assert.Equal(["nightly@106", "before the upgrade@138", "@146", "@166", "@199"],
            left.Where(p => p.At.ToUnixTimeSeconds() is >= 100 and < 200).Select(p => $"{p.Label}@{p.At.ToUnixTimeSeconds()}"));
    }

    private void WriteWithPoints(RetentionStore store)
    {
        for (var i = 0; i < 300; i++)
        {
            Write(store);
            switch (_ordinal % 100)
            {
                case 5: Mark(store, MarkerKind.ApplicationConsistentPoint, "nightly"); break;
                case 12 or 37: Mark(store, MarkerKind.CrashConsistentPoint, "before the upgrade"); break;
                case 15 or 25 or 45 or 65: Mark(store, MarkerKind.CrashConsistentPoint, ""); break;
            }
        }
    }

    [Fact]
    public void While_replication_stalls_the_last_good_points_stay_whatever_comes()
    {
        using var store = Create();
        for (var i = 0; i < 300; i++) Write(store);
        store.Maintain(Limits(60, (20, 200)), CancellationToken.None);
        var (good, left) = (store.ConsistentUpTo!, Left(store));
        // The stream begins anew with a gap, and for hours it is not whole.
        (_incarnation, _ordinal) = (2, 0);
        Assert.True(store.Append(BatchCodec.Encode(Header(BatchKind.Marker, _sequence, 100_000) with { Marker = MarkerKind.StreamStart }, [], "gap"u8)));
        for (var i = 0; i < 300; i++)
            Assert.True(store.Append(BatchCodec.Encode(Header(BatchKind.Sync, _sequence, 100_000 + i * 60), [new Extent(i * 512, 512, 0, ExtentKind.Zero)], [])));
        store.Maintain(Limits(60, (20, 200)), CancellationToken.None);
        Assert.Equal(left, Left(store));
        // Even where bytes are short the last good one stays.
        store.Maintain(Limits(60, (20, 200)) with { BytesMax = 1 }, CancellationToken.None);
        Assert.Equal(good, store.ResolvePoint(new PointSelector.Latest()));
        Assert.Equal(_at[good.Sequence.Value], ReadAll(store, good));
    }

    /// <summary>Also where a slot and a segment end at different times, so that a part of the slot is thinned before the rest has come.</summary>
    [Theory, InlineData(13, 60), InlineData(9, 60), InlineData(11, 100)]
    public void The_best_point_of_a_slot_stays_wherever_segments_end(int framesMax, int every)
    {
        using var store = Create(framesMax);
        var marked = new List<long>();
        for (var i = 0; i < 700; i++)
        {
            Write(store);
            if (_ordinal % (2 * every) == 1)
            {
                Mark(store, MarkerKind.ApplicationConsistentPoint, "nightly");
                marked.Add(_ordinal / every);
            }
            store.Maintain(Limits(300, (every, 100_000)), CancellationToken.None);
        }
        Assert.Equal(marked, store.Points.Where(p => p.Kind == PointKind.ApplicationConsistent).Select(p => p.At.ToUnixTimeSeconds() / every));
    }

    [Fact]
    public void Of_a_machine_at_rest_a_point_of_each_slot_stays_and_no_more()
    {
        using var store = Create();
        for (var i = 0; i < 50; i++) Write(store);
        for (var i = 0; i < 1500; i++)
        {
            Mark(store, i % 5 == 0 ? MarkerKind.CrashConsistentPoint : MarkerKind.Tick, i == 750 ? "before the upgrade" : "");
            if (i % 10 == 0) store.Maintain(Limits(60, (20, 200), (80, 2000)), CancellationToken.None);
        }
        var slots = store.Points.Where(p => p.At.ToUnixTimeSeconds() is > 80 and < 1200).GroupBy(p => p.At.ToUnixTimeSeconds() / 80).ToArray();
        Assert.Equal(Enumerable.Range(1, 14).Select(i => (long)i), slots.Select(s => s.Key));
        // And where segments end.
        Assert.InRange(slots.Sum(s => s.Count()), slots.Length, 3 * slots.Length);
        Assert.Contains("before the upgrade", store.Points.Select(p => p.Label));
    }

    [Fact]
    public void A_store_whose_thinning_was_cut_short_opens_on_a_full_disk()
    {
        var (files, thinned) = (new RefusingFiles(), 0);
        using (var store = Create(files: files, bytesMax: 64 << 10))
        {
            for (var i = 0; i < 500; i++) Write(store);
            // Behind the second thinned segment.
            files.Refuses = path => Path.GetFileName(path).Contains('-', StringComparison.Ordinal) && path.EndsWith(".idx", StringComparison.Ordinal) && ++thinned > 1;
            Assert.Throws<IOException>(() => store.Maintain(Limits(60, (200, 10_000)), CancellationToken.None));
        }
        files.Refuses = path => path.Contains("/log/", StringComparison.Ordinal);
        using var again = RetentionStore.Open(Path.Combine(_folder, "store"), files, TimeProvider.System, options: new StoreOptions { SegmentFramesMax = FramesPerSegment });
        Assert.Equal(_at[_sequence], ReadAll(again, again.ConsistentUpTo!));
        files.Refuses = _ => false;
        again.Maintain(Limits(60, (200, 10_000)), CancellationToken.None);
        Assert.Empty(again.Verify());
        Assert.InRange(Left(again).Length, 300, 310);
    }

    [Fact]
    public void A_promotion_of_which_nobody_knows_whether_it_was_begun_is_in_the_way_of_no_thinning()
    {
        var files = new RefusingFiles();
        using (var store = Create(files: files))
        {
            for (var i = 0; i < 150; i++) Write(store);
            store.Maintain(Limits(40, (20, 1000)), CancellationToken.None);
            for (var i = 0; i < 150; i++) Write(store);
            files.Doubts = path => path.EndsWith(StoreManifest.FileName, StringComparison.Ordinal);
            Assert.Throws<IOException>(() => store.Maintain(Limits(195), CancellationToken.None));
            files.Doubts = _ => false;
            store.Maintain(Limits(40, (20, 60), (100, 1000)), CancellationToken.None);
            Assert.NotEmpty(Directory.GetFiles(Path.Combine(_folder, "store", "log"), "*-*.seg"));
        }
        using var again = Open();
        Assert.Empty(again.Verify());
        var left = Left(again);
        Assert.True(left.Length > 50);
        foreach (var point in left) Assert.Equal(_at[point.Sequence.Value], ReadAll(again, point));
    }

    /// <summary>What is thinned must not stay for ever: promotion ends only at positions, so some have to be where segments end.</summary>
    [Theory, InlineData(0), InlineData(3), InlineData(7)]
    public void What_is_older_than_the_last_tier_goes_however_it_was_thinned(int pointEvery)
    {
        using var store = Create();
        var limits = Limits(60, (20, 200), (80, 600));
        long most = 0;
        for (var i = 0; i < 1500; i++)
        {
            Write(store);
            if (pointEvery > 0 && i % pointEvery == 0) Mark(store, MarkerKind.CrashConsistentPoint, "");
            if (i % 7 != 0) continue;
            store.Maintain(limits, CancellationToken.None);
            if (store.OldestPoint is { } point) most = Math.Max(most, (long)(store.CurrentAsOf - point.At).TotalSeconds);
        }
        // The last tier, the slot that ends beyond it, and segments at both ends.
        Assert.InRange(most, 600 - 80, 600 + 2 * 80);
        var oldest = store.OldestPoint!;
        Assert.Equal(_at[oldest.Sequence.Value], ReadAll(store, oldest));
        Assert.Empty(store.Verify());
        for (var bytes = store.Bytes; bytes > 0; bytes -= 200 << 10)
        {
            store.Maintain(limits with { BytesMax = bytes }, CancellationToken.None);
            Assert.InRange(store.Bytes, 0, Math.Max(bytes, 600 << 10));
        }
    }

    [Fact]
    public void A_flipped_bit_in_what_was_thinned_is_found_and_no_view_shows_it()
    {
        using (var store = Create())
        {
            for (var i = 0; i < 150; i++) Write(store);
            store.Maintain(Limits(30, (20, 500)), CancellationToken.None);
        }
        var thinned = Directory.GetFiles(Path.Combine(_folder, "store", "log"), "*-*.seg");
        Assert.NotEmpty(thinned);
        foreach (var file in thinned)
        {
            var whole = File.ReadAllBytes(file);
            foreach (var at in (int[])[3, 30, 60, 64 + 7, 64 + 20, 64 + 90, whole.Length / 2, whole.Length - 1])
            {
                var flipped = whole.ToArray();
                flipped[at] ^= 4;
                File.WriteAllBytes(file, flipped);
                using var damaged = Open();
                Assert.NotEmpty(damaged.Verify());
                foreach (var point in Left(damaged))
                    if (TryReadAll(damaged, point) is { } read) Assert.Equal(_at[point.Sequence.Value], read);
            }
            File.WriteAllBytes(file, whole);
        }
    }

    [Fact]
    public void A_damaged_segment_stays_as_it_is_and_the_others_are_thinned()
    {
        using (var store = Create())
            for (var i = 0; i < 200; i++) Write(store);
        var path = Path.Combine(_folder, "store", "log", "0000000005.seg");
        var bytes = File.ReadAllBytes(path);
        for (var at = 500; at < bytes.Length; at += 8 << 10) bytes[at] ^= 1;
        File.WriteAllBytes(path, bytes);
        using var damaged = Open();
        for (var i = 0; i < 3; i++) damaged.Maintain(Limits(30, (20, 500)), CancellationToken.None);
        Assert.True(File.Exists(path));
        Assert.True(Directory.GetFiles(Path.Combine(_folder, "store", "log"), "*-*.seg").Length > 2);
        Assert.Equal(path, Assert.Single(damaged.Verify()).File);
        foreach (var point in Left(damaged))
            if (TryReadAll(damaged, point) is { } read) Assert.Equal(_at[point.Sequence.Value], read);
        Assert.NotNull(TryReadAll(damaged, Left(damaged)[0]));
    }

    /// <summary>What ends in it is hidden by then: its end counts no more, but has what its markers say, which is all that nobody else knows.</summary>
    [Theory, InlineData("continue"), InlineData("gap")]
    public void In_front_of_a_segment_that_cannot_be_read_thinning_stops_and_the_store_opens_and_writes(string second)
    {
        var log = Path.Combine(_folder, "store", "log");
        SpoiltFiles files = null!;
        files = new SpoiltFiles
        {
            Renamed = thinned =>
            {
                if (!thinned.EndsWith(".seg", StringComparison.Ordinal)) return;
                var last = Directory.GetFiles(log, "*.seg").Max();
                files.Spoilt = path => path.EndsWith(".seg", StringComparison.Ordinal) && !Path.GetFileName(path).Contains('-', StringComparison.Ordinal) && path != last;
            },
        };
        string[] left, labels;
        using (var store = Create(files: files, bytesMax: 1 << 20))
        {
            for (var i = 1; i <= 200; i++)
            {
                // Everywhere, so that what a slot leaves needs more than one segment.
                Write(store, at: i * (16 << 10) % DiskBytes);
                if (i % 3 == 0) Mark(store, MarkerKind.CrashConsistentPoint, $"number {i}");
                if (i % 24 != 0) continue;
                (_incarnation, _ordinal, _ordinalsBefore) = (_incarnation + 1, 0, _ordinalsBefore + _ordinal);
                Mark(store, MarkerKind.StreamStart, second);
                if (second == "gap") Mark(store, MarkerKind.SyncCompleted, "");
            }
            store.Flush();
            Assert.Throws<IOException>(() => store.Maintain(Limits(30, (100, 1000)), CancellationToken.None));
            Assert.Single(Directory.GetFiles(log, "*-*.seg"));
            (left, labels) = ([.. Left(store).Select(p => p.Id)], [.. store.Points.Select(p => $"{p.Id} {p.Label}")]);
        }
        using var again = RetentionStore.Open(Path.Combine(_folder, "store"), files, TimeProvider.System, options: new StoreOptions { SegmentFramesMax = FramesPerSegment, GivesUpUnreadable = true });
        Assert.Equal(left, Enumerable.Range(0, (int)_sequence + 1).Select(s => again.ResolvePoint(new PointSelector.ById($"e1-s{s}"))?.Id).OfType<string>());
        Assert.Equal(labels, again.Points.Select(p => $"{p.Id} {p.Label}"));
        Write(again);
        again.Flush();
        Assert.Equal((true, _sequence), (again.Consistent, again.DurableSequence.Value));
    }

    [Fact]
    public async Task Readers_and_the_writer_go_on_while_segments_are_thinned()
    {
        using var store = Create();
        for (var i = 0; i < 155; i++) Write(store);
        var points = Enumerable.Range(0, 3).Select(i => store.ResolvePoint(new PointSelector.ById($"e1-s{40 + 43 * i}"))!).ToArray();
        var views = points.Select(p => (Content: _at[p.Sequence.Value], View: store.At(p))).ToArray();
        using var stop = new CancellationTokenSource();
        var reading = Task.Run(() =>
        {
            var reads = 0;
            for (; !stop.IsCancellationRequested || reads == 0; reads++)
                foreach (var (content, view) in views) Assert.Equal(content, ReadAll(view));
            return reads;
        });
        for (var i = 0; i < 20; i++)
        {
            for (var w = 0; w < FramesPerSegment; w++) Write(store);
            store.Maintain(Limits(40, (20, 1000), (80, 4000)), CancellationToken.None);
        }
        await stop.CancelAsync();
        Assert.True(await reading > 0);
        Assert.Equal(_at[_sequence], ReadAll(store, store.ConsistentUpTo!));
        Assert.True(Left(store).Length < 150);
        foreach (var (_, view) in views) view.Release();
    }

    /// <summary>The committed bytes are those that are written; SITERECOVERY_APPROVE=1 makes it so. What was once written stays readable for ever.</summary>
    /// <summary>A position that somebody protects has its time up to the last tick behind it, also where a stream began anew between the two.</summary>
    [Theory, InlineData(87, 95, 2), InlineData(87, 153, 60), InlineData(85, 200, 60)]
    public void Behind_a_position_at_which_nobody_wrote_for_a_while_nothing_is_hidden(int quiet, int writes, int window)
    {
        RecoveryPoint[] left;
        using (var store = Create())
        {
            for (var i = 1; i <= writes; i++)
            {
                Write(store);
                if (i != quiet) continue;
                (_incarnation, _ordinal, _ordinalsBefore) = (2, 0, _ordinal);
                Mark(store, MarkerKind.StreamStart, "continue");
                Mark(store, MarkerKind.Tick, "");
            }
            store.Flush();
            store.Protect(store.ResolvePoint(new PointSelector.ById($"e1-s{quiet}"))!, keep: true);
            store.Maintain(Limits(window, (2, 1000)), CancellationToken.None);
            left = Left(store);
            Assert.Contains(left, p => p.Sequence.Value == quiet + 1);
            Assert.Equal(writes, left[^1].Sequence.Value);
        }
        using var again = Open();
        Assert.Equal(left, Left(again));
        Assert.Equal((true, writes), (again.Consistent, again.ConsistentUpTo!.Sequence.Value));
    }

    [Fact]
    public void A_thinned_segment_has_the_bytes_that_it_had()
    {
        using (var store = Create())
        {
            for (var i = 0; i < 130; i++) Write(store, length: 512);
            store.Maintain(Limits(30, (20, 500)), CancellationToken.None);
        }
        var (written, source) = (Path.Combine(_folder, "store"), SourceFolder());
        if (Environment.GetEnvironmentVariable("SITERECOVERY_APPROVE") == "1")
            foreach (var file in Directory.GetFiles(written, "*", SearchOption.AllDirectories).Where(f => Path.GetExtension(f) is ".seg" or ".json" || f.EndsWith("SYNCED", StringComparison.Ordinal)))
                foreach (var to in (string[])[source, GoldenFolder])
                {
                    var path = Path.Combine(to, Path.GetRelativePath(written, file));
                    Directory.CreateDirectory(Path.GetDirectoryName(path)!);
                    File.Copy(file, path, overwrite: true);
                }
        foreach (var golden in Directory.GetFiles(Path.Combine(GoldenFolder, "log"), "*.seg"))
            Assert.Equal(XxHash3.HashToUInt64(File.ReadAllBytes(golden)), XxHash3.HashToUInt64(File.ReadAllBytes(Path.Combine(written, "log", Path.GetFileName(golden)))));
        Directory.Delete(written, recursive: true);
        Directory.CreateDirectory(Path.Combine(written, "log"));
        foreach (var file in Directory.GetFiles(GoldenFolder, "*", SearchOption.AllDirectories)) File.Copy(file, Path.Combine(written, Path.GetRelativePath(GoldenFolder, file)));
        using var old = Open();
        var left = Left(old);
        Assert.Equal(["e1-s18", "e1-s38", "e1-s39", "e1-s58"], left.Take(4).Select(p => p.Id));
        Assert.Equal(4, StoreManifest.Parse(File.ReadAllBytes(Path.Combine(written, StoreManifest.FileName))).Version);
        foreach (var point in left) Assert.Equal(_at[point.Sequence.Value], ReadAll(old, point));
    }

    private static string SourceFolder([System.Runtime.CompilerServices.CallerFilePath] string file = "") => Path.Combine(Path.GetDirectoryName(file)!, "..", "Golden", "thinned");

    private static RetentionLimits Limits(int window, params (int Every, int KeepFor)[] tiers) => new(TimeSpan.FromSeconds(window), null,
        RetentionTiers.Of(tiers.Select(t => new RetentionTier(TimeSpan.FromSeconds(t.Every), TimeSpan.FromSeconds(t.KeepFor)))));

    /// <summary>All positions that can be viewed, oldest first: each reads as it was written.</summary>
    private RecoveryPoint[] Left(RetentionStore store) =>
        [.. Enumerable.Range(0, (int)_sequence + 1).Select(s => store.ResolvePoint(new PointSelector.ById($"e1-s{s}"))).OfType<RecoveryPoint>()];

    private RetentionStore Create(int framesMax = FramesPerSegment, IFileSystem? files = null, int bytesMax = 64 << 20)
    {
        _random = new Random(1);
        var store = RetentionStore.Create(Path.Combine(_folder, "store"), Machine, [new DiskGeometry(0, "vda", DiskBytes)], Epoch.First, files ?? RealFileSystem.Instance, TimeProvider.System,
            options: new StoreOptions { SegmentFramesMax = framesMax, SegmentBytesMax = bytesMax });
        store.Append(BatchCodec.Encode(Header(BatchKind.Marker, 0) with { Marker = MarkerKind.StreamStart }, [], "continue"u8));
        return store;
    }

    private RetentionStore Open(int framesMax = FramesPerSegment) =>
        RetentionStore.Open(Path.Combine(_folder, "store"), RealFileSystem.Instance, TimeProvider.System, options: new StoreOptions { SegmentFramesMax = framesMax });

    /// <summary>A write each second; most of them go where others go too.</summary>
    private void Write(RetentionStore store, int length = 16 << 10, int? at = null)
    {
        var offset = at ?? _random.Next(_random.Next(4) != 0 ? 4 : DiskBytes / length) * length;
        _random.NextBytes(_now.AsSpan(offset, length));
        _sequence++;
        Assert.True(store.Append(BatchCodec.Encode(Header(BatchKind.Delta, _sequence), [new Extent(offset, length, 0, ExtentKind.Data)], _now.AsSpan(offset, length))));
        _at[_sequence] = [.. _now];
    }

    private void Mark(RetentionStore store, MarkerKind marker, string label) =>
        Assert.True(store.Append(BatchCodec.Encode(Header(BatchKind.Marker, _sequence) with { Marker = marker }, [], System.Text.Encoding.UTF8.GetBytes(label))));

    private BatchHeader Header(BatchKind kind, long sequence, long? second = null) => new()
    {
        Kind = kind, MachineTag = BatchCodec.TagOf(Machine), Epoch = Epoch.First, Incarnation = _incarnation, Ordinal = ++_ordinal,
        First = new Sequence(sequence), Last = new Sequence(sequence), Time = DateTimeOffset.UnixEpoch.AddSeconds(second ?? _ordinalsBefore + _ordinal),
    };

    private static byte[]? TryReadAll(RetentionStore store, RecoveryPoint point)
    {
        try
        {
            return ReadAll(store, point);
        }
        catch (IOException)
        {
            return null;
        }
    }

    private static byte[] ReadAll(RetentionStore store, RecoveryPoint point)
    {
        var view = store.At(point);
        try
        {
            return ReadAll(view);
        }
        finally
        {
            view.Release();
        }
    }

    private static byte[] ReadAll(StoreView view)
    {
        var bytes = new byte[DiskBytes];
        view.File(0).Read(0, bytes);
        return bytes;
    }
}
