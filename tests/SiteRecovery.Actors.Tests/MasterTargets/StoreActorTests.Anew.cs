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

/// <content>What a process, or an actor, finds of the one before it.</content>
public sealed partial class StoreActorTests
{
    /// <summary>The machine that runs on it waits for its disks, and the configuration server may be in a site that is dark.</summary>
    [Fact]
    public async Task A_replica_is_served_again_by_a_new_process_without_an_order()
    {
        var point = Continued(2, new StoreContinuation(Epoch.First, FromDisks: true)).Kept!;
        _store.Tell(new OpenEpoch(Vm, new Epoch(3), point, Site));
        Report<EpochOpened>();
        _store.Tell(new ServeReplica(Vm, new Epoch(3), point, Site, null, new Epoch(3), ReplicationPolicy.Default));
        Report<ReplicaServed>();
        var before = (ReplicaMachine)_room.Exports.Find(Vm.Value)!;
        await before.Disks[0].Device.WriteAsync(0, new byte[4096], forceUnitAccess: false, default);

        await BeginAnewAsync();
        Sys.ActorOf(MasterTargetActor.Props(_room, Own, _machine, CreateTestProbe()));
        ReplicaMachine? again = null;
        await AwaitConditionAsync(() => Task.FromResult((again = _room.Exports.Find(Vm.Value) as ReplicaMachine) is not null), TimeSpan.FromSeconds(20));
        var sector = new byte[512];
        await again!.Disks[0].Device.ReadAsync(0, sector, default);
        Assert.Equal((new Epoch(3), (byte)0), (again.Epoch, sector[0]));
    }

    /// <summary>One that ends as it begins is not made again: its node would stay a member, and do nothing until its process ends.</summary>
    [Fact]
    public async Task A_folder_that_cannot_be_listed_as_it_begins_ends_no_master_target()
    {
        Served();
        await BeginAnewAsync();
        var (served, away) = (Path.Combine(_folder, "served"), Path.Combine(_folder, "served-away"));
        Directory.Move(served, away);
        File.CreateSymbolicLink(served, "served"); // leads to itself: an error, and not absent
        var site = CreateTestProbe();
        Sys.ActorOf(MasterTargetActor.Props(_room, Own, _machine, site));
        site.FishForMessage<StoresHeld>(_ => true, TimeSpan.FromSeconds(20));

        File.Delete(served);
        Directory.Move(away, served);
        await AwaitConditionAsync(() => Task.FromResult(_room.Exports.Find(Vm.Value) is ReplicaMachine), TimeSpan.FromSeconds(20));
    }

    [Fact]
    public async Task A_replica_that_was_fenced_is_not_served_again()
    {
        var point = Continued(2, new StoreContinuation(Epoch.First, FromDisks: true)).Kept!;
        _store.Tell(new OpenEpoch(Vm, new Epoch(3), point, Site));
        Report<EpochOpened>();
        _store.Tell(new ServeReplica(Vm, new Epoch(3), point, Site, null, new Epoch(3), ReplicationPolicy.Default));
        Report<ReplicaServed>();
        _store.Tell(new FenceReplica(Vm, new Epoch(4), new Epoch(3), Site));
        Report<SourceFenced>();

        await BeginAnewAsync();
        Assert.Empty(_room.Served.Machines());
        var masterTarget = Sys.ActorOf(MasterTargetActor.Props(_room, Own, _machine, CreateTestProbe()));
        masterTarget.Tell(new FenceReplica(Vm, new Epoch(4), new Epoch(3), Site)); // what is told behind its start is done behind it
        Report<SourceFenced>();
        Assert.Null(_room.Exports.Find(Vm.Value));
    }

    /// <summary>A node that leaves its cluster and joins anew begins its actors anew, and the room stays: the same piece of work would be done twice at once.</summary>
    [Fact]
    public async Task What_an_actor_had_under_way_ends_before_the_next_one_begins()
    {
        var point = Continued(2, new StoreContinuation(Epoch.First, FromDisks: true)).Kept!;
        var underWay = new TaskCompletionSource<bool>();
        var former = _room.Turns.TakeAsync(Vm, () => underWay.Task, default);
        _store.Tell(new OpenEpoch(Vm, new Epoch(3), point, Site));
        try
        {
            // The store is measured meanwhile, twice a second.
            for (var measured = 0; measured < 3; measured++)
                Assert.Equal(new Epoch(2), _machine.FishForMessage<StoreReport>(r => true, TimeSpan.FromSeconds(20)).Epoch);
        }
        finally
        {
            underWay.SetResult(true);
        }
        await former;
        Report<EpochOpened>();
    }

    /// <summary>An unplanned failover would wait until the disks of a planned one, which nobody wants any more, are hashed.</summary>
    [Fact]
    public async Task What_is_ended_under_way_keeps_nothing_waiting_and_tells_nothing()
    {
        var point = Continued(2, new StoreContinuation(Epoch.First, FromDisks: true)).Kept!;
        var verify = new VerifyTarget(Vm, new Epoch(2), new DrainedSource(point.Sequence.Next(), "hash"), Site);
        await BeginAnewAsync(new StandingClock());
        _store = Sys.ActorOf(StoreActor.Props(Vm, _room, Site, _machine));
        _store.Tell(verify); // waits for what never comes
        _store.Tell(new OpenEpoch(Vm, new Epoch(3), point, Site));
        _store.Tell(new WorkEnded(verify));
        try
        {
            Report<EpochOpened>();
        }
        catch
        {
            await _store.GracefulStop(TimeSpan.FromSeconds(10)); // the room would wait for what it does
            throw;
        }

        // And what is wanted after all is begun anew.
        var whole = verify with { Source = new DrainedSource(point.Sequence, "hash") };
        foreach (var told in (object[])[verify, new WorkEnded(verify), verify, new WorkEnded(verify), whole]) _store.Tell(told);
        Report<TargetDiffers>();
    }

    private MasterTargetRoom NewRoom(TimeProvider? time = null) => new(_folder, new IPEndPoint(IPAddress.Loopback, 0), _identity, RealFileSystem.Instance, time ?? TimeProvider.System);

    /// <summary>As the next process finds what this one left.</summary>
    private async Task BeginAnewAsync(TimeProvider? time = null)
    {
        await _store.GracefulStop(TimeSpan.FromSeconds(10));
        await _room.DisposeAsync();
        _room = NewRoom(time);
        _room.Start();
    }

    /// <summary>No timer ever fires.</summary>
    private sealed class StandingClock : TimeProvider
    {
        public override ITimer CreateTimer(TimerCallback callback, object? state, TimeSpan dueTime, TimeSpan period) => new Timer();

        private sealed class Timer : ITimer
        {
            public bool Change(TimeSpan dueTime, TimeSpan period) => true;
            public void Dispose() { }
            public ValueTask DisposeAsync() => default;
        }
    }
}
