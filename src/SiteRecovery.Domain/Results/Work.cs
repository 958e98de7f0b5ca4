using System.Collections.Immutable;
using System.Text.Json.Serialization;
using SiteRecovery.Domain.History;
using SiteRecovery.Domain.Policies;
using SiteRecovery.Domain.ProtectedMachines;
using SiteRecovery.Domain.Vaults;

namespace SiteRecovery.Domain.Results;

/// <summary>
/// Something that should be under way now. Compares by value, so a shell starts what is newly wanted and stops what no
/// longer is. Every receiver must take a repeat of it, and must refuse it when it knows a later epoch.
/// </summary>
[JsonPolymorphic(TypeDiscriminatorPropertyName = "$type")]
[JsonDerivedType(typeof(ReplicateFrom), WorkKind.Replicate)]
[JsonDerivedType(typeof(HoldStore), WorkKind.HoldStore)]
[JsonDerivedType(typeof(OpenEpoch), WorkKind.OpenEpoch)]
[JsonDerivedType(typeof(ServeReplica), WorkKind.ServeReplica)]
[JsonDerivedType(typeof(FenceSource), WorkKind.FenceSource)]
[JsonDerivedType(typeof(ReleaseAgent), WorkKind.ReleaseAgent)]
[JsonDerivedType(typeof(RemoveStore), WorkKind.RemoveStore)]
[JsonDerivedType(typeof(ServeTest), WorkKind.ServeTest)]
[JsonDerivedType(typeof(RemoveTest), WorkKind.RemoveTest)]
[JsonDerivedType(typeof(VerifyTarget), WorkKind.VerifyTarget)]
[JsonDerivedType(typeof(ContinueStore), WorkKind.ContinueStore)]
[JsonDerivedType(typeof(FenceReplica), WorkKind.FenceReplica)]
[JsonDerivedType(typeof(TakeBackTail), WorkKind.TakeBackTail)]
[JsonDerivedType(typeof(FlattenReplica), WorkKind.FlattenReplica)]
[JsonDerivedType(typeof(ReleaseReplica), WorkKind.ReleaseReplica)]
public abstract record Work(MachineId Machine, Epoch Epoch)
{
    /// <summary>Stable name, one of <see cref="WorkKind"/>; what <see cref="WorkFailed"/> and job steps call it.</summary>
    [JsonIgnore] public abstract string Kind { get; }
}

/// <summary>Work of the master target that holds the machine's store.</summary>
public interface IAtMasterTarget
{
    SiteName TargetSite { get; }

    /// <summary>Null: the site's first.</summary>
    string? TargetNode { get; }
}

public static class WorkKind
{
    public const string Replicate = "replicate";
    public const string HoldStore = "hold-store";
    public const string OpenEpoch = "open-epoch";
    public const string ServeReplica = "serve-replica";
    public const string FenceSource = "fence-source";
    public const string ReleaseAgent = "release-agent";
    public const string RemoveStore = "remove-store";
    public const string ServeTest = "serve-test";
    public const string RemoveTest = "remove-test";
    public const string VerifyTarget = "verify-target";
    public const string ContinueStore = "continue-store";
    public const string FenceReplica = "fence-replica";
    public const string TakeBackTail = "take-back-tail";
    public const string FlattenReplica = "flatten-replica";
    public const string ReleaseReplica = "release-replica";
}

