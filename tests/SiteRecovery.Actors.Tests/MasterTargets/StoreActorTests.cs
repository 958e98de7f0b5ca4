using System.Collections.Immutable;
using System.Net;
using Akka.Actor;
using Akka.TestKit;
using Akka.TestKit.Xunit2;
using SiteRecovery.Actors.MasterTargets;
using SiteRecovery.Actors.ProtectedMachines;
using SiteRecovery.Actors.Sites;
using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.DataPlane.Storage;
using SiteRecovery.DataPlane.Transport;
using SiteRecovery.Domain.History;
using SiteRecovery.Domain.Policies;
using SiteRecovery.Domain.ProtectedMachines;
using SiteRecovery.Domain.Results;
using SiteRecovery.Domain.Vaults;

namespace SiteRecovery.Actors.Tests.MasterTargets;

/// <summary>Orders that come late, come again, or find that what they build on is gone.</summary>
public sealed partial class StoreActorTests : TestKit
{
    private static readonly MachineId Vm = new("vm1");
    private static readonly SiteName Site = new("lyon");
    private readonly string _folder = Directory.CreateTempSubdirectory("sr-store").FullName;
    private static readonly NodeAnnouncement Own = new("n1", "", Site, [NodeRoles.MasterTarget], "", "", 1, 2, [], StoresHeld.None);
    private readonly PeerIdentity _identity;
    private readonly TestProbe _machine;
    private MasterTargetRoom _room;
    private IActorRef _store;
    private readonly ImmutableArray<DiskSpec> _disks;

    public StoreActorTests()
    {
        using var authority = Authority.LoadOrCreate(Path.Combine(_folder, "pki"), "test", TimeProvider.System);
        _identity = authority.IssueInto(Path.Combine(_folder, "node"), "n1", PeerRole.Node);
        _room = NewRoom();
        _room.Start();
        _machine = CreateTestProbe();
        _store = Sys.ActorOf(StoreActor.Props(Vm, _room, Site, _machine));
        var disk = Path.Combine(_folder, "vda.raw");
        File.WriteAllBytes(disk, [.. Enumerable.Repeat((byte)7, 1 << 20)]);
        _disks = [new DiskSpec(0, "vda", disk, 1 << 20, "nbd")];
    }

    [Fact]
    public void A_late_order_brings_no_replica_back_and_withdraws_no_later_life_of_one()
    {
        var point = Continued(2, new StoreContinuation(Epoch.First, FromDisks: true)).Kept!;
        _store.Tell(new OpenEpoch(Vm, new Epoch(3), point, Site));
        Report<EpochOpened>();
        _store.Tell(Serve(4, layer: 3));
        Report<ReplicaServed>();
        var replica = _room.Exports.Find(Vm.Value);

        _store.Tell(Serve(2, layer: 2));
        Assert.Equal((WorkKind.ServeReplica, new Epoch(2)), Report<WorkFailed>() is var late ? (late.Work, late.Epoch) : default);
        _store.Tell(Serve(3, layer: 3));
        Assert.Equal(new Epoch(3), Report<WorkFailed>().Epoch);
        _store.Tell(new FenceReplica(Vm, new Epoch(4), new Epoch(3), Site)); // it is not fenced, and is not said to be
        _store.Tell(new FenceReplica(Vm, new Epoch(4), new Epoch(2), Site));
        Assert.Equal(new Epoch(4), Report<SourceFenced>().Epoch);
        Assert.Same(replica, _room.Exports.Find(Vm.Value));
        Assert.False(Directory.Exists(_room.LayerFolderOf(Vm, "epoch-2")));

        _store.Tell(new FenceReplica(Vm, new Epoch(5), new Epoch(3), Site));
        Report<SourceFenced>();
        Assert.Null(_room.Exports.Find(Vm.Value));

        ServeReplica Serve(int epoch, int layer) => new(Vm, new Epoch(epoch), point, Site, null, new Epoch(layer), ReplicationPolicy.Default);
    }

