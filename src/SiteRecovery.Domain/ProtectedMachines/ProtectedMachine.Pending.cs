using System.Collections.Immutable;
using System.Diagnostics;
using SiteRecovery.Domain.History;
using SiteRecovery.Domain.Results;
using SiteRecovery.Domain.Vaults;

namespace SiteRecovery.Domain.ProtectedMachines;

public sealed partial record ProtectedMachine
{
    /// <summary>
    /// What should be under way now. Asked after every event and after recovery, so that a restart and a normal run are
    /// one path; the shell starts what is new in it and stops what has left it.
    /// </summary>
    public static ImmutableArray<Work> Pending(ProtectedMachine machine) =>
        [.. machine.PendingOfPhase(), .. machine.PendingBesidePhase(), .. machine.PendingTests()];

    private ImmutableArray<Work> PendingOfPhase() => Phase switch
    {
        Phase.Unprotected { StoreRemovalPending: true } when Releasing is { } release =>
            [new ReleaseReplica(Id, Epoch, release.Layer, Required.Disks, release.Site, release.Node), new ServeReplica(Id, Epoch, release.Point, release.Site, release.Node, release.Layer, Required.Policy)], // in this order: what is to be released is not started
        Phase.Unprotected { StoreRemovalPending: true } => [new RemoveStore(Id, Epoch, Required.TargetSite, Required.TargetNode)],
        Phase.Unprotected => [],
        Phase.InitialReplication => [Hold(), Replicate(synchronize: true)],
        Phase.Protected => [.. Source(), Hold(), Replicate()],
        // Cancelled: until the store goes on the target's replica may still take writes, so the source must not, wherever it is served. Where there never was one it runs on.
        Phase.Paused or Phase.ResynchronizationRequired or Phase.Resynchronizing when Continuation is not null => [.. SourceNotLeftYet(), Continue()],
        Phase.Paused => [.. Source(), Hold(), Replicate(paused: true)],
        // The target's prefix ends before the divergence; nothing may be appended until it is mended.
        Phase.ResynchronizationRequired => [.. Source(), Hold(), Replicate(paused: true)],
        Phase.Resynchronizing p => [.. Source(), Hold(), Replicate(synchronize: true, full: ComparesAll || p.Full) with { Stale = p.Stale ?? [] }],
        Phase.PlannedFailoverInProgress { Drained: null } => [.. Source(), Hold(), Replicate(drain: true)],
        Phase.PlannedFailoverInProgress { Point: null, Matched: not null } => [.. Source(), Hold(), Replicate(drain: true, hold: true)],
        Phase.PlannedFailoverInProgress { Point: null, Drained: { } drained } =>
            [.. Source(), Hold(), Replicate(drain: true), new VerifyTarget(Id, Epoch, drained, Required.TargetSite, Required.TargetNode)],
        Phase.PlannedFailoverInProgress { Point: { } point, EpochIsOpen: false } => [Hold(), Open(point)],
        Phase.PlannedFailoverInProgress { Point: { } point } => [Hold(), Serve(point)],
        Phase.UnplannedFailoverInProgress { Failure: not null } => [.. SourceNotLeftYet(), Hold()],
        Phase.UnplannedFailoverInProgress { EpochIsOpen: false } p => [.. SourceNotLeftYet(), Hold(), Open(p.Point)],
        Phase.UnplannedFailoverInProgress p => [Hold(), Serve(p.Point)],
        Phase.FailoverCommitPending p => [Hold(), Serve(p.Point)],
        Phase.FailedOver p => [Hold(), Serve(p.Point), .. Flatten(Epoch, Required.TargetSite, Required.TargetNode)],
        // Until it is fenced the old source may write on, and its tail grow. Where everything is compared, that does not matter.
        Phase.ReverseReplicating { Full: false } when Fence is not null => Source(),
        Phase.ReverseReplicating { TailIsKnown: false } => [.. Source(), TakeBack()],
        Phase.ReverseReplicating when Continuation is not null => [.. Source(), Continue()],
        Phase.ReverseReplicating p => [.. Source(), Hold(), Replicate(synchronize: true, full: ComparesAll || p.Full)],
        _ => throw new UnreachableException($"{nameof(Pending)} has no case for {Phase.Name}"),
    };