/// <summary>
/// Desired state of the source's agent and its stream. Paused: capture and track, send nothing. Synchronize: make the
/// target's prefix complete again, then report <see cref="SynchronizationCompleted"/> with this <paramref name="Round"/>.
/// </summary>
/// <param name="Full">Compares every block, not only those known to differ.</param>
/// <param name="TargetNode">The master target that holds the store; null: the target site's first.</param>
/// <param name="Round">Counts synchronizations, so that a late report of an earlier one cannot end a later one, and drains, so that a late order cannot end one.</param>
/// <param name="Drain">Take no write any more, send the rest, then report <see cref="SourceDrained"/>. A source that then hears nothing for long takes up its writes again.</param>
/// <param name="Hold">Not even then: from here on only a later order lets it write. Report <see cref="SourceHeld"/>.</param>
/// <param name="Protection">The epoch in which this protection began.</param>
/// <param name="Replica">Set when the source is no agent's but a replica that was failed over to.</param>
public sealed record ReplicateFrom(
    MachineId Machine, Epoch Epoch, AgentName Agent, ImmutableArray<DiskSpec> Disks, SiteName SourceSite, SiteName TargetSite,
    ReplicationPolicy Policy, bool Paused, bool Synchronize, int Round, bool Full = false, string? TargetNode = null,
    bool Drain = false, Epoch Protection = default, ReplicaSource? Replica = null, bool Hold = false) : Work(Machine, Epoch)
{
    /// <summary>Besides what the source knows, this differs at the target.</summary>
    public ImmutableArray<StaleRange> Stale { get; init; } = [];

    public override string Kind => WorkKind.Replicate;

    // An ImmutableArray compares by reference, and work must compare by value.
    public bool Equals(ReplicateFrom? other) =>
        other is not null && Machine == other.Machine && Epoch == other.Epoch && Agent == other.Agent
        && SourceSite == other.SourceSite && TargetSite == other.TargetSite && Policy == other.Policy
        && Paused == other.Paused && Synchronize == other.Synchronize && Round == other.Round
        && Full == other.Full && Drain == other.Drain && Hold == other.Hold && Protection == other.Protection && Replica == other.Replica && TargetNode == other.TargetNode && Disks.AsSpan().SequenceEqual(other.Disks.AsSpan()) && Stale.AsSpan().SequenceEqual(other.Stale.AsSpan());

    public override int GetHashCode() => HashCode.Combine(Machine, Epoch, Agent, Paused, Synchronize, Round, Disks.Length);
}

/// <summary>The target's retention store exists and takes writes of <paramref name="Epoch"/>, the epoch it is known to be in.</summary>
/// <param name="Definition">Kept beside the points, so that the target needs nothing of the source to build the machine.</param>
/// <param name="MayForget">Points outside of the policy's retention may go. Never while a failover or a test may need one.</param>
public sealed record HoldStore(
    MachineId Machine, Epoch Epoch, ImmutableArray<DiskSpec> Disks, SiteName TargetSite, ReplicationPolicy Policy, string? TargetNode = null,
    string? Definition = null, bool MayForget = false) : Work(Machine, Epoch), IAtMasterTarget
{
    public override string Kind => WorkKind.HoldStore;

    public bool Equals(HoldStore? other) =>
        other is not null && Machine == other.Machine && Epoch == other.Epoch && TargetSite == other.TargetSite
        && Policy == other.Policy && TargetNode == other.TargetNode && Definition == other.Definition && MayForget == other.MayForget && Disks.AsSpan().SequenceEqual(other.Disks.AsSpan());

    public override int GetHashCode() => HashCode.Combine(Machine, Epoch, TargetSite, Disks.Length);
}

/// <summary>Fork the history at <paramref name="Point"/>; from then on the store refuses every earlier epoch. Reports <see cref="EpochOpened"/>.</summary>
public sealed record OpenEpoch(MachineId Machine, Epoch Epoch, RecoveryPoint Point, SiteName TargetSite, string? TargetNode = null)
    : Work(Machine, Epoch), IAtMasterTarget
{
    public override string Kind => WorkKind.OpenEpoch;
}