    [Fact]
    public void A_store_that_is_gone_is_not_begun_on_disks_that_were_not_its_own()
    {
        var left = new StoreContinuation(new Epoch(2), Fold: new Epoch(2));
        _store.Tell(Continue(4, left));
        Assert.Contains("full", Report<WorkFailed>().Reason, StringComparison.Ordinal);
        Assert.False(_room.Stores.Has(Vm));

        Continued(4, left with { MayStartEmpty = true });
        Assert.True(_room.Stores.StoreOf(Vm).IsEmpty);
    }

    [Fact]
    public void A_layer_that_is_gone_is_nothing_to_go_on_from()
    {
        var point = Continued(2, new StoreContinuation(Epoch.First, FromDisks: true)).Kept!;
        _store.Tell(new OpenEpoch(Vm, new Epoch(3), point, Site));
        Report<EpochOpened>();
        var left = new StoreContinuation(new Epoch(3), Fold: new Epoch(3));
        _store.Tell(Continue(4, left));
        Assert.Contains("full", Report<WorkFailed>().Reason, StringComparison.Ordinal);
        Continued(4, left with { MayStartEmpty = true });
    }

    /// <summary>Its hypervisor refused it, and the failover was cancelled: the store goes on from the end of the source's own epoch.</summary>
    [Fact]
    public void A_replica_that_was_never_served_keeps_no_store_from_going_on()
    {
        var point = Continued(2, new StoreContinuation(Epoch.First, FromDisks: true)).Kept!;
        _store.Tell(new OpenEpoch(Vm, new Epoch(3), point, Site));
        Report<EpochOpened>();
        Assert.Null(Continued(4, new StoreContinuation(new Epoch(2), Fold: new Epoch(3))).Kept);
        Assert.Equal(new Epoch(4), _room.Stores.StoreOf(Vm).CurrentEpoch);
    }

    [Fact]
    public void A_test_that_cannot_be_served_is_named()
    {
        Continued(2, new StoreContinuation(Epoch.First, FromDisks: true));
        _store.Tell(new ServeTest(Vm, "test-7", new RecoveryPoint(Epoch.First, new Sequence(99), DateTimeOffset.UnixEpoch, PointKind.CrashConsistent), Site));
        Assert.Equal((new CommandId("test-7"), WorkKind.ServeTest, Epoch.First), Report<WorkFailed>() is var failed ? (failed.Id, failed.Work, failed.Epoch) : default);
    }

    [Fact]
    public void What_was_kept_is_told_however_often_it_is_tried()
    {
        // As a master target leaves it that dies in between.
        _room.Stores.Hold(Vm, [new DiskGeometry(0, "vda", 1 << 20)], Epoch.First, new Dictionary<ushort, string> { [0] = _disks[0].Path });
        var kept = Continued(2, new StoreContinuation(Epoch.First, FromDisks: true)).Kept;
        Assert.Equal("e1-s5", kept?.Id);
        Assert.Equal(kept, Continued(2, new StoreContinuation(Epoch.First, FromDisks: true)).Kept);
    }

    /// <summary>An order is told again until it is confirmed, and a copy may come much later: what was released, or ended, is not what there is by then.</summary>
    [Fact]
    public void A_late_release_and_a_late_end_leave_what_came_after_them()
    {
        var point = Served().Point; // in epoch 3
        _store.Tell(new WorkEnded(new ServeReplica(Vm, new Epoch(2), point, Site, null, new Epoch(2), ReplicationPolicy.Default)));
        Directory.CreateDirectory(_room.ReleasedFolderOf(Vm, "epoch-2")); // of the protection before this one
        _store.Tell(new ReleaseReplica(Vm, new Epoch(2), new Epoch(2), _disks, Site));
        _store.Tell(new FenceReplica(Vm, new Epoch(3), new Epoch(2), Site)); // behind them
        Report<SourceFenced>();
        Assert.True(_room.Stores.Has(Vm));
        Assert.NotNull(_room.Exports.Find(Vm.Value));
        Assert.Empty(Directory.GetFileSystemEntries(_room.ReleasedFolderOf(Vm, "epoch-2")));
    }

