using System.Collections.Immutable;
using System.Diagnostics;
using SiteRecovery.Domain.History;
using SiteRecovery.Domain.Jobs;
using SiteRecovery.Domain.Policies;
using SiteRecovery.Domain.Results;
using SiteRecovery.Domain.Vaults;

namespace SiteRecovery.Domain.ProtectedMachines;

public sealed record WorkProblem(string Work, string Reason, bool Permanent, DateTimeOffset Since);

/// <summary>An operator command that was carried out; the same id again gets the same answer.</summary>
public sealed record CarriedCommand(CommandId Id, string Action);

/// <summary>
/// The state of one protected machine. Only events change it, through <see cref="Apply"/>, which invents nothing:
/// time, rounds and epochs come in with the event. What runs beside any phase is a field here, never another phase.
/// </summary>
public sealed partial record ProtectedMachine(MachineId Id)
{
    public const int CarriedCommandsMax = 256;
    public const int TestsMax = 4, DrillsMax = 20;

    public Phase Phase { get; init; } = new Phase.Unprotected();
    public Epoch Epoch { get; init; } = new(0);

    /// <summary>The epoch the target's store is known to be in; behind <see cref="Epoch"/> while a failover opens the next.</summary>
    public Epoch StoreEpoch { get; init; } = new(0);

    /// <summary>The epoch in which the source wrote before the last failover.</summary>
    public Epoch SourceEpoch { get; init; } = new(0);

    /// <summary>The last write of the fenced source; null while it is not known.</summary>
    public Sequence? SourceStoppedAt { get; init; }

    /// <summary>What the target's store must go on from before anything can be sent to it; null: nothing stands in the way.</summary>
    public StoreContinuation? Continuation { get; init; }

    /// <summary>The layer of a replica whose disks have become raw files of their own; null: none has.</summary>
    public Epoch? Flattened { get; init; }

    /// <summary>The replica that goes on as a machine of its own, once it is shut down; null where none does, or it is gone already.</summary>
    public ReplicaRelease? Releasing { get; init; }

    /// <summary>Counts synchronizations and drains within the machine's life.</summary>
    public int Round { get; init; }
    public Protection? Protection { get; init; }
    public UnconfirmedFence? Fence { get; init; }

    /// <summary>Sources of failovers before the last that have never confirmed theirs, oldest first: they may still take writes.</summary>
    public ImmutableArray<UnconfirmedFence> FormerFences { get; init; } = [];
    public ImmutableArray<AgentName> AgentsToRelease { get; init; } = [];
    public ImmutableArray<DiskExport> Exports { get; init; } = [];

    /// <summary>Where the replica machine that runs on them is reached; null where there is none.</summary>
    public string? Console { get; init; }
    public ImmutableArray<TestRun> Tests { get; init; } = [];

    /// <summary>
    /// Nobody knows which blocks differ at the target: every one is compared by the next synchronization, whatever comes between it and the event that asked for it, also a failover that is cancelled, or a reverse replication.
    /// </summary>
    public bool ComparesAll { get; init; }
    /// <summary>What of the target's store was mended by itself of late, oldest first.</summary>
    public ImmutableArray<Repair> Repairs { get; init; } = [];
    /// <summary>Test failovers that were cleaned up, oldest first.</summary>
    public ImmutableArray<Drill> Drills { get; init; } = [];
    public ImmutableArray<WorkProblem> Problems { get; init; } = [];
    public JobLog Jobs { get; init; } = JobLog.Empty;
    public ImmutableArray<CarriedCommand> Carried { get; init; } = [];

    /// <summary>Nothing of a protection is left, nor anything to be done for one.</summary>
    [System.Text.Json.Serialization.JsonIgnore] public bool IsAtRest => Phase is Phase.Unprotected { StoreRemovalPending: false } && Fence is null && FormerFences.IsEmpty && AgentsToRelease.IsEmpty && Releasing is null && Tests.IsEmpty;

    public static ProtectedMachine New(MachineId id) => new(id);

