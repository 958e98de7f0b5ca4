using SiteRecovery.Actors.MasterTargets;
using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.DataPlane.ProcessServer;
using SiteRecovery.Domain.History;
using SiteRecovery.Domain.Policies;
using SiteRecovery.Simulation.World;

namespace SiteRecovery.Simulation.MasterTargets;

/// <summary>A machine of one disk that was failed over, and the master target that serves it, on a simulated disk.</summary>
internal sealed class ReplicaOnDisk
{
    internal const int DiskBytes = 64 << 10;
    internal static readonly MachineId Machine = new("db1");
    internal static readonly Epoch Layer = new(2);
    private readonly SimClock _clock = new();

    private ReplicaOnDisk(SimDisk disk) => (Disk, Room) = (disk, new MasterTargetRoom("/target", routes => new Upstreams(routes, (_, _) => throw new IOException("there is no way")), disk, _clock));

    internal SimDisk Disk { get; }
    internal MasterTargetRoom Room { get; }
    internal string Folder => Room.LayerFolderOf(Machine, $"epoch-{Layer}");
    internal string PathOf(string suffix) => Folder + "/disk-0" + suffix;

    /// <summary>Failed over to its first point, and not served yet.</summary>
    internal static async Task<ReplicaOnDisk> FailedOverAsync()
    {
        var failed = new ReplicaOnDisk(new SimDisk());
        failed.Room.Stores.Hold(Machine, [new DiskGeometry(0, "vda", DiskBytes)], Epoch.First);
        var store = failed.Room.Stores.StoreOf(Machine);
        Append(MarkerKind.StreamStart, 1, "continue"u8);
        Append(MarkerKind.CrashConsistentPoint, 2, []);
        store.Flush();
        await failed.Room.Stores.OpenEpochAsync(Machine, Layer, store.ConsistentUpTo!, default);
        return failed;

        void Append(MarkerKind marker, long ordinal, ReadOnlySpan<byte> text) => store.Append(BatchCodec.Encode(new BatchHeader
        {
            Kind = BatchKind.Marker, Marker = marker, MachineTag = BatchCodec.TagOf(Machine), Epoch = Epoch.First, Incarnation = 1, Ordinal = ordinal, First = Sequence.None, Last = Sequence.None, Time = DateTimeOffset.UnixEpoch.AddSeconds(ordinal),
        }, [], text));
    }

    /// <summary>As the next process finds it.</summary>
    internal ReplicaOnDisk On(SimDisk disk) => new(disk);

    internal Task<ReplicaMachine> OpenAsync()
    {
        var store = Room.Stores.StoreOf(Machine);
        return ReplicaMachine.OpenAsync(store, store.ConsistentUpTo!, Folder, Layer, ReplicationPolicy.Default, _ => 0, Room);
    }

    internal static async Task<byte[]> ReadAsync(ReplicaMachine replica)
    {
        var bytes = new byte[DiskBytes];
        await replica.Disks[0].Device.ReadAsync(0, bytes, default);
        return bytes;
    }
}
