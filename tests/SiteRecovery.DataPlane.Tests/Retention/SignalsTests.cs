using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.DataPlane.Retention;
using SiteRecovery.DataPlane.Storage;
using SiteRecovery.Domain.History;

namespace SiteRecovery.DataPlane.Tests.Retention;

/// <summary>What a point tells of what was written before it.</summary>
public sealed class SignalsTests : IDisposable
{
    private const int DiskBytes = 32 << 20, Piece = 1 << 20;
    private static readonly MachineId Machine = new("db1");
    private static readonly byte[] Text = "once upon a time there was a disk that nobody had a copy of; "u8.ToArray();
    private readonly string _folder = Directory.CreateTempSubdirectory("signals").FullName;
    private readonly Random _random = new(3);
    private long _ordinal, _sequence, _second;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Theory]
    [InlineData(PayloadCompression.None, false)]
    [InlineData(PayloadCompression.Zstd, false)]
    [InlineData(PayloadCompression.Zstd, true)]
    public void The_point_at_which_writes_begin_to_look_encrypted_is_told_from_all_before_it_also_after_a_restart(PayloadCompression compression, bool encrypted)
    {
        var before = new List<RecoveryPoint>();
        RecoveryPoint jump, still;
        using (var store = Create(encrypted))
        {
            for (var i = 0; i < 12; i++) before.Add(Point(store, compression, isText: true, pieces: 1 + i % 3));
            jump = Point(store, compression, isText: false, pieces: 6);
            still = Point(store, compression, isText: false, pieces: 8);
            AssertTold(store);
        }
        using var again = Open();
        AssertTold(again);

        void AssertTold(RetentionStore store)
        {
            Assert.Equal([jump.Id, still.Id], store.Jumps().Select(p => p.Id).Order());
            Assert.InRange(store.SignalsOf(jump)!.Entropy!.Value, 7.5, 8);
            Assert.InRange(store.SignalsOf(before[5])!.Entropy!.Value, 0, 5);
            Assert.Equal(new PointSignals(store.SignalsOf(before[5])!.Entropy, 3L * Piece, 5), store.SignalsOf(before[5]));
            Assert.Equal(6.0 * Piece / 5, store.SignalsOf(jump)!.OverwriteRate);
        }
    }

    [Fact]
    public void A_machine_whose_writes_are_always_dense_or_few_or_synchronized_jumps_nowhere()
    {
        using var store = Create(encrypted: false);
        for (var i = 0; i < 10; i++) Point(store, PayloadCompression.None, isText: false, pieces: 5); // a disk of videos
        for (var i = 0; i < 30; i++) Point(store, PayloadCompression.None, isText: true, pieces: 5);
        Point(store, PayloadCompression.None, isText: false, pieces: 3); // 3 MiB are no attack
        Assert.Empty(store.Jumps());
        var bytes = new byte[8 * Piece];
        _random.NextBytes(bytes);
        for (var i = 0; i < 8; i++) store.Append(BatchCodec.Encode(Header(BatchKind.Sync), [new Extent(i * Piece, Piece, 0, ExtentKind.Data)], bytes.AsSpan(i * Piece, Piece)));
        Assert.Null(store.SignalsOf(Mark(store))!.Entropy);
        Assert.Empty(store.Jumps());
    }

    /// <summary>A guest that is quiet after the attack: each mark then has the id of the one at which it shows.</summary>
    [Theory]
    [InlineData(1)]
    [InlineData(40)] // in segments behind
    public void Marks_at_a_position_where_nobody_writes_leave_the_figures_of_the_one_that_reached_it(int quiet)
    {
        RecoveryPoint jump;
        var idle = new List<RecoveryPoint>();
        using (var store = Create(encrypted: false))
        {
            for (var i = 0; i < 20; i++) Point(store, PayloadCompression.Zstd, isText: true, pieces: 1);
            jump = Point(store, PayloadCompression.Zstd, isText: false, pieces: 6);
            for (var i = 0; i < quiet; i++) idle.Add(Mark(store));
            Assert.All(idle, p => Assert.Equal(jump.Id, p.Id));
            AssertTold(store);
        }
        using (var again = Open())
        {
            AssertTold(again);
            Point(again, PayloadCompression.Zstd, isText: true, pieces: 1);
            // What is older goes into the base, but for as much as a jump is compared with.
            again.Maintain(new RetentionLimits(again.CurrentAsOf - jump.At.AddSeconds(-35), null), CancellationToken.None);
            Assert.InRange(again.OldestPoint!.Sequence.Value, 2, 15);
            AssertTold(again);
        }
        using var promoted = Open();
        AssertTold(promoted);

        void AssertTold(RetentionStore store)
        {
            Assert.Equal([jump], store.Jumps());
            Assert.Equal((6L * Piece, 5.0), store.SignalsOf(jump) is { } own ? (own.WrittenBytes, own.Seconds) : default);
            Assert.All(idle, p => Assert.Equal(new PointSignals(null, 0, 5), store.SignalsOf(p)));
        }
    }

    [Fact]
    public void Signals_of_points_that_are_left_survive_thinning_and_those_of_others_go()
    {
        using var store = Create(encrypted: false);
        for (var i = 0; i < 60; i++) Point(store, PayloadCompression.Zstd, isText: true, pieces: 1);
        var all = store.Points;
        store.Maintain(new RetentionLimits(TimeSpan.FromSeconds(30), null, Domain.Policies.RetentionTiers.Of([new(TimeSpan.FromSeconds(50), TimeSpan.FromHours(1))])), CancellationToken.None);
        store.Maintain(null, CancellationToken.None);
        Assert.InRange(store.PointCount, 5, all.Count - 10);
        Assert.All(store.Points, p => Assert.NotNull(store.SignalsOf(p)));
        Assert.All(all.Except(store.Points), p => Assert.Null(store.SignalsOf(p)));
        store.Dispose();
        using var again = Open();
        Assert.All(again.Points, p => Assert.NotNull(again.SignalsOf(p)));
    }

    private RetentionStore Create(bool encrypted)
    {
        var store = RetentionStore.Create(Path.Combine(_folder, "store"), Machine, [new DiskGeometry(0, "vda", DiskBytes)], Epoch.First, RealFileSystem.Instance, TimeProvider.System, options: Options());
        if (encrypted) store.Encrypt(true);
        store.Append(BatchCodec.Encode(Header(BatchKind.Marker) with { Marker = MarkerKind.StreamStart }, [], "continue"u8));
        return store;
    }

    private RetentionStore Open() => RetentionStore.Open(Path.Combine(_folder, "store"), RealFileSystem.Instance, TimeProvider.System, options: Options());

    private StoreOptions Options() => new() { SegmentFramesMax = 15, Keys = new(TestKeys.File(_folder), [], DataPlane.Keys.KeyWrappings.RenewAfterDefault) };

    private RecoveryPoint Point(RetentionStore store, PayloadCompression compression, bool isText, int pieces)
    {
        var bytes = new byte[Piece];
        for (var i = 0; i < pieces; i++)
        {
            if (!isText) _random.NextBytes(bytes);
            else for (var at = 0; at < Piece; at += Text.Length) Text.AsSpan(0, Math.Min(Text.Length, Piece - at)).CopyTo(bytes.AsSpan(at));
            _sequence++;
            store.Append(BatchCodec.Compress(BatchCodec.Encode(Header(BatchKind.Delta), [new Extent(_sequence % 32 * Piece, Piece, 0, ExtentKind.Data)], bytes), compression));
        }
        return Mark(store);
    }

    private RecoveryPoint Mark(RetentionStore store)
    {
        _second += 5;
        store.Append(BatchCodec.Encode(Header(BatchKind.Marker) with { Marker = MarkerKind.CrashConsistentPoint }, [], []));
        return store.Points[^1];
    }

    private BatchHeader Header(BatchKind kind) => new()
    {
        Kind = kind, MachineTag = BatchCodec.TagOf(Machine), Epoch = Epoch.First, Incarnation = 1, Ordinal = ++_ordinal,
        First = new Sequence(_sequence), Last = new Sequence(_sequence), Time = DateTimeOffset.UnixEpoch.AddSeconds(_second),
    };
}
