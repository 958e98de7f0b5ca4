using System.Collections.Immutable;
using SiteRecovery.Actors.MasterTargets;
using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.DataPlane.Capture;
using SiteRecovery.DataPlane.ProcessServer;
using SiteRecovery.DataPlane.Retention;
using SiteRecovery.DataPlane.Storage;
using SiteRecovery.DataPlane.Transport;
using SiteRecovery.Domain.History;
using SiteRecovery.Domain.Policies;
using SiteRecovery.Domain.ProtectedMachines;
using SiteRecovery.Domain.Results;
using SiteRecovery.Domain.Vaults;
using SiteRecovery.Simulation.World;

namespace SiteRecovery.Simulation.MasterTargets;

/// <summary>What a replica that lost wrote, where its layer, or its store, is not what it was: nothing waits for it for ever, nor is it given up too soon, nor laid over something else.</summary>
public sealed class LosingLayerTests : IAsyncLifetime
{
    private const int DiskBytes = 1 << 20, Block = 64 << 10;
    private const string Layer = "/target/stores/db1/replica/epoch-2", Aside = "/target/stores/db1/aside/epoch-2";
    private static readonly MachineId Machine = new("db1");
    private static readonly SiteName Site = new("lyon");
    private static readonly ImmutableArray<DiskSpec> Disks = [new DiskSpec(0, "vda", "/disks/db1", DiskBytes, "nbd")];
    /// <summary>Of a failover that was cancelled; and of a side that was left.</summary>
    private static readonly StoreContinuation Cancelled = new(Epoch.First, new Epoch(2)), Left = new(new Epoch(2), new Epoch(2));
    private readonly SimClock _clock = new();
    private readonly SimDisk _disk = new();
    private readonly UnreadableOrders _orders;
    private readonly MasterTargetRoom _room;
    private RecoveryPoint _point = null!;

    public LosingLayerTests()
    {
        _orders = new UnreadableOrders(_clock);
        _room = new MasterTargetRoom("/target", routes => new Upstreams(routes, (_, _) => throw new IOException("nobody is there")), _disk, _clock);
    }

    private RetentionStore Store => _room.Stores.StoreOf(Machine);

    /// <summary>A replica in epoch 2 has written two blocks, and is not served any more.</summary>
    public async Task InitializeAsync()
    {
        _room.Stores.Hold(Machine, [new DiskGeometry(0, "vda", DiskBytes)], Epoch.First);
        _point = Store.Fold([], new Sequence(1), _clock.GetUtcNow(), "first");
        await DoAsync(new OpenEpoch(Machine, new Epoch(2), _point, Site));
        await DoAsync(new ServeReplica(Machine, new Epoch(2), _point, Site, null, new Epoch(2), ReplicationPolicy.Default));
        var replica = (ReplicaMachine)_room.Exports.Find("db1")!;
        foreach (var offset in (long[])[0, 8 * Block]) await replica.Disks[0].Device.WriteAsync(offset, Bytes(7), forceUnitAccess: true, default);
        await DoAsync(new FenceReplica(Machine, new Epoch(3), new Epoch(2), Site));
    }

    public async Task DisposeAsync() => await _room.DisposeAsync();

    [Fact]
    public async Task Of_a_cancelled_failover_a_layer_with_a_bad_sector_is_put_aside_when_it_has_been_waited_for()
    {
        _disk.Spoil(Layer + "/disk-0.data", 8 * Block);
        var before = Store.Bytes;
        Assert.Contains("Input/output error", await FailsAsync(Cancelled), StringComparison.Ordinal);
        _clock.Spend(TimeSpan.FromSeconds(14));
        await FailsAsync(Cancelled);
        Assert.Equal((before, true), (Store.Bytes, _disk.FolderExists(Layer))); // and no attempt has left a part of a fold
        _clock.Spend(TimeSpan.FromSeconds(1));
        Assert.Contains(Aside, await FailsAsync(Cancelled), StringComparison.Ordinal);
        Assert.Null((await ContinuedAsync(Cancelled)).Kept);
        Assert.Equal((new Epoch(3), false, true), (Store.CurrentEpoch, _disk.FolderExists(Layer), _disk.Exists(Aside + "/disk-0.data")));
    }

    [Fact]
    public async Task A_disk_that_is_back_in_time_gives_what_was_written()
    {
        _disk.Faults = io => io.Kind == IoKind.Read && io.Path.StartsWith(Layer, StringComparison.Ordinal) ? Fault.Error : Fault.None;
        await FailsAsync(Cancelled);
        _clock.Spend(TimeSpan.FromSeconds(10));
        await FailsAsync(Cancelled);
        _disk.Faults = null;
        AssertKept((await ContinuedAsync(Cancelled)).Kept);
        Assert.Equal((false, false), (_disk.FolderExists(Layer), _disk.FolderExists(Aside)));
    }

    /// <summary>Whose own disk takes nothing has lost nothing of the layer.</summary>
    [Theory]
    [InlineData("/target/stores/db1/log")]
    [InlineData(Layer + "/disk-0")]
    public async Task A_layer_is_not_given_up_for_what_cannot_be_written(string files)
    {
        _disk.Faults = io => io.Kind != IoKind.Read && io.Path.StartsWith(files, StringComparison.Ordinal) ? Fault.Error : Fault.None;
        for (var i = 0; i < 5; i++)
        {
            await FailsAsync(Cancelled);
            _clock.Spend(TimeSpan.FromSeconds(10));
        }
        _disk.Faults = null;
        AssertKept((await ContinuedAsync(Cancelled)).Kept);
    }

