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
    internal static async Task<ReplicaOnDisk> FailedOverAsync(byte[]? below = null, int disks = 1)
    {
        var failed = new ReplicaOnDisk(new SimDisk());
        failed.Room.Stores.Hold(Machine, [.. Enumerable.Range(0, disks).Select(d => new DiskGeometry((ushort)d, $"vd{(char)('a' + d)}", DiskBytes))], Epoch.First);
        var store = failed.Room.Stores.StoreOf(Machine);
        var written = below is null ? 0 : disks;
        Append(MarkerKind.StreamStart, 1, "continue"u8);
        for (var disk = 0; disk < written; disk++)
            store.Append(BatchCodec.Encode(Header(BatchKind.Delta, MarkerKind.None, disk + 2, new Sequence(disk + 1)), [new Extent(0, DiskBytes, (ushort)disk, ExtentKind.Data)], below));
        Append(MarkerKind.CrashConsistentPoint, written + 2, []);
        store.Flush();
        await failed.Room.Stores.OpenEpochAsync(Machine, Layer, store.ConsistentUpTo!, default);
        return failed;

        void Append(MarkerKind marker, long ordinal, ReadOnlySpan<byte> text) =>
            store.Append(BatchCodec.Encode(Header(BatchKind.Marker, marker, ordinal, ordinal == 1 ? Sequence.None : new Sequence(written)), [], text));

        static BatchHeader Header(BatchKind kind, MarkerKind marker, long ordinal, Sequence at) => new()
        {
            Kind = kind, Marker = marker, MachineTag = BatchCodec.TagOf(Machine), Epoch = Epoch.First, Incarnation = 1, Ordinal = ordinal, First = at, Last = at, Time = DateTimeOffset.UnixEpoch.AddSeconds(ordinal),
        };
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