/// <summary>Serve the machine's disks as of <paramref name="Point"/>, writable into <paramref name="Epoch"/>. Reports <see cref="ReplicaServed"/>, also when addresses change.</summary>
/// <param name="Layer">Names the layer that its writes are in: the epoch in which it was first served.</param>
/// <param name="Policy">As it is when the replica is opened.</param>
/// <param name="Networks">A <see cref="Domain.Networks.NetworkPlan"/> as JSON, given to the order on its way; null: the vault has no mapping.</param>
public sealed record ServeReplica(
    MachineId Machine, Epoch Epoch, RecoveryPoint Point, SiteName TargetSite, string? TargetNode, Epoch Layer, ReplicationPolicy Policy, string? Networks = null)
    : Work(Machine, Epoch), IAtMasterTarget
{
    public override string Kind => WorkKind.ServeReplica;

    /// <summary>A changed policy is no other order: it would end what is served, and with it the machine that runs on it. What follows of it, its <see cref="ReplicateFrom"/> says.</summary>
    public bool Equals(ServeReplica? other) =>
        other is not null && Machine == other.Machine && Epoch == other.Epoch && Point == other.Point && TargetSite == other.TargetSite && TargetNode == other.TargetNode
        && Layer == other.Layer && Networks == other.Networks;

    public override int GetHashCode() => HashCode.Combine(Machine, Epoch, Point, TargetSite, TargetNode, Layer, Networks);

    /// <summary>The same replica in another epoch: the machine that runs on it runs on.</summary>
    public bool GoesOnAs(ServeReplica later) => later with { Epoch = Epoch } == this;
}

/// <summary>Tell the source that its epoch ended with the start of <paramref name="Epoch"/>. Reports <see cref="SourceFenced"/>.</summary>
public sealed record FenceSource(MachineId Machine, Epoch Epoch, AgentName Agent, SiteName SourceSite, bool StopMachine = false) : Work(Machine, Epoch)
{
    public override string Kind => WorkKind.FenceSource;
}

/// <summary>The agent forgets the machine: no capture, no bitmap. Reports <see cref="AgentReleased"/>.</summary>
/// <param name="Fence">Its machine is another's by now: nobody may write to the disks that it leaves.</param>
public sealed record ReleaseAgent(MachineId Machine, Epoch Epoch, AgentName Agent, bool Fence = false) : Work(Machine, Epoch)
{
    public override string Kind => WorkKind.ReleaseAgent;
}

/// <summary>Remove the retention store and all its points. Reports <see cref="StoreRemoved"/>.</summary>
public sealed record RemoveStore(MachineId Machine, Epoch Epoch, SiteName TargetSite, string? TargetNode = null) : Work(Machine, Epoch), IAtMasterTarget
{
    public override string Kind => WorkKind.RemoveStore;
}

/// <summary>
/// Serve the machine's disks as of <paramref name="Point"/> with a layer that is thrown away. Its epoch is the point's, so that the
/// test does not notice what becomes of the machine. Reports <see cref="TestServed"/>.
/// </summary>
/// <param name="Networks">As in <see cref="ServeReplica"/>.</param>
public sealed record ServeTest(MachineId Machine, string Test, RecoveryPoint Point, SiteName TargetSite, string? TargetNode = null, string? Networks = null)
    : Work(Machine, Point.Epoch), IAtMasterTarget
{
    public override string Kind => WorkKind.ServeTest;
}

/// <summary>Remove every trace of a test. Reports <see cref="TestRemoved"/>.</summary>
public sealed record RemoveTest(MachineId Machine, string Test, RecoveryPoint Point, SiteName TargetSite, string? TargetNode = null)
    : Work(Machine, Point.Epoch), IAtMasterTarget
{
    public override string Kind => WorkKind.RemoveTest;
}

/// <summary>Compare the target with the drained source. Reports <see cref="TargetVerified"/> or <see cref="TargetDiffers"/>.</summary>
public sealed record VerifyTarget(MachineId Machine, Epoch Epoch, DrainedSource Source, SiteName TargetSite, string? TargetNode = null)
    : Work(Machine, Epoch), IAtMasterTarget
{
    public override string Kind => WorkKind.VerifyTarget;
}