    private IEnumerable<Work> PendingBesidePhase()
    {
        foreach (var former in FormerFences) yield return Fencing(former);
        // Nothing runs at the target before its epoch is open. Where it cannot be opened, a source that lives is not stopped for nothing.
        if (Fence is { } fence && !(Phase is Phase.UnplannedFailoverInProgress { EpochIsOpen: false } && fence.Epoch == Epoch)) yield return Fencing(fence);
        // One that has not confirmed its end yet would serve its disks on, as nobody's.
        foreach (var agent in AgentsToRelease) yield return new ReleaseAgent(Id, Epoch, agent, IsToBeFenced(agent));
    }

    private bool IsToBeFenced(AgentName agent) => FormerFences.Append(Fence).Any(f => IsOf(f, agent));

    private static bool IsOf(UnconfirmedFence? fence, AgentName agent) => fence is { Replica: null } && fence.Agent == agent;

    private Work Fencing(UnconfirmedFence fence) => fence.Replica is { } replica ? new FenceReplica(Id, fence.Epoch, replica.Layer, fence.SourceSite, replica.Node)
        : new FenceSource(Id, fence.Epoch, fence.Agent, fence.SourceSite, Protection?.Policy.StopFencedMachine ?? false);

    private Protection Required => Protection ?? throw new UnreachableException($"{Id} is {Phase.Name} without a protection");

    private HoldStore Hold() => new(Id, StoreEpoch, Required.Disks, Required.TargetSite, Required.Policy, Required.TargetNode, Required.Definition, MayForget:
        Phase is Phase.InitialReplication or Phase.Protected or Phase.Resynchronizing or Phase.Paused or Phase.ReverseReplicating && Tests.IsEmpty);

    private OpenEpoch Open(RecoveryPoint point) => new(Id, Epoch, point, Required.TargetSite, Required.TargetNode);

    private ServeReplica Serve(RecoveryPoint point) => new(Id, Epoch, point, Required.TargetSite, Required.TargetNode, Epoch, Required.Policy);

    /// <summary>A source that is a replica is served at its own site for as long as it is the source.</summary>
    private ImmutableArray<Work> Source() => Required.Replica is { } replica
        ? [new ServeReplica(Id, Epoch, replica.Point, Required.SourceSite, replica.Node, replica.Layer, Required.Policy), .. Flatten(replica.Layer, Required.SourceSite, replica.Node)] : [];

    /// <summary>Of a failover that the target has not begun, and may never: a replica that it leads away from is served as before, in the epoch in which it writes.</summary>
    private ImmutableArray<Work> SourceNotLeftYet() => Required.Replica is { } replica && StoreEpoch <= SourceEpoch
        ? [new ServeReplica(Id, SourceEpoch, replica.Point, Required.SourceSite, replica.Node, replica.Layer, Required.Policy)] : [];

    /// <summary>What is the machine for good shall not hang on a point of a store for ever.</summary>
    private ImmutableArray<Work> Flatten(Epoch layer, SiteName site, string? node) => Flattened == layer ? [] : [new FlattenReplica(Id, Epoch, layer, site, node)];

    /// <summary>Disks that may still be written to are nobody's base.</summary>
    private ContinueStore Continue() => new(Id, Epoch, Fence is null ? Continuation! : Continuation! with { FromDisks = false }, SourceStoppedAt ?? Sequence.None, Required.Disks, Required.TargetSite, Required.TargetNode, Required.Policy.RetentionEncrypted);

    private TakeBackTail TakeBack() => new(Id, Epoch, Required.Agent, Required.Loser, Required.TargetSite, Required.Replica!, Required.SourceSite);

    private ReplicateFrom Replicate(bool paused = false, bool synchronize = false, bool full = false, bool drain = false, bool hold = false) => new(
        Id, Epoch, Required.Agent, Required.Disks, Required.SourceSite, Required.TargetSite, Required.Policy, paused, synchronize, Round,
        full, Required.TargetNode, drain, Required.Since, Required.Replica, hold);
}
