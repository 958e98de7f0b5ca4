using SiteRecovery.Actors.MasterTargets;
using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.DataPlane.ProcessServer;
using SiteRecovery.DataPlane.Retention;
using SiteRecovery.Domain.History;
using SiteRecovery.Domain.Policies;
using SiteRecovery.Domain.ProtectedMachines;
using SiteRecovery.Domain.Results;
using SiteRecovery.Domain.Vaults;
using SiteRecovery.Simulation.World;

namespace SiteRecovery.Simulation.MasterTargets;

/// <summary>Files of a replica that was served are gone when it is to be served again: nothing older, and nothing else, is shown in their place.</summary>
public sealed class LostLayerTests : IAsyncLifetime
{
    private const int DiskBytes = 1 << 20, Block = 64 << 10;
    private const string Layer = "/target/stores/db1/replica/epoch-2", Served = "/target/served/db1.json";
    private static readonly MachineId Machine = new("db1");
    private static readonly SiteName Site = new("lyon");
    private readonly SimClock _clock = new();
    private readonly List<MasterTargetRoom> _rooms = [];
    private SimDisk _disk = new();
    private MasterTargetRoom _room = null!;
    private RecoveryPoint _point = null!;

    /// <summary>It has written a block, and its process has ended.</summary>
    public async Task InitializeAsync()
    {
        _room = Room();
        _room.Stores.Hold(Machine, [new DiskGeometry(0, "vda", DiskBytes)], Epoch.First);
        _point = Store.Fold([], new Sequence(7), _clock.GetUtcNow(), "first");
        await DoAsync(new OpenEpoch(Machine, new Epoch(2), _point, Site));
        await ServeAsync();
        await Replica.Disks[0].Device.WriteAsync(0, Enumerable.Repeat((byte)7, Block).ToArray(), forceUnitAccess: true, default);
    }

    public async Task DisposeAsync()
    {
        foreach (var room in _rooms.AsEnumerable().Reverse()) await room.DisposeAsync();
    }

    private RetentionStore Store => _room.Stores.StoreOf(Machine);

    private ReplicaMachine Replica => StoreWork.ReplicaOf(_room, Machine)!;

    /// <summary>In this life of the host, and in the next.</summary>
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Of_a_layer_that_is_gone_nothing_is_served(bool boots)
    {
        Begin(boots);
        _disk.DeleteFolder(Layer);
        var refused = await RefusedAsync();
        Assert.Contains(Layer, refused, StringComparison.Ordinal);
        Assert.Contains("choose another recovery point", refused, StringComparison.Ordinal);
        Assert.False(_disk.FolderExists(Layer));
        await Assert.ThrowsAnyAsync<InvalidDataException>(() => boots ? ServeAsync() : DoAsync(ServeAgain.Instance));

        // Which is what it says.
        await DoAsync(new OpenEpoch(Machine, new Epoch(3), _point, Site));
        Assert.IsType<ReplicaServed>(await ServeAsync(3));
    }

    /// <summary>It was opened as a whole: what its capture knows lies beside nothing.</summary>
    [Fact]
    public async Task Of_a_disk_whose_layer_is_gone_nothing_is_served()
    {
        Begin();
        foreach (var file in _disk.List(Layer)) _disk.Delete(file);
        Assert.Contains("the layer of disk 0 in " + Layer, await RefusedAsync(), StringComparison.Ordinal);
        Assert.Empty(_disk.List(Layer));
    }

    [Fact]
    public async Task What_says_which_layer_was_served_may_be_damaged_while_there_is_one()
    {
        Begin();
        _disk.Flip(Served, 40, 1);
        Assert.IsType<ReplicaServed>(await ServeAsync());
        Assert.Equal(7, await FirstByteAsync());
    }

    /// <summary>Who runs on the one before would find other disks under the same names.</summary>
    [Fact]
    public async Task Where_another_layer_is_there_it_is_ended_before_the_next_one_is_served()
    {
        Begin();
        await DoAsync(new OpenEpoch(Machine, new Epoch(3), _point, Site));
        _disk.Flip(Served, 40, 1);
        var forgotten = false;
        _disk.After = io => forgotten |= io is { Kind: IoKind.Delete, Path: Served } && !_disk.FolderExists("/target/stores/db1/replica/epoch-3");
        Assert.IsType<ReplicaServed>(await ServeAsync(3));
        Assert.True(forgotten);
        Assert.Equal((0, false), (await FirstByteAsync(), _disk.FolderExists(Layer)));
    }

    [Fact]
    public async Task Where_neither_says_what_was_served_nothing_is_until_an_operator_says_so()
    {
        Begin();
        _disk.Flip(Served, 40, 1);
        _disk.DeleteFolder(Layer);
        Assert.Contains(Served, await RefusedAsync(), StringComparison.Ordinal);
        Assert.False(_disk.FolderExists(Layer));
        _disk.Delete(Served);
        Assert.IsType<ReplicaServed>(await ServeAsync());
    }

    /// <summary>Begun with no bit set, nothing of what was written would ever be compared; and its positions would be those of other writes.</summary>
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Of_a_replica_whose_capture_is_gone_everything_is_unsynced(bool diesAtOnce)
    {
        Begin();
        _disk.DeleteFolder(Layer + "/capture");
        if (diesAtOnce)
        {
            // Its copy is written by then: from here on it is known again.
            _disk.Faults = io => io.Path.Contains("capture.json", StringComparison.Ordinal) ? Fault.Error : Fault.None;
            await Assert.ThrowsAnyAsync<IOException>(() => ServeAsync());
            _disk.Faults = null;
            Begin();
        }
        await ServeAsync();
        Assert.Equal(DiskBytes, Replica.Capture.Status().DirtyBytes);
        Assert.True(Replica.Capture.Status().Newest.Value > _point.Sequence.Value + 1_000_000_000);
        Assert.Equal(7, await FirstByteAsync());
    }

    /// <summary>Of two files that say the same either does.</summary>
    [Fact]
    public async Task A_capture_of_which_only_the_copy_is_there_is_the_same()
    {
        await DoAsync(new FenceReplica(Machine, new Epoch(3), new Epoch(2), Site));
        _disk.Delete(Layer + "/capture/capture.json");
        Assert.True(DataPlane.Capture.MachineCapture.IsFencedStored(Layer + "/capture", _disk));
    }

    private async Task<byte> FirstByteAsync()
    {
        var sector = new byte[512];
        await Replica.Disks[0].Device.ReadAsync(0, sector, default);
        return sector[0];
    }

    /// <summary>The next process.</summary>
    private void Begin(bool boots = false)
    {
        _disk = boots ? _disk.LosePower(1) : _disk.Kill();
        _room = Room();
    }

    private MasterTargetRoom Room()
    {
        _rooms.Add(new MasterTargetRoom("/target", routes => new Upstreams(routes, (_, _) => throw new IOException("nobody is there")), _disk, _clock));
        return _rooms[^1];
    }

    private Task<object?> ServeAsync(int epoch = 2) => DoAsync(new ServeReplica(Machine, new Epoch(epoch), _point, Site, null, new Epoch(epoch), ReplicationPolicy.Default));

    private async Task<string> RefusedAsync()
    {
        var refused = await Assert.ThrowsAsync<InvalidDataException>(() => ServeAsync());
        return refused.Message;
    }

    private Task<object?> DoAsync(object order) => StoreWork.PerformAsync(_room, Machine, order, mayTakeUnserved: false, givesUp: false, default);
}
