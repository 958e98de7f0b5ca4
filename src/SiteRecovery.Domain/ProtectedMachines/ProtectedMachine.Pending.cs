using System.Collections.Immutable;
using System.Diagnostics;
using SiteRecovery.Domain.History;
using SiteRecovery.Domain.Results;

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
        Phase.Unprotected { StoreRemovalPending: true } => [new RemoveStore(Id, Epoch, Required.TargetSite, Required.TargetNode)],
        Phase.Unprotected => [],
        Phase.InitialReplication => [Hold(), Replicate(synchronize: true)],
        Phase.Protected => [Hold(), Replicate()],
        Phase.Paused => [Hold(), Replicate(paused: true)],
        // The target's prefix ends before the divergence; nothing may be appended until it is mended.
        Phase.ResynchronizationRequired => [Hold(), Replicate(paused: true)],
        Phase.Resynchronizing p => [Hold(), Replicate(synchronize: true, full: p.Full)],
        Phase.UnplannedFailoverInProgress { Failure: not null } => [Hold()],
        Phase.UnplannedFailoverInProgress { EpochIsOpen: false } p => [Hold(), new OpenEpoch(Id, Epoch, p.Point, Required.TargetSite, Required.TargetNode)],
        Phase.UnplannedFailoverInProgress p => [Hold(), Serve(p.Point)],
        Phase.FailoverCommitPending p => [Hold(), Serve(p.Point)],
        Phase.FailedOver p => [Hold(), Serve(p.Point)],
        _ => throw new UnreachableException($"{nameof(Pending)} has no case for {Phase.Name}"),
    };

    private IEnumerable<Work> PendingBesidePhase()
    {
        if (Fence is { } fence) yield return new FenceSource(Id, fence.Epoch, fence.Agent, fence.SourceSite);
        foreach (var agent in AgentsToRelease) yield return new ReleaseAgent(Id, Epoch, agent);
    }

    private Protection Required => Protection ?? throw new UnreachableException($"{Id} is {Phase.Name} without a protection");

    private HoldStore Hold() => new(Id, StoreEpoch, Required.Disks, Required.TargetSite, Required.Policy, Required.TargetNode);

    private ServeReplica Serve(RecoveryPoint point) => new(Id, Epoch, point, Required.TargetSite, Required.TargetNode);

    private ReplicateFrom Replicate(bool paused = false, bool synchronize = false, bool full = false) => new(
        Id, Epoch, Required.Agent, Required.Disks, Required.SourceSite, Required.TargetSite, Required.Policy, paused, synchronize, Round,
        full, Required.TargetNode);
}