    public ProtectedMachine Apply(MachineEvent happened) => happened switch
    {
        ProtectionEnabled e => Enabled(e),
        PolicyChanged e => Following(e),
        SynchronizationFinished e => Synchronized(e),
        ProtectionPaused e => Carry(e, MachineActions.Pause) with
        {
            Phase = new Phase.Paused(Interrupted()),
            Jobs = Jobs.Done(JobId.Of(Id, e.Cause), MachineActions.Pause, e.At),
        },
        ProtectionResumed e => Resumed(e),
        DivergenceDetected e => Diverged(e),
        ResynchronizationStarted e => (Carry(e, MachineActions.Resynchronize) with
        {
            Phase = new Phase.Resynchronizing(e.Full, e.Stale),
            ComparesAll = ComparesAll || e.Full,
            Round = e.Round,
            Repairs = RepairsWith(e),
            Jobs = Jobs.CancelRunning(e.At, "a newer resynchronization").Start(JobId.Of(Id, e.Cause), MachineActions.Resynchronize, e.At, (StepNames.Resynchronization, true))
                .Fail(StepNames.Resynchronization, e.At, LostOf(e), permanent: false),
        }).WithoutReplicationProblems(),
        FailoverStarted e => FailingOver(e),
        FailoverEpochOpened e => (this with
        {
            Phase = Phase switch
            {
                Phase.UnplannedFailoverInProgress p => p with { EpochIsOpen = true },
                Phase.PlannedFailoverInProgress p => p with { EpochIsOpen = true },
                _ => throw Broken(e),
            },
            StoreEpoch = e.Epoch,
            Jobs = Jobs.Complete(WorkKind.OpenEpoch, e.At).Begin(WorkKind.FenceSource, e.At).Time(Jobs.FindByEpoch(e.Epoch)?.Id, new RecoveryTimes(EpochOpened: e.At - Jobs.FindByEpoch(e.Epoch)?.StartedAt)),
        }).Without(WorkKind.OpenEpoch),
        ReplicaStarted e => (this with
        {
            Phase = new Phase.FailoverCommitPending(StartingReplica ?? throw Broken(e), e.At + Protection?.Policy.CommitAfter),
            Exports = e.Exports,
            Console = e.Console,
            Jobs = Jobs.Complete(WorkKind.ServeReplica, e.At, detail: e.Console is null ? null : $"the replica machine runs; {e.Console}"),
        }).Without(WorkKind.ServeReplica),
        ReplicaMoved e => (this with { Exports = e.Exports, Console = e.Console }).Without(WorkKind.ServeReplica),
        FailoverCommitted e => Carry(e, MachineActions.Commit) with
        {
            Phase = new Phase.FailedOver(Expect<Phase.FailoverCommitPending>(e).Point),
            Jobs = Jobs.Done(JobId.Of(Id, e.Cause), MachineActions.Commit, e.At).CancelFlattening(e.At)
                .Start(JobId.Of(Id, new CommandId($"flatten:{Epoch}")), MachineActions.Flatten, e.At, (WorkKind.FlattenReplica, true)),
        },
        SourceFenceConfirmed e => Fenced(e),
        ProtectionDisabled e => Disabled(e),
        AgentReleaseConfirmed e => (this with
        {
            AgentsToRelease = AgentsToRelease.Remove(e.Agent),
            // It keeps nothing of the machine any more, and was fenced before.
            Fence = IsOf(Fence, e.Agent) ? null : Fence,
            FormerFences = FormerFences.RemoveAll(f => IsOf(f, e.Agent)),
            Jobs = Jobs.Complete(WorkKind.ReleaseAgent, e.At),
        }).Without(WorkKind.ReleaseAgent),
        StoreRemovalConfirmed e => (this with
        {
            Phase = new Phase.Unprotected(),
            Protection = null,
            Jobs = Jobs.Complete(WorkKind.RemoveStore, e.At),
        }).Without(WorkKind.RemoveStore),
        WorkFailureNoted e => Failed(e),
        RecoveryPointChanged e => PointChanged(e),
        TestFailoverStarted e => TestStarted(e),
        TestFailoverServed e => TestServed(e),
        TestCleanupStarted e => CleanupStarted(e),
        TestFailoverRemoved e => TestRemoved(e),
        PlannedFailoverStarted e => PlannedStarted(e),
        SourceStopConfirmed e => Stopped(e),
        SourceDrainConfirmed e => Drained(e),
        TargetMatched e => Matched(e),
        TargetVerificationConfirmed e => Verified(e),
        PlannedFailoverRolledBack e => RolledBack(e),
        FailoverCancelled e => Cancelled(e),
        StoreContinuationConfirmed e => StoreContinues(e),
        ReverseReplicationStarted e => Reversing(e),
        TailTakenBack e => TailTaken(e),
        ReplicaReleaseConfirmed e => (this with
        {
            Releasing = null,
            Exports = [],
            Console = null,
            Jobs = Jobs.Complete(WorkKind.ReleaseReplica, e.At, detail: e.Folder.StartsWith('/') ? $"the machine's disks are the raw files in {e.Folder}" : e.Folder),
        }).Without(WorkKind.ReleaseReplica).Without(WorkKind.ServeReplica), // it was to be shut down
        DisksFlattened e => (this with
        {
            Flattened = e.Layer,
            Jobs = Jobs.Complete(WorkKind.FlattenReplica, e.At, detail: "the machine's disks are raw files of their own"),
        }).Without(WorkKind.FlattenReplica),
        ReplicaTimed e => this with { Jobs = Jobs.Time(e.Job, e.Times) },
        _ => throw new UnreachableException($"{nameof(Apply)} has no case for {happened.GetType().Name}"),
    };