    /// <summary>It would be served first for ever, and nobody would say why.</summary>
    [Fact]
    public async Task A_replica_that_cannot_be_served_any_more_is_released_unserved()
    {
        var source = Served();
        var replica = (ReplicaMachine)_room.Exports.Find(Vm.Value)!;
        await replica.Disks[0].Device.WriteAsync(0, new byte[4096], forceUnitAccess: false, default);
        await AwaitConditionAsync(() => Task.FromResult(replica.Flatten()), TimeSpan.FromSeconds(20));
        await BeginAnewAsync();
        DamageState();
        _store = Sys.ActorOf(StoreActor.Props(Vm, _room, Site, _machine));
        var release = new ReleaseReplica(Vm, new Epoch(3), new Epoch(3), _disks, Site);
        _store.Tell(release);
        Assert.Equal((WorkKind.ReleaseReplica, false), Report<WorkFailed>() is var waits ? (waits.Work, waits.Permanent) : default);
        _store.Tell(new ServeReplica(Vm, new Epoch(3), source.Point, Site, null, new Epoch(3), ReplicationPolicy.Default));
        var lost = Report<WorkFailed>();
        Assert.True(lost is { Work: WorkKind.ServeReplica, Permanent: true } && lost.Reason.Contains("disable the protection", StringComparison.Ordinal), lost.Reason);

        _store.Tell(release);
        var raw = File.ReadAllBytes(Path.Combine(Report<ReplicaReleased>().Folder, "disk-0.raw"));
        Assert.Equal((1 << 20, 0, 7), (raw.Length, raw[0], raw[4096]));

        // What it is told late does not begin anew here.
        _store.Tell(new HoldStore(Vm, new Epoch(3), _disks, Site, ReplicationPolicy.Default));
        Assert.Contains("has ended", Report<WorkFailed>().Reason, StringComparison.Ordinal);
        _store.Tell(Continue(3, new StoreContinuation(new Epoch(2), MayStartEmpty: true)));
        Assert.Contains("has ended", Report<WorkFailed>().Reason, StringComparison.Ordinal);
        Assert.False(_room.Stores.Has(Vm));
    }

    /// <summary>What begins with nothing has kept nothing, whatever was asked for.</summary>
    [Fact]
    public void Disks_that_are_gone_are_not_said_to_be_kept()
    {
        File.Delete(_disks[0].Path);
        Assert.Null(Continued(2, new StoreContinuation(Epoch.First, FromDisks: true, MayStartEmpty: true)).Kept);
        Assert.Empty(_room.Stores.StoreOf(Vm).Points);
    }

    /// <summary>Tried again for ever, it would keep a reverse replication waiting in which nothing else is allowed.</summary>
    [Fact]
    public void Disks_that_were_replaced_are_nothing_to_go_on_from()
    {
        File.WriteAllBytes(_disks[0].Path, new byte[1 << 10]);
        _store.Tell(Continue(2, new StoreContinuation(Epoch.First, FromDisks: true)));
        Assert.Contains("reverse the replication with full", Report<WorkFailed>().Reason, StringComparison.Ordinal);
        Assert.Null(Continued(2, new StoreContinuation(Epoch.First, FromDisks: true, MayStartEmpty: true)).Kept);
    }

    /// <summary>Where it ended says nobody any more: an operator has to hear what helps.</summary>
    [Fact]
    public void A_tail_that_nobody_can_tell_any_more_is_said_to_be_gone_without()
    {
        var loser = Served();
        _store.Tell(new FenceReplica(Vm, new Epoch(4), new Epoch(3), Site));
        Report<SourceFenced>();
        DamageState();
        _store.Tell(new TellTail(new TakeBackTail(Vm, new Epoch(5), new AgentName("a1"), loser, Site, loser, Site), "nobody"));
        Assert.Contains("reverse the replication with full", Report<WorkFailed>().Reason, StringComparison.Ordinal);
    }

