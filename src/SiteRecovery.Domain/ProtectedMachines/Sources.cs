using System.Collections.Immutable;
using SiteRecovery.Domain.History;
using SiteRecovery.Domain.Policies;
using SiteRecovery.Domain.Vaults;

namespace SiteRecovery.Domain.ProtectedMachines;

/// <summary>What is replicated, from where to where, and how.</summary>
/// <param name="Agent">Reaches the disks that were protected; the machine's source for as long as <paramref name="Replica"/> is null.</param>
/// <param name="Since">The epoch in which the protection began.</param>
/// <param name="Replica">After a reverse replication: the replica that is the source now.</param>
/// <param name="Definition">The machine itself, as its hypervisor would need it to build it again (JSON, HYPERVISORS.md); null: only its disks are known.</param>
/// <param name="Loser">After a reverse replication: the replica that was the source before; null where it was the agent.</param>
public sealed record Protection(
    AgentName Agent, SiteName SourceSite, SiteName TargetSite, ImmutableArray<DiskSpec> Disks, string PolicyName, ReplicationPolicy Policy,
    string? TargetNode = null, Epoch Since = default, ReplicaSource? Replica = null, ReplicaSource? Loser = null, string? Definition = null);

/// <summary>A replica that was failed over to and is the machine now, at the master target that serves it.</summary>
/// <param name="Node">Null: the site's first master target.</param>
/// <param name="Layer">Names the layer of its writes.</param>
/// <param name="Point">What lies below them.</param>
public sealed record ReplicaSource(string? Node, Epoch Layer, RecoveryPoint Point);

/// <summary>A replica that is the machine for good and is protected no more: served until it is shut down, then its disks are files that are nobody's but its owner's.</summary>
public sealed record ReplicaRelease(SiteName Site, string? Node, Epoch Layer, RecoveryPoint Point);

/// <summary>The source that has not yet confirmed that its epoch is over.</summary>
public sealed record UnconfirmedFence(Epoch Epoch, AgentName Agent, SiteName SourceSite, ReplicaSource? Replica = null);

/// <summary>Where a disk of the target is not what it should be. Bytes.</summary>
public sealed record StaleRange(int Disk, long Offset, long Length)
{
    /// <summary>What an order carries easily; more follow when these are mended.</summary>
    public const int AtOnceMax = 1000;
}

/// <summary>These places of the newest state were damaged at the target, and the source was told to send them again.</summary>
public sealed record Repair(DateTimeOffset At, Epoch Epoch, ImmutableArray<StaleRange> Ranges);

/// <summary>What the store of a side that lost goes on from.</summary>
/// <param name="After">The epoch whose end it is.</param>
/// <param name="Fold">The layer of a replica whose writes are kept as a recovery point before; null: there is none.</param>
/// <param name="FromDisks">There is no store yet: the old source's own disks are its base.</param>
/// <param name="MayStartEmpty">Where those are gone, it starts with nothing.</param>
public sealed record StoreContinuation(Epoch After, Epoch? Fold = null, bool FromDisks = false, bool MayStartEmpty = false);