    [Fact]
    public async Task A_damaged_map_is_not_waited_for()
    {
        _disk.Flip(Layer + "/disk-0.map", 0, 1);
        Assert.Contains(Aside, await FailsAsync(Cancelled), StringComparison.Ordinal);
        Assert.Null((await ContinuedAsync(Cancelled)).Kept);
        Assert.True(_disk.Exists(Aside + "/disk-0.data"));
    }

    /// <summary>Its layers are whole: only where it ended is not known.</summary>
    [Fact]
    public async Task A_replica_whose_state_is_damaged_is_kept()
    {
        foreach (var state in (string[])["capture.json", "capture.copy"]) _disk.Replace($"{Layer}/capture/{state}", "{"u8);
        AssertKept((await ContinuedAsync(Cancelled)).Kept);
    }

    /// <summary>What follows builds on what it wrote: that it is done without is for an operator to say, and whoever says so must not wait for it either.</summary>
    [Theory]
    [InlineData("map")]
    [InlineData("data")]
    [InlineData("no map")]
    public async Task Of_a_side_that_was_left_a_lost_layer_is_gone_without_when_everything_is_compared(string what)
    {
        if (what == "map") _disk.Flip(Layer + "/disk-0.map", 0, 1);
        else if (what == "data") _disk.Spoil(Layer + "/disk-0.data", 0);
        else _disk.Delete(Layer + "/disk-0.map");
        await FailsAsync(Left);
        _clock.Spend(TimeSpan.FromSeconds(15));
        Assert.Contains("reverse the replication with full", await FailsAsync(Left), StringComparison.Ordinal);
        Assert.True(_disk.Exists(Layer + "/disk-0.data"));

        var full = Left with { MayStartEmpty = true };
        Assert.Contains(Aside, await FailsAsync(full), StringComparison.Ordinal);
        Assert.Null((await ContinuedAsync(full)).Kept);
        Assert.True(_disk.Exists(Aside + "/disk-0.data"));
    }

    /// <summary>Opened all the same, it would begin anew, and what was written be taken for nothing.</summary>
    [Fact]
    public async Task A_layer_of_which_nothing_is_left_is_gone()
    {
        foreach (var file in _disk.List(Layer)) _disk.Delete(file);
        Assert.Contains("reverse the replication with full", await FailsAsync(Left), StringComparison.Ordinal);
        Assert.Null((await ContinuedAsync(Left with { MayStartEmpty = true })).Kept);
    }

    /// <summary>The point was changed, the store forked there, and nobody has heard of it when the failover is cancelled: a point made of both would be none that the machine ever had.</summary>
    [Fact]
    public async Task A_layer_is_not_laid_over_another_point()
    {
        await DoAsync(new OpenEpoch(Machine, new Epoch(3), _point, Site));
        Assert.Contains(Aside, await FailsAsync(Cancelled, 4), StringComparison.Ordinal);
        Assert.Null((await ContinuedAsync(Cancelled, 4)).Kept);
        Assert.Equal(new Epoch(4), Store.CurrentEpoch);
    }

    /// <summary>The source never left its own disks, and finds out that the store has nothing of them.</summary>
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Of_a_cancelled_failover_a_store_that_is_gone_is_begun_anew(bool byAnother)
    {
        await _room.Stores.RemoveAsync(Machine, default);
        if (byAnother) _room.Stores.Hold(Machine, [new DiskGeometry(0, "vda", DiskBytes)], new Epoch(2)); // it never was in the source's epoch
        Assert.Null((await ContinuedAsync(Cancelled)).Kept);
        Assert.Equal((new Epoch(3), true), (Store.CurrentEpoch, Store.IsEmpty));
    }

    /// <summary>What is put aside has a bound: the last, for as long as its store is there.</summary>
    [Fact]
    public async Task Of_layers_that_were_put_aside_the_last_stays_as_long_as_its_store()
    {
        _disk.CreateDirectory("/target/stores/db1/aside/epoch-1");
        _disk.Flip(Layer + "/disk-0.map", 0, 1);
        await FailsAsync(Cancelled);
        Assert.Equal([Aside], _disk.Folders(Path.GetDirectoryName(Aside)!));
        var durable = _disk.LosePower(1);
        Assert.Equal((true, false), (durable.Exists(Aside + "/disk-0.data"), durable.FolderExists(Layer)));
        await _room.Stores.RemoveAsync(Machine, default);
        Assert.Empty(_disk.Files("/target/stores"));
    }

    private void AssertKept(RecoveryPoint? kept)
    {
        Assert.NotNull(kept);
        var read = new byte[Block];
        foreach (var (offset, of) in ((long, byte)[])[(0, 7), (8 * Block, 7), (4 * Block, 0)])
        {
            Store.At(kept).File(0).Read(offset, read);
            Assert.Equal(Bytes(of), read);
        }
    }

    private static byte[] Bytes(byte of) => [.. Enumerable.Repeat(of, Block)];

    private static ContinueStore Order(StoreContinuation from, int epoch) => new(Machine, new Epoch(epoch), from, Sequence.None, Disks, Site);

    private async Task<StoreContinued> ContinuedAsync(StoreContinuation from, int epoch = 3) => Assert.IsType<StoreContinued>(await DoAsync(Order(from, epoch)));

    private async Task<string> FailsAsync(StoreContinuation from, int epoch = 3)
    {
        var failed = await Assert.ThrowsAnyAsync<IOException>(() => DoAsync(Order(from, epoch)));
        return failed.Message;
    }

    /// <summary>As a store's actor does.</summary>
    private async Task<object?> DoAsync(Work work)
    {
        try
        {
            var done = await StoreWork.PerformAsync(_room, Machine, work, mayTakeUnserved: false, _orders.IsOverdue(work), default);
            _orders.Forget(work);
            return done;
        }
        catch (Exception failure)
        {
            _orders.IsLost(work, failure);
            throw;
        }
    }
}