    /// <summary>Nobody knows whether it was fenced: its operator has to hear what is left to do.</summary>
    [Fact]
    public async Task A_replica_whose_state_is_damaged_is_said_to_be_served_no_more()
    {
        var (point, layer) = (Served().Point, new Epoch(3));
        await BeginAnewAsync();
        _store = Sys.ActorOf(StoreActor.Props(Vm, _room, Site, _machine));
        DamageState();
        _store.Tell(new ServeReplica(Vm, layer, point, Site, null, layer, ReplicationPolicy.Default));
        Assert.True(Report<WorkFailed>() is { Work: WorkKind.ServeReplica, Permanent: true } failed && failed.Reason.Contains("cannot be served any more", StringComparison.Ordinal));
    }

    /// <summary>While the old source could not be asked, it began with nothing, and the master target died.</summary>
    [Fact]
    public void Disks_that_can_be_taken_at_a_second_attempt_are_kept()
    {
        _room.Stores.Hold(Vm, [new DiskGeometry(0, "vda", 1 << 20)], Epoch.First);
        var kept = Continued(2, new StoreContinuation(Epoch.First, FromDisks: true, MayStartEmpty: true)).Kept;
        var sector = new byte[512];
        _room.Stores.StoreOf(Vm).At(kept!).File(0).Read(0, sector);
        Assert.Equal((byte)7, sector[0]);
    }

    /// <summary>A master target may die between a store's first file and what says that it is encrypted, and its key may be missing at first.</summary>
    [Fact]
    public void A_store_that_was_begun_by_an_attempt_before_is_encrypted_as_well()
    {
        _room.Stores.Hold(Vm, [new DiskGeometry(0, "vda", 1 << 20)], Epoch.First);
        _store.Tell(Continue(2, new StoreContinuation(Epoch.First, MayStartEmpty: true)) with { Encrypted = true });
        Assert.Contains("store-key-file", Report<WorkFailed>().Reason, StringComparison.Ordinal);
        Assert.Equal(Epoch.First, _room.Stores.StoreOf(Vm).CurrentEpoch);
    }

    /// <summary>A position never names two states, also where nobody remembers how many writes there were.</summary>
    [Fact]
    public async Task What_a_replica_wrote_gets_a_position_of_its_own()
    {
        var point = Continued(2, new StoreContinuation(Epoch.First, FromDisks: true)).Kept!;
        _store.Tell(new OpenEpoch(Vm, new Epoch(3), point, Site));
        Report<EpochOpened>();
        _store.Tell(new ServeReplica(Vm, new Epoch(3), point, Site, null, new Epoch(3), ReplicationPolicy.Default));
        Report<ReplicaServed>();
        var replica = (ReplicaMachine)_room.Exports.Find(Vm.Value)!;
        await replica.Disks[0].Device.WriteAsync(0, new byte[4096], forceUnitAccess: false, default);
        _store.Tell(new FenceReplica(Vm, new Epoch(4), new Epoch(3), Site));
        Report<SourceFenced>();
        Directory.Delete(Path.Combine(_room.LayerFolderOf(Vm, "epoch-3"), "capture"), recursive: true);

        var kept = Continued(4, new StoreContinuation(new Epoch(3), Fold: new Epoch(3))).Kept!;
        Assert.Equal((new Epoch(3), point.Sequence.Value + 1), (kept.Epoch, kept.Sequence.Value));
        Assert.Equal((7, 0), (FirstByteAt(point), FirstByteAt(kept)));

        int FirstByteAt(RecoveryPoint at)
        {
            var sector = new byte[512];
            _room.Stores.StoreOf(Vm).At(at).File(0).Read(0, sector);
            return sector[0];
        }
    }