    private ProtectedMachine Enabled(ProtectionEnabled e) => Carry(e, MachineActions.Enable) with
    {
        Phase = new Phase.InitialReplication(),
        Epoch = e.Epoch,
        StoreEpoch = e.Epoch,
        SourceEpoch = e.Epoch,
        SourceStoppedAt = null,
        Continuation = null,
        Round = e.Round,
        ComparesAll = false,
        Fence = null,
        // Who has not heard of its end yet must, also where the machine is another's by now; the new protection's own agent hears of its new epoch.
        FormerFences = [.. FormerFences.Append(Fence).OfType<UnconfirmedFence>().Where(f => f.Replica is null && f.Agent != e.Agent)],
        Exports = [],
        Console = null,
        Protection = new Protection(e.Agent, e.SourceSite, e.TargetSite, e.Disks, e.PolicyName, e.Policy, e.TargetNode, e.Epoch, Definition: e.Definition),
        AgentsToRelease = AgentsToRelease.Remove(e.Agent),
        Problems = [],
        Jobs = Jobs.CancelRunning(e.At, "a new protection").Start(
            JobId.Of(Id, e.Cause), MachineActions.Enable, e.At, (StepNames.InitialReplication, true)),
    };

    private ProtectedMachine Synchronized(SynchronizationFinished e) => (this with
    {
        // A report that crossed with a pause is still true: what was complete stays complete.
        Phase = Phase is Phase.Paused ? new Phase.Paused(ResumeTo.Protected) : new Phase.Protected(),
        ComparesAll = false,
        Jobs = Jobs.Complete(StepNames.InitialReplication, e.At, detail: SentOf(e)).Complete(StepNames.Resynchronization, e.At, detail: SentOf(e)),
    }).WithoutReplicationProblems();

    private static string? LostOf(ResynchronizationStarted e) =>
        e.Stale is { } stale ? $"the target's store lost {stale.Sum(r => r.Length)} bytes in {stale.Length} ranges of its newest state to its disk, and gets them anew" : null;

    private static string? SentOf(SynchronizationFinished e) => e.BytesCompared == 0 ? null : $"{e.BytesSent} bytes differed and were sent, {e.BytesCompared} were compared";

    private ProtectedMachine Resumed(ProtectionResumed e) => (Carry(e, MachineActions.Resume) with
    {
        Phase = Expect<Phase.Paused>(e).ResumesTo switch
        {
            ResumeTo.InitialReplication => new Phase.InitialReplication(),
            ResumeTo.Protected => new Phase.Protected(),
            ResumeTo.Resynchronizing => new Phase.Resynchronizing(Stale: StaleOfRepair),
            var other => throw new UnreachableException($"cannot resume to {other}"),
        },
        Jobs = Jobs.Done(JobId.Of(Id, e.Cause), MachineActions.Resume, e.At),
    }).WithoutReplicationProblems();

    private ProtectedMachine Diverged(DivergenceDetected e) => this with
    {
        Round = e.Round,
        ComparesAll = ComparesAll || e.Anywhere,
        Phase = Phase switch
        {
            // The first synchronization sends everything anyway: it only starts again, under its new round.
            Phase.InitialReplication or Phase.Paused { ResumesTo: ResumeTo.InitialReplication } => Phase,
            Phase.Paused => new Phase.Paused(ResumeTo.Resynchronizing),
            Phase.ReverseReplicating => Phase,
            _ => new Phase.ResynchronizationRequired(e.Reason),
        },
    };

