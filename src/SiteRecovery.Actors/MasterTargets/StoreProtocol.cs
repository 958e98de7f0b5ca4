using System.Collections.Immutable;
using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.DataPlane.Retention;
using SiteRecovery.Domain.History;
using SiteRecovery.Domain.ProtectedMachines;

namespace SiteRecovery.Actors.MasterTargets;

/// <summary>A question about one machine's store, put to the master target that holds it.</summary>
public interface IForStore
{
    MachineId Machine { get; }
}

/// <summary>Answered with <see cref="RecoveryPoints"/> or <see cref="StoreUnavailable"/>: newest first.</summary>
/// <param name="Kind">Null: any.</param>
public sealed record GetRecoveryPoints(MachineId Machine, DateTimeOffset? From, DateTimeOffset? To, PointKind? Kind, int Skip, int Limit) : IForStore, IClusterMessage;

/// <param name="More">There are older ones.</param>
public sealed record RecoveryPoints(ImmutableArray<NotedPoint> Items, bool More) : IClusterMessage;

/// <summary>A point and what an operator or a verification has said of it.</summary>
/// <param name="Verifying">All of its bytes are being read now.</param>
/// <param name="Damage">What the last verification found; null: nothing, or there was none.</param>
/// <param name="Root">The root hash of all its disks; null: not known yet.</param>
public sealed record NotedPoint(RecoveryPoint Point, bool Protected, bool Verifying, DateTimeOffset? VerifiedAt, string? Damage, string? Root = null, PointSignals? Signals = null, bool Jump = false) : IClusterMessage;

/// <summary>Keeps a point beyond the retention, or gives it up again. Answered with <see cref="NotedPoint"/> or <see cref="StoreUnavailable"/>.</summary>
public sealed record ProtectPoint(MachineId Machine, RecoveryPoint Point, bool Keep) : IForStore, IClusterMessage;

/// <summary>Begins to read and check all that a point shows, one at a time per machine. Answered at once, with <see cref="NotedPoint"/> or <see cref="StoreUnavailable"/>.</summary>
public sealed record VerifyPoint(MachineId Machine, RecoveryPoint Point) : IForStore, IClusterMessage;

/// <summary>Answered with <see cref="PointResolved"/> or <see cref="StoreUnavailable"/>.</summary>
public sealed record ResolvePoint(MachineId Machine, PointSelector Selector) : IForStore, IClusterMessage;

/// <param name="Point">Null: the store holds no such point.</param>
/// <param name="ThinnedAfter">Where the point was thinned away, the nearest before it that is left, and <paramref name="ThinnedBefore"/> the nearest behind it.</param>
public sealed record PointResolved(RecoveryPoint? Point, RecoveryPoint? ThinnedAfter = null, RecoveryPoint? ThinnedBefore = null) : IClusterMessage;

/// <summary>The store cannot be asked, and why.</summary>
public sealed record StoreUnavailable(string Reason) : IClusterMessage;

/// <summary>A part of what an old source wrote beyond the fork, told to the master target that serves the replica. It marks them.</summary>
/// <param name="Part">From 0; a part that is out of its order voids the whole, which is then told again.</param>
/// <param name="Numbers">Disk index, offset and length of each range, one after the other. Bytes.</param>
/// <param name="Newest">The old source's last write.</param>
/// <param name="Told">How far it had been told is durable here: it does not tell what is up to there.</param>
/// <param name="Replica">Where it is marked.</param>
public sealed record TailFound(MachineId Machine, Epoch Epoch, ReplicaSource Replica, int Part, ImmutableArray<long> Numbers, Sequence Newest, StreamPosition Told, bool Last) : IClusterMessage
{
    /// <summary>Three for each range; what a message between nodes carries easily.</summary>
    public const int NumbersMax = 3 * 1000;
}

/// <summary>Marks a recovery point of a machine whose source is a replica. Answered with <see cref="ReplicaPointTaken"/> or <see cref="StoreUnavailable"/>.</summary>
public sealed record TakeReplicaPoint(MachineId Machine, string? Label, PointKind Kind) : IForStore, IClusterMessage;

public sealed record ReplicaPointTaken(string PointId) : IClusterMessage;