    [Fact]
    public void A_disk_that_cannot_be_asked_has_room_for_nobody_and_ends_nothing()
    {
        var (site, away) = (CreateTestProbe(), _folder + "-away");
        Directory.Move(_folder, away);
        try
        {
            Sys.ActorOf(MasterTargetActor.Props(_room, Own, _machine, site));
            // One that begins anew each time it fails never comes to say so.
            Assert.Equal(0, site.FishForMessage<StoresHeld>(_ => true, TimeSpan.FromSeconds(20)).FreeBytes);
        }
        finally
        {
            Directory.Move(away, _folder);
        }
    }

    [Fact]
    public async Task A_store_that_cannot_be_opened_is_said_to_be_unavailable_and_ends_no_work()
    {
        var point = Continued(2, new StoreContinuation(Epoch.First, FromDisks: true)).Kept!;
        await BeginAnewAsync();
        foreach (var file in Directory.GetFiles(_room.Stores.FolderOf(Vm))) File.WriteAllBytes(file, [1]);
        var underWay = new TaskCompletionSource<bool>();
        var former = _room.Turns.TakeAsync(Vm, () => underWay.Task, default);
        _store = Sys.ActorOf(StoreActor.Props(Vm, _room, Site, _machine));
        _store.Tell(Continue(4, new StoreContinuation(new Epoch(2))));
        Assert.IsType<StoreUnavailable>(await _store.Ask<object>(new VerifyPoint(Vm, point), TimeSpan.FromSeconds(10)));
        underWay.SetResult(true);
        await former;
        Report<WorkFailed>();
    }

    /// <summary>Tried again for ever, it would let nobody choose another point.</summary>
    [Fact]
    public async Task A_point_whose_segment_is_damaged_is_failed_over_to_in_vain_for_good()
    {
        var point = Continued(2, new StoreContinuation(Epoch.First, FromDisks: true)).Kept!;
        _store.Tell(new OpenEpoch(Vm, new Epoch(3), point, Site)); // behind it the segment is sealed
        Report<EpochOpened>();
        await BeginAnewAsync();
        _store = Sys.ActorOf(StoreActor.Props(Vm, _room, Site, _machine));
        foreach (var file in Directory.GetFiles(Path.Combine(_room.Stores.FolderOf(Vm), "log"), "0000000001.*").Where(f => !f.EndsWith(".end", StringComparison.Ordinal)))
        {
            var bytes = File.ReadAllBytes(file);
            bytes.AsSpan(bytes.Length / 2).Fill(0xFF);
            File.WriteAllBytes(file, bytes);
        }
        _store.Tell(new OpenEpoch(Vm, new Epoch(4), point, Site));
        Assert.True(Report<WorkFailed>() is { Work: WorkKind.OpenEpoch, Permanent: true } failed && failed.Reason.Contains("damaged", StringComparison.Ordinal));
    }

    /// <summary>The old source may be anybody's by now, and production runs on this host.</summary>
    [Theory]
    [InlineData(1, 0L, 65536L)]
    [InlineData(65536, 0L, 65536L)]
    [InlineData(0, 65536L, 1L << 20)]
    [InlineData(0, -65536L, 65536L)]
    [InlineData(0, 0L, long.MaxValue)]
    [InlineData(0, long.MaxValue, 2L)]
    [InlineData(0, 0L, 0L)]
    public void A_tail_beyond_the_disks_is_refused(long disk, long offset, long length)
    {
        var source = Served();
        _store.Tell(Part(source, 0, last: true, disk, offset, length));
        var failed = Report<WorkFailed>();
        Assert.Equal((WorkKind.TakeBackTail, false), (failed.Work, failed.Permanent));
        Assert.Contains("full", failed.Reason, StringComparison.Ordinal);

        _store.Tell(Part(source, 0, last: true, 0, 65536, 65536));
        Assert.Equal((1, 65536L), Report<TailMarked>() is var marked ? (marked.Ranges, marked.Bytes) : default);
    }