    private ProtectedMachine Disabled(ProtectionDisabled e)
    {
        var agent = (Protection ?? throw Broken(e)).Agent;
        ReplicaRelease? release = Phase is Phase.FailedOver p ? new(Protection.TargetSite, Protection.TargetNode, Epoch, p.Point)
            : Protection.Replica is { } replica ? new(Protection.SourceSite, replica.Node, replica.Layer, replica.Point) : null;
        (string, bool)[] first = release is null ? [] : [(WorkKind.ReleaseReplica, true)];
        return Carry(e, MachineActions.Disable) with
        {
            Phase = new Phase.Unprotected(StoreRemovalPending: true),
            Releasing = release,
            AgentsToRelease = AgentsToRelease.Contains(agent) ? AgentsToRelease : AgentsToRelease.Add(agent),
            Problems = [],
            Jobs = Jobs.CancelRunning(e.At, "the end of protection").Start(
                JobId.Of(Id, e.Cause), MachineActions.Disable, e.At, [.. first, (WorkKind.RemoveStore, true), (WorkKind.ReleaseAgent, false)]).Begin(WorkKind.ReleaseAgent, e.At),
        };
    }

    private ProtectedMachine Failed(WorkFailureNoted e)
    {
        var only = JobOfTest(e.Work, e.Cause)?.Id;
        var jobs = StepNames.Of(e.Work).Aggregate(Jobs, (log, step) => log.Fail(step, e.At, e.Reason, e.Permanent, only));
        var since = Problems.FirstOrDefault(p => p.Work == e.Work)?.Since ?? e.At;
        var machine = Without(e.Work) with { Jobs = jobs };
        machine = machine with { Problems = machine.Problems.Add(new WorkProblem(e.Work, e.Reason, e.Permanent, since)) };
        return e is { Permanent: true, Work: WorkKind.OpenEpoch or WorkKind.ServeReplica } && Phase is Phase.UnplannedFailoverInProgress failing
            ? machine with { Phase = failing with { Failure = $"{e.Work}: {e.Reason}" } }
            : machine;
    }

    /// <summary>The point whose replica is being started; null where none is.</summary>
    private RecoveryPoint? StartingReplica => Phase switch
    {
        Phase.UnplannedFailoverInProgress { EpochIsOpen: true, Failure: null } p => p.Point,
        Phase.PlannedFailoverInProgress { EpochIsOpen: true } p => p.Point,
        _ => null,
    };

    private ProtectedMachine Following(PolicyChanged e)
    {
        var protection = Protection ?? throw Broken(e);
        var (before, after) = (protection.Policy.CommitAfter, e.Policy.CommitAfter);
        // What waits for its commit waits for as long as the policy says now.
        var phase = Phase is Phase.FailoverCommitPending pending && before != after ? pending with { CommitAt = (pending.CommitAt - before ?? e.At) + after } : Phase;
        return this with { Phase = phase, Protection = protection with { Policy = e.Policy } };
    }

    /// <summary>The newest epoch of a protection that has ended, whatever may follow; 0: none is known to have.</summary>
    public Epoch EndedUpTo => Phase is Phase.Unprotected ? Epoch : new(Math.Max(0, (Protection?.Since.Value ?? 0) - 1));

    /// <summary>Of the replica that is the machine; null where none is.</summary>
    private Epoch? Layer => Phase is Phase.FailedOver ? Epoch : Protection?.Replica?.Layer;

    private ResumeTo Interrupted() => Phase switch
    {
        Phase.InitialReplication => ResumeTo.InitialReplication,
        Phase.Protected => ResumeTo.Protected,
        Phase.Resynchronizing => ResumeTo.Resynchronizing,
        _ => throw new UnreachableException($"{Phase.Name} cannot be paused"),
    };

    private ProtectedMachine Carry(MachineEvent e, string action) => this with
    {
        Carried = [.. Carried.Skip(Math.Max(0, Carried.Length + 1 - CarriedCommandsMax)), new CarriedCommand(e.Cause, action)],
    };

    private ProtectedMachine Without(string work) => this with { Problems = Problems.RemoveAll(p => p.Work == work) };

    private ProtectedMachine WithoutReplicationProblems() => Without(WorkKind.Replicate).Without(WorkKind.HoldStore);

    private TPhase Expect<TPhase>(MachineEvent e) where TPhase : Phase => Phase as TPhase ?? throw Broken(e);

    private UnreachableException Broken(MachineEvent e) => new($"{Id}: {e.GetType().Name} cannot happen in {Phase.Name}; the journal is not this machine's.");
}
