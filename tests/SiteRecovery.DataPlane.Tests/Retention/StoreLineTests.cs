using System.IO.Hashing;
using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.DataPlane.Export;
using SiteRecovery.DataPlane.MasterTarget;
using SiteRecovery.DataPlane.Retention;
using SiteRecovery.DataPlane.Storage;
using SiteRecovery.Domain.History;

namespace SiteRecovery.DataPlane.Tests.Retention;

/// <summary>Epochs that fork and that continue, bases below them and folds on top.</summary>
public sealed class StoreLineTests : IDisposable
{
    private const int DiskBytes = 64 << 10;
    private static readonly MachineId Machine = new("db1");
    private readonly string _folder = Directory.CreateTempSubdirectory("line").FullName;
    private long _ordinal, _incarnation;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Theory]
    [InlineData(490562445, false)] // encryption ends, and the base is encrypted
    [InlineData(1, false)]
    [InlineData(2, false)]
    [InlineData(3, true)]
    [InlineData(4, true)]
    [InlineData(5, true)]
    [InlineData(6, true)]
    [InlineData(7, true)]
    [InlineData(8, false)]
    [InlineData(2_000_956, true)] // thinning took the time of a position that an epoch forks from
    [InlineData(1_000_073, false)] // an epoch that ended with segments in which nothing was whole: thinning took all slots of it
    public async Task Every_position_of_every_epoch_stays_what_it_was(int seed, bool based) => await RunAsync(seed, based);

    /// <summary>Seeds that nobody has tried: as many as a few seconds allow, or as SITERECOVERY_STORE_SEEDS says, from SITERECOVERY_STORE_SEED on. A failure names its seed.</summary>
    [Fact]
    public async Task Every_position_of_every_epoch_stays_what_it_was_for_fresh_seeds()
    {
        var wanted = int.TryParse(Environment.GetEnvironmentVariable("SITERECOVERY_STORE_SEEDS"), out var asked) ? asked : int.MaxValue;
        var (began, first) = (TimeProvider.System.GetTimestamp(), int.TryParse(Environment.GetEnvironmentVariable("SITERECOVERY_STORE_SEED"), out var given) ? given : Random.Shared.Next(1 << 30));
        for (var seed = first; seed < first + (long)wanted; seed++)
        {
            try
            {
                await RunAsync(seed, seed % 2 == 0);
            }
            catch (Exception failed)
            {
                throw new InvalidOperationException($"seed {seed}, after {seed - first} others", failed);
            }
            if (wanted == int.MaxValue && TimeProvider.System.GetElapsedTime(began) > TimeSpan.FromSeconds(8)) break;
        }
    }

    private static async Task RunAsync(int seed, bool based)
    {
        using var model = new StoreModel(seed, based);
        var image = based ? File.ReadAllBytes(model.BasePath) : [];
        for (var step = 1; step <= 80; step++)
        {
            model.Step();
            if (step % 8 == 0) await model.AssertAsync();
        }
        model.Reopen(kill: false);
        await model.AssertAsync();
        // What can be made again may be damaged.
        Assert.DoesNotContain(model.Store.Verify(), d => Path.GetExtension(d.File) != ".idx");
        if (based) Assert.Equal(image, File.ReadAllBytes(model.BasePath));
    }

    [Fact]
    public async Task An_epoch_that_continues_an_older_one_than_the_last_begins_at_its_end_and_is_made_whole_by_its_stream()
    {
        using var model = new StoreModel(11, based: true);
        for (var i = 0; i < 5; i++) model.Write();
        model.Fork();
        model.Fold();
        model.Continue(1);
        await model.AssertAsync();
        model.Reopen(kill: true);
        await model.AssertAsync();
        model.Continue(3); // before its stream has come
        await model.AssertAsync();
        do model.Resynchronize();
        while (!model.Store.Consistent);
        model.Write();
        await model.AssertAsync();
    }

    [Fact]
    public void Points_are_chosen_from_the_line_that_counts()
    {
        using var store = Create();
        Write(store, 1, 10);
        Mark(store, 1, 10, MarkerKind.ApplicationConsistentPoint);
        Write(store, 1, 11);
        store.OpenEpoch(new Epoch(2), store.ResolvePoint(new PointSelector.ById("e1-s5"))!);
        Assert.Null(Chosen(store, "latest-application-consistent"));
        Assert.Equal(("e2-s5", "e1-s5"), (Chosen(store, "latest"), Chosen(store, "at:2100-01-01")));
        Write(store, 2, 6);
        Mark(store, 2, 6, MarkerKind.ApplicationConsistentPoint);
        Assert.Equal(("e2-s6", "e2-s6"), (Chosen(store, "latest-application-consistent"), Chosen(store, "at:2100-01-01")));
        store.ContinueEpoch(new Epoch(3), Epoch.First);
        Assert.Equal(("e1-s10", "e1-s11", "e1-s11"), (Chosen(store, "latest-application-consistent"), Chosen(store, "at:2100-01-01"), Chosen(store, "latest")));
        Assert.Equal((Sequence.None, false), (store.DurableSequence, store.Consistent));
        Assert.Null(store.ResolvePoint(new PointSelector.ById("e3-s0")));
        Assert.Null(store.ResolvePoint(new PointSelector.ById("e3-s11")));
    }

    [Fact]
    public void What_an_epoch_wrote_after_a_position_is_told_from_within_a_batch_and_from_the_fork_itself()
    {
        using var store = Create();
        Write(store, 1, 4);
        Extent[] writes = [new(0, 512, 1, ExtentKind.Zero), new(512, 512, 1, ExtentKind.Zero), new(1024, 512, 1, ExtentKind.Zero), new(8192, 512, 0, ExtentKind.Zero)];
        store.Append(BatchCodec.Encode(Header(BatchKind.Delta, 1, 5) with { Last = new Sequence(8) }, writes, []));
        Assert.Equal([(0, 8192L, 512L), (1, 1024L, 512L)], After("e1-s6"));
        Assert.Equal([(0, 1024L, 1536L), (0, 8192L, 512L), (1, 0L, 1536L)], After("e1-s1"));
        store.OpenEpoch(new Epoch(2), store.ResolvePoint(new PointSelector.ById("e1-s6"))!);
        Assert.Empty(After("e2-s6"));
        store.Append(BatchCodec.Encode(Header(BatchKind.Sync, 2, 5), [new Extent(4096, 512, 0, ExtentKind.Zero)], []));
        Assert.Equal([(0, 4096L, 512L)], After("e2-s6"));
        Assert.Equal([(0, 8192L, 512L), (1, 1024L, 512L)], After("e1-s6"));
        Assert.Equal([(0, 4096L, 512L), (0, 8192L, 512L), (1, 1024L, 512L)], After("e1-s6", before: 3)); // what epoch 2 wrote in between too
        Assert.Throws<InvalidDataException>(() => store.ExtentsAfter(new RecoveryPoint(new Epoch(2), new Sequence(9), default, PointKind.CrashConsistent), new Epoch(3)));

        IEnumerable<(int, long, long)> After(string id, int? before = null) => store.ResolvePoint(new PointSelector.ById(id)) is { } point
            ? store.ExtentsAfter(point, before is { } next ? new Epoch(next) : point.Epoch.Next()).Select(e => ((int)e.Disk, e.Offset, e.Length))
            : throw new InvalidDataException(id);
    }

    /// <summary>A replica that was killed ends at a bound, far above where the next epoch's source begins.</summary>
    [Fact]
    public void Where_an_epoch_ended_is_no_sequence_of_the_next_ones_source()
    {
        using (var store = Create())
        {
            Write(store, 1, 10);
            Assert.Equal(10, store.Flush().Sequence.Value);
            store.ContinueEpoch(new Epoch(2), Epoch.First);
            Assert.Equal(Sequence.None, store.DurableSequence);
        }
        using var again = Open();
        Assert.Equal(Sequence.None, again.DurableSequence);
        (_incarnation, _ordinal) = (2, 0);
        Assert.True(again.Append(BatchCodec.Encode(Header(BatchKind.Marker, 2, 0) with { Marker = MarkerKind.StreamStart }, [], "gap"u8)));
        Assert.True(again.Append(BatchCodec.Encode(Header(BatchKind.Delta, 2, 3), [new Extent(0, 512, 0, ExtentKind.Zero)], [])));
        Assert.Equal(Sequence.None, again.Flush().Sequence);
        Assert.True(again.Append(BatchCodec.Encode(Header(BatchKind.Marker, 2, 4) with { Marker = MarkerKind.SyncCompleted }, [], [])));
        Assert.Equal(4, again.Flush().Sequence.Value);
        Assert.Equal("e2-s4", again.ConsistentUpTo?.Id);
    }

    [Fact]
    public void What_a_source_wrote_is_told_also_of_a_point_that_only_a_replica_came_to()
    {
        using var store = Create();
        Write(store, 1, 8);
        store.OpenEpoch(new Epoch(2), store.ResolvePoint(new PointSelector.ById("e1-s5"))!);
        Assert.Equal([(0, 6 * 512L, 3 * 512L)], Parted("e1-s5", before: 2));
        (int, long, long)[] tail = [(0, 5 * 512L, 4 * 512L)]; // with the whole frame of the fork
        Assert.Equal(tail, Parted("e2-s5", before: 3)); // the point is changed to the replica's own beginning

        // What a cancelled failover left, after the source has gone on.
        Sync(2, 5, 16384);
        Mark(store, 2, 5, MarkerKind.CrashConsistentPoint, "kept");
        store.ContinueEpoch(new Epoch(3), Epoch.First);
        (_incarnation, _ordinal) = (3, 0);
        Mark(store, 3, 8, MarkerKind.StreamStart, "gap");
        Sync(3, 8, 32768);
        Mark(store, 3, 9, MarkerKind.SyncCompleted);
        Assert.Equal([(0, 16384L, 512L), (0, 32768L, 512L)], Parted("e1-s8", before: 4));
        Assert.Empty(Parted("e3-s9", before: 4));
        Assert.Equal([.. tail, (0, 16384L, 512L), (0, 32768L, 512L)], Parted("e2-s5", before: 4));

        void Sync(int epoch, long at, long offset) =>
            Assert.True(store.Append(BatchCodec.Encode(Header(BatchKind.Sync, epoch, at), [new Extent(offset, 512, 0, ExtentKind.Zero)], [])));

        (int, long, long)[] Parted(string id, int before) =>
            [.. store.ExtentsSinceParting(store.ResolvePoint(new PointSelector.ById(id))!, new Epoch(before), default).Select(e => ((int)e.Disk, e.Offset, e.Length))];
    }

    [Fact]
    public void What_a_source_wrote_is_not_told_where_some_of_it_has_been_lost()
    {
        using (var store = Create())
        {
            Write(store, 1, 8);
            store.Flush();
            Assert.Equal([(0, 6 * 512L, 3 * 512L)], Parted(store, store.Held));
            // It was told more than has come here, or than is still here.
            Assert.Throws<InvalidDataException>(() => Parted(store, store.Held with { Ordinal = store.Held.Ordinal + 1 }));
            // An epoch later the one in which it was told counts.
            var told = store.Held;
            store.OpenEpoch(new Epoch(2), store.ResolvePoint(new PointSelector.ById("e1-s5"))!);
            Assert.NotEmpty(Parted(store, told));
            Assert.Throws<InvalidDataException>(() => Parted(store, told with { Ordinal = told.Ordinal + 1 }));
        }
        using (var store = Open()) Assert.Throws<InvalidDataException>(() => Parted(store, new StreamPosition(1, 1000)));
        // And what was put aside as damaged, of which the source has not heard.
        File.WriteAllText(Path.Combine(_folder, "store", "log", "0000000001.seg.lost-500"), "rotten");
        using (var store = Open()) Assert.Throws<InvalidDataException>(() => Parted(store, default));

        static (int, long, long)[] Parted(RetentionStore store, StreamPosition told) =>
            [.. store.ExtentsSinceParting(store.ResolvePoint(new PointSelector.ById("e1-s5"))!, new Epoch(2), told).Select(e => ((int)e.Disk, e.Offset, e.Length))];
    }

    [Fact]
    public void A_base_that_is_not_there_or_of_another_size_is_named()
    {
        var path = Path.Combine(_folder, "base.raw");
        RetentionStore Based(string image) => Create(new Dictionary<ushort, string> { [0] = image });
        Assert.Contains(path, Assert.Throws<IOException>(() => Based(path)).Message, StringComparison.Ordinal);
        File.WriteAllBytes(path, new byte[DiskBytes - 1]);
        Assert.Contains(path, Assert.Throws<IOException>(() => Based(path)).Message, StringComparison.Ordinal);
        Assert.False(RetentionStore.Exists(Path.Combine(_folder, "store"), RealFileSystem.Instance));
        Assert.Throws<ArgumentException>(() => Based("base.raw"));
        Assert.Throws<ArgumentException>(() => Create(new Dictionary<ushort, string> { [3] = path }));

        File.WriteAllBytes(path, new byte[DiskBytes]);
        using (var store = Based(path))
        {
            Assert.False(store.IsEmpty);
            store.Fold([], new Sequence(4), default, "as it was");
            Assert.Empty(store.Verify());
        }
        File.Delete(path);
        using var without = Open();
        var file = without.At(without.ResolvePoint(new PointSelector.Latest())!).File(0);
        Assert.Contains(path, Assert.Throws<IOException>(() => file.Read(0, new byte[512])).Message, StringComparison.Ordinal);
        Assert.Equal(path, Assert.Single(without.Verify()).File);
        Assert.False(without.IsEmpty);
    }

    [Fact]
    public void Only_a_store_that_uses_what_is_new_says_so()
    {
        var manifest = Path.Combine(_folder, "store", StoreManifest.FileName);
        using var store = Create();
        Write(store, 1, 1);
        store.OpenEpoch(new Epoch(2), store.ConsistentUpTo!);
        Assert.Equal(1, StoreManifest.Parse(File.ReadAllBytes(manifest)).Version);
        store.ContinueEpoch(new Epoch(3), new Epoch(2));
        Assert.Equal(2, StoreManifest.Parse(File.ReadAllBytes(manifest)).Version);
        Assert.Throws<InvalidDataException>(() => StoreManifest.Parse((StoreManifest.Parse(File.ReadAllBytes(manifest)) with { Version = StoreManifest.CurrentVersion + 1 }).ToBytes()));
    }

    [Theory]
    [InlineData("e1-s3", 0xd963c7f6d74851a5, 0x10fde3d562de08da)]
    [InlineData("e1-s8", 0xbc3b75642defe058, 0x110f0f57728d2477)]
    [InlineData("e1-s10", 0xbc3b75642defe058, 0xb1ebd7f148138de1)]
    [InlineData("e2-s8", 0xbc3b75642defe058, 0x110f0f57728d2477)]
    [InlineData("e2-s10", 0x2d991e5212c7f51f, 0xf3ba63b32cdd9bc5)]
    public void A_store_of_version_1_opens_and_goes_on(string id, ulong first, ulong second)
    {
        var folder = Path.Combine(_folder, "store");
        Directory.CreateDirectory(Path.Combine(folder, "log"));
        foreach (var file in new[] { StoreManifest.FileName, "log/0000000001.seg", "log/SYNCED" })
            File.Copy(Path.Combine(AppContext.BaseDirectory, "Golden", "v1", "store", file), Path.Combine(folder, file));
        using (var old = Open())
        {
            Assert.Equal((null, "e2-s10", "e1-s8"), (old.FailedReason, old.ConsistentUpTo?.Id, Assert.Single(old.Points).Id));
            AssertDisks(old);
            old.ContinueEpoch(new Epoch(3), Epoch.First);
            AssertDisks(old);
        }
        using var store = Open();
        Assert.Equal("e1-s10", store.ConsistentUpTo?.Id);
        AssertDisks(store);

        void AssertDisks(RetentionStore store) => Assert.Equal([first, second], store.Disks.Select(d => XxHash3.HashToUInt64(ReadAll(store.At(store.ResolvePoint(new PointSelector.ById(id))!).File(d.Index)))));
    }

    [Fact]
    public async Task The_old_epochs_stream_learns_that_another_continues_and_the_new_ones_does_not_hear_it_twice()
    {
        await using var receiver = new StoreReceiver(_folder, RealFileSystem.Instance, TimeProvider.System);
        var (positions, disks) = (new NoPositions(), new[] { new DiskGeometry(0, "vda", DiskBytes) });
        await using var old = await receiver.OpenAsync(new StreamOpening(Machine, Epoch.First, disks, 1), positions, default);
        await receiver.ContinueEpochAsync(Machine, new Epoch(2), Epoch.First, default);
        Assert.Equal(new Epoch(2), Assert.IsType<StaleEpochException>(await old.Closed).Current);
        await Assert.ThrowsAsync<StaleEpochException>(async () => await receiver.OpenAsync(new StreamOpening(Machine, Epoch.First, disks, 2), positions, default));
        await using var next = await receiver.OpenAsync(new StreamOpening(Machine, new Epoch(2), disks, 1), positions, default);
        await receiver.ContinueEpochAsync(Machine, new Epoch(2), Epoch.First, default);
        Assert.False(next.Closed.IsCompleted);
    }

    [Fact]
    public void A_damaged_layer_of_one_disk_lets_go_of_the_others()
    {
        using var store = Create();
        Write(store, 1, 1);
        var files = new CountingFiles();
        using (new ReplicaLayers(store, store.ConsistentUpTo!, Path.Combine(_folder, "layers"), files)) Assert.Equal(4, files.Open);
        Assert.Equal(0, files.Open);
        File.WriteAllText(Path.Combine(_folder, "layers", "disk-1.map"), "damage");
        Assert.Throws<InvalidDataException>(() => new ReplicaLayers(store, store.ConsistentUpTo!, Path.Combine(_folder, "layers"), files));
        Assert.Equal(0, files.Open);
    }

    private static string? Chosen(RetentionStore store, string selector) => store.ResolvePoint(PointSelector.Parse(selector)!)?.Id;

    private RetentionStore Create(IReadOnlyDictionary<ushort, string>? bases = null) => RetentionStore.Create(Path.Combine(_folder, "store"), Machine,
        [new DiskGeometry(0, "vda", DiskBytes), new DiskGeometry(1, "vdb", DiskBytes)], Epoch.First, RealFileSystem.Instance, TimeProvider.System, bases);

    private RetentionStore Open() => RetentionStore.Open(Path.Combine(_folder, "store"), RealFileSystem.Instance, TimeProvider.System);

    /// <summary>Writes up to that sequence; a new epoch's stream starts by itself.</summary>
    private void Write(RetentionStore store, int epoch, long last)
    {
        var newest = store.DurableSequence.Value;
        if (_incarnation < epoch)
        {
            (_incarnation, _ordinal) = (epoch, 0);
            Mark(store, epoch, newest, MarkerKind.StreamStart, "continue");
        }
        while (newest < last)
        {
            newest++;
            Assert.True(store.Append(BatchCodec.Encode(Header(BatchKind.Delta, epoch, newest), [new Extent(newest * 512, 512, 0, ExtentKind.Data)], new byte[512])));
        }
        store.Flush();
    }

    private void Mark(RetentionStore store, int epoch, long at, MarkerKind marker, string text = "") =>
        Assert.True(store.Append(BatchCodec.Encode(Header(BatchKind.Marker, epoch, at) with { Marker = marker }, [], System.Text.Encoding.UTF8.GetBytes(text))));

    private BatchHeader Header(BatchKind kind, int epoch, long at) => new()
    {
        Kind = kind, MachineTag = BatchCodec.TagOf(Machine), Epoch = new Epoch(epoch), Incarnation = _incarnation, Ordinal = ++_ordinal,
        First = new Sequence(at), Last = new Sequence(at), Time = DateTimeOffset.UnixEpoch.AddSeconds(_ordinal),
    };

    private static byte[] ReadAll(IBlockFile file)
    {
        var bytes = new byte[file.LengthBytes];
        file.Read(0, bytes);
        return bytes;
    }

    private sealed class NoPositions : IPositionListener
    {
        public void Received(StreamPosition position)
        {
            // Nobody waits for it.
        }

        public void Durable(StreamPosition position, Sequence sequence)
        {
            // Nobody waits for it.
        }
    }
}