    [Fact]
    public void A_tail_without_end_is_everything()
    {
        var source = Served();
        long[] many = [.. Enumerable.Repeat(new long[] { 0, 0, 65536 }, 100_000).SelectMany(r => r)];
        for (var i = 0; i < 12; i++) _store.Tell(Part(source, i, last: i == 11, many));
        Assert.Equal((1, 1L << 20), Report<TailMarked>() is var marked ? (marked.Ranges, marked.Bytes) : default);
    }

    private static TailFound Part(ReplicaSource source, int part, bool last, params long[] numbers) => new(Vm, new Epoch(4), source, part, [.. numbers], new Sequence(9), default, last);

    private ReplicaSource Served()
    {
        var point = Continued(2, new StoreContinuation(Epoch.First, FromDisks: true)).Kept!;
        _store.Tell(new OpenEpoch(Vm, new Epoch(3), point, Site));
        Report<EpochOpened>();
        _store.Tell(new ServeReplica(Vm, new Epoch(3), point, Site, null, new Epoch(3), ReplicationPolicy.Default));
        Report<ReplicaServed>();
        return new ReplicaSource(null, new Epoch(3), point);
    }

    /// <summary>Marks of a position at which nobody writes have one id.</summary>
    [Fact]
    public async Task Each_point_is_listed_with_its_own_signals()
    {
        _room.Stores.Hold(Vm, [new DiskGeometry(0, "vda", 8 << 20)], Epoch.First);
        var (store, random, bytes, sequence, ordinal) = (_room.Stores.StoreOf(Vm), new Random(1), new byte[4 << 20], 0, 0);
        Append(BatchKind.Marker, MarkerKind.StreamStart, "continue"u8);
        for (var i = 0; i < 7; i++)
        {
            if (i == 6) random.NextBytes(bytes);
            sequence++;
            Append(BatchKind.Delta, default, bytes);
            Append(BatchKind.Marker, MarkerKind.CrashConsistentPoint, []);
        }
        Append(BatchKind.Marker, MarkerKind.CrashConsistentPoint, []);

        var rows = (await _store.Ask<RecoveryPoints>(new GetRecoveryPoints(Vm, null, null, null, 0, 3), TimeSpan.FromSeconds(10))).Items;
        Assert.Equal([("e1-s7", 0, false), ("e1-s7", bytes.Length, true), ("e1-s6", bytes.Length, false)], rows.Select(r => (r.Point.Id, (int)(r.Signals?.WrittenBytes ?? -1), r.Jump)));

        void Append(BatchKind kind, MarkerKind marker, ReadOnlySpan<byte> payload) => store.Append(BatchCodec.Encode(new BatchHeader
        {
            Kind = kind, Marker = marker, MachineTag = BatchCodec.TagOf(Vm), Epoch = Epoch.First, Incarnation = 1, Ordinal = ++ordinal,
            First = new Sequence(sequence), Last = new Sequence(sequence), Time = DateTimeOffset.UnixEpoch.AddSeconds(ordinal),
        }, kind == BatchKind.Delta ? [new Extent(0, payload.Length, 0, ExtentKind.Data)] : [], payload));
    }

    private void DamageState()
    {
        foreach (var state in (string[])["capture.json", "capture.copy"]) File.WriteAllText(Path.Combine(_room.LayerFolderOf(Vm, "epoch-3"), "capture", state), "{");
    }

    private StoreContinued Continued(int epoch, StoreContinuation from)
    {
        _store.Tell(Continue(epoch, from));
        return Report<StoreContinued>();
    }

    private ContinueStore Continue(int epoch, StoreContinuation from) => new(Vm, new Epoch(epoch), from, new Sequence(5), _disks, Site);

    private T Report<T>() => _machine.FishForMessage<DataPlaneReport>(_ => true, TimeSpan.FromSeconds(20)) switch
    {
        T report => report,
        var other => throw new InvalidOperationException($"another report: {other}"),
    };

    protected override void AfterAll()
    {
        base.AfterAll();
        _room.DisposeAsync().AsTask().GetAwaiter().GetResult();
        Directory.Delete(_folder, recursive: true);
    }
}