/// <summary>
/// The store of a side that lost goes on in <paramref name="Epoch"/>, from where it ended in the epoch that was its own; what differs from the
/// winning side is for the synchronization that follows. Reports <see cref="StoreContinued"/>.
/// </summary>
/// <param name="Continuation">What it goes on from.</param>
/// <param name="Newest">The last write of a source whose disks become the store's base.</param>
public sealed record ContinueStore(
    MachineId Machine, Epoch Epoch, StoreContinuation Continuation, Sequence Newest, ImmutableArray<DiskSpec> Disks, SiteName TargetSite, string? TargetNode = null,
    bool Encrypted = false) : Work(Machine, Epoch), IAtMasterTarget
{
    public override string Kind => WorkKind.ContinueStore;

    public bool Equals(ContinueStore? other) =>
        other is not null && Machine == other.Machine && Epoch == other.Epoch && Continuation == other.Continuation && Newest == other.Newest
        && TargetSite == other.TargetSite && TargetNode == other.TargetNode && Encrypted == other.Encrypted && Disks.AsSpan().SequenceEqual(other.Disks.AsSpan());

    public override int GetHashCode() => HashCode.Combine(Machine, Epoch, Continuation, TargetSite);
}

/// <summary>Withdraw a replica whose epoch ended with the start of <paramref name="Epoch"/>. Reports <see cref="SourceFenced"/>.</summary>
public sealed record FenceReplica(MachineId Machine, Epoch Epoch, Epoch Layer, SiteName TargetSite, string? TargetNode = null) : Work(Machine, Epoch), IAtMasterTarget
{
    // To the machine and its jobs it is the same, whichever source is fenced.
    public override string Kind => WorkKind.FenceSource;
}

/// <summary>
/// Mark at the new source, the replica, what the old source wrote beyond the fork: known to the store beside the replica as far as it arrived there,
/// and else to the old source. Reports <see cref="TailMarked"/>.
/// </summary>
/// <param name="Loser">The old source where it was a replica; else it was the agent's.</param>
/// <param name="LoserSite">Where the old source is.</param>
/// <param name="Replica">The new source, at <paramref name="ReplicaSite"/>.</param>
public sealed record TakeBackTail(
    MachineId Machine, Epoch Epoch, AgentName Agent, ReplicaSource? Loser, SiteName LoserSite, ReplicaSource Replica, SiteName ReplicaSite) : Work(Machine, Epoch)
{
    public override string Kind => WorkKind.TakeBackTail;
}

/// <summary>Make the layers of a replica that is the machine for good raw files of their own, while it runs. Reports <see cref="ReplicaFlattened"/>.</summary>
/// <param name="Layer">As in <see cref="ServeReplica"/>.</param>
public sealed record FlattenReplica(MachineId Machine, Epoch Epoch, Epoch Layer, SiteName TargetSite, string? TargetNode = null) : Work(Machine, Epoch), IAtMasterTarget
{
    public override string Kind => WorkKind.FlattenReplica;
}

/// <summary>
/// Once nobody has its flattened disks open, withdraw the replica for good, leave its disks as raw files and remove the store that it came from. What cannot be served any more is left with its store
/// where it is not known to be whole. Reports <see cref="ReplicaReleased"/>.
/// </summary>
public sealed record ReleaseReplica(MachineId Machine, Epoch Epoch, Epoch Layer, ImmutableArray<DiskSpec> Disks, SiteName TargetSite, string? TargetNode = null)
    : Work(Machine, Epoch), IAtMasterTarget
{
    public override string Kind => WorkKind.ReleaseReplica;

    public bool Equals(ReleaseReplica? other) =>
        other is not null && Machine == other.Machine && Epoch == other.Epoch && Layer == other.Layer && TargetSite == other.TargetSite && TargetNode == other.TargetNode && Disks.AsSpan().SequenceEqual(other.Disks.AsSpan());

    public override int GetHashCode() => HashCode.Combine(Machine, Epoch, Layer, TargetSite);
}
