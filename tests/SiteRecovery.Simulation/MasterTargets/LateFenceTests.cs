using System.Collections.Immutable;
using SiteRecovery.Actors.MasterTargets;
using SiteRecovery.DataPlane.ProcessServer;
using SiteRecovery.DataPlane.Storage;
using SiteRecovery.Domain.History;
using SiteRecovery.Domain.Policies;
using SiteRecovery.Domain.ProtectedMachines;
using SiteRecovery.Domain.Results;
using SiteRecovery.Domain.Vaults;
using SiteRecovery.Simulation.World;

namespace SiteRecovery.Simulation.MasterTargets;

/// <summary>A replica is the source; a failover away from it was called off, and it goes on in an epoch of its own. The order to fence it comes late, as any order may.</summary>
public sealed class LateFenceTests : IAsyncDisposable
{
    private const int DiskBytes = 1 << 20, Cluster = 4096;
    private static readonly MachineId Vm = new("db1");
    private static readonly SiteName Site = new("lyon");
    private static readonly Epoch Layer = new(3), CalledOff = new(4), Now = new(5);
    private readonly SimClock _clock = new();
    private readonly List<MasterTargetRoom> _rooms = [];

    /// <summary>Opened a second time and flushed, the map would be taken back to what it was before the guest's last flush.</summary>
    [Fact]
    public async Task It_touches_nothing_of_what_is_served()
    {
        var disk = new SimDisk();
        var (room, serve) = await ServedAsync(disk);
        var replica = StoreWork.ReplicaOf(room, Vm)!;
        await WriteAsync(replica, 0);
        var opened = false;
        disk.After = io =>
        {
            if (io.Kind != IoKind.Flush || !io.Path.EndsWith("disk-0.data", StringComparison.Ordinal) || opened) return;
            opened = true;
            WriteFlushed();
        };
        var said = await StoreWork.PerformAsync(room, Vm, new FenceReplica(Vm, CalledOff, Layer, Site), mayTakeUnserved: false, givesUp: false, default);
        disk.After = null;
        if (!opened) WriteFlushed();

        var next = Room(disk.LosePower(1));
        await StoreWork.PerformAsync(next, Vm, serve, mayTakeUnserved: false, givesUp: false, default);
        Assert.Equal((Now, false), (StoreWork.ReplicaOf(next, Vm)!.Epoch, StoreWork.ReplicaOf(next, Vm)!.Capture.IsFenced));
        var sector = new byte[512];
        await StoreWork.ReplicaOf(next, Vm)!.Disks[0].Device.ReadAsync(8 * Cluster, sector, default);
        Assert.Equal((7, false, null), (sector[0], opened, said));

        void WriteFlushed()
        {
            WriteAsync(replica, 8 * Cluster).GetAwaiter().GetResult();
            replica.Disks[0].Device.FlushAsync(default).AsTask().GetAwaiter().GetResult();
        }
    }

    /// <summary>While it is not served yet, behind a start of the node, nobody may end it either.</summary>
    [Fact]
    public async Task It_ends_nothing_of_what_is_to_be_served()
    {
        var disk = new SimDisk();
        var (room, serve) = await ServedAsync(disk);
        await room.DisposeAsync();
        var next = Room(disk);
        Assert.Null(await StoreWork.PerformAsync(next, Vm, new FenceReplica(Vm, CalledOff, Layer, Site), mayTakeUnserved: false, givesUp: false, default));
        Assert.Equal(serve, next.Served.OrderOf(Vm));
        Assert.IsType<SourceFenced>(await StoreWork.PerformAsync(next, Vm, new FenceReplica(Vm, new Epoch(6), Layer, Site), mayTakeUnserved: false, givesUp: false, default));
        Assert.Null(next.Served.OrderOf(Vm));
    }

    private async Task<(MasterTargetRoom Room, ServeReplica Serve)> ServedAsync(SimDisk disk)
    {
        disk.CreateDirectory("/host");
        disk.Replace("/host/vda.raw", new byte[DiskBytes]);
        var room = Room(disk);
        ImmutableArray<DiskSpec> disks = [new DiskSpec(0, "vda", "/host/vda.raw", DiskBytes, "nbd")];
        var continued = (StoreContinued)(await StoreWork.PerformAsync(room, Vm, new ContinueStore(Vm, new Epoch(2), new StoreContinuation(Epoch.First, FromDisks: true), new Sequence(5), disks, Site), mayTakeUnserved: false, givesUp: false, default))!;
        await StoreWork.PerformAsync(room, Vm, new OpenEpoch(Vm, Layer, continued.Kept!, Site), mayTakeUnserved: false, givesUp: false, default);
        var serve = new ServeReplica(Vm, Now, continued.Kept!, Site, null, Layer, ReplicationPolicy.Default);
        Assert.IsType<ReplicaServed>(await StoreWork.PerformAsync(room, Vm, serve, mayTakeUnserved: false, givesUp: false, default));
        return (room, serve);
    }

    private static async Task WriteAsync(ReplicaMachine replica, long offset) =>
        await replica.Disks[0].Device.WriteAsync(offset, Enumerable.Repeat((byte)7, Cluster).ToArray(), forceUnitAccess: false, default);

    private MasterTargetRoom Room(SimDisk disk)
    {
        var room = new MasterTargetRoom("/target", routes => new Upstreams(routes, (_, _) => throw new IOException("nobody is there")), disk, _clock);
        _rooms.Add(room);
        return room;
    }

    public async ValueTask DisposeAsync()
    {
        foreach (var room in _rooms.AsEnumerable().Reverse()) await room.DisposeAsync();
    }
}
