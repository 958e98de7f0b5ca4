using System.Collections.Immutable;
using SiteRecovery.Domain.History;
using SiteRecovery.Domain.Jobs;
using SiteRecovery.Domain.Results;

namespace SiteRecovery.Domain.ProtectedMachines;

/// <content>The failover family: to the target, back from there before the commit, and the swap of direction after it.</content>
public sealed partial record ProtectedMachine
{
    private ProtectedMachine FailingOver(FailoverStarted e) => Carry(e, MachineActions.UnplannedFailover) with
    {
        Phase = new Phase.UnplannedFailoverInProgress(e.Point, EpochIsOpen: false),
        Epoch = e.Epoch,
        // A second attempt forks from what the source wrote, like the first; and an epoch that the store never came to has no end there to go on from.
        SourceEpoch = Phase is Phase.UnplannedFailoverInProgress ? SourceEpoch : Continuation?.After ?? Epoch,
        Fence = FenceOf(e.Epoch),
        FormerFences = FencesBefore(),
        SourceStoppedAt = null,
        Continuation = null,
        Exports = [],
        Console = null,
        Problems = [],
        Jobs = Jobs.CancelRunning(e.At, "an unplanned failover").Start(
            JobId.Of(Id, e.Cause), MachineActions.UnplannedFailover, e.At,
            (WorkKind.OpenEpoch, true), (WorkKind.ServeReplica, true), (WorkKind.FenceSource, false)).Opens(MachineActions.UnplannedFailover, e.Epoch),
    };

    private ProtectedMachine PlannedStarted(PlannedFailoverStarted e) => (Carry(e, MachineActions.PlannedFailover) with
    {
        Phase = new Phase.PlannedFailoverInProgress(e.Deadline),
        Round = e.Round,
        Jobs = Jobs.CancelRunning(e.At, "a planned failover").Start(
            JobId.Of(Id, e.Cause), MachineActions.PlannedFailover, e.At,
            (StepNames.StopSource, true), (StepNames.DrainSource, true), (WorkKind.VerifyTarget, true), (StepNames.HoldSource, true), (WorkKind.OpenEpoch, true), (WorkKind.ServeReplica, true), (WorkKind.FenceSource, false)),
    }).WithoutReplicationProblems();

    private ProtectedMachine Stopped(SourceStopConfirmed e) => (this with
    {
        Phase = Expect<Phase.PlannedFailoverInProgress>(e) with { Stopped = true },
        Jobs = Jobs.Complete(StepNames.StopSource, e.At, detail: e.Detail),
    }).Without(StepNames.StopSource);

    private ProtectedMachine Drained(SourceDrainConfirmed e) => (this with
    {
        Phase = Expect<Phase.PlannedFailoverInProgress>(e) with { Drained = e.Source, Matched = null, Stopped = true },
        // An agent of before says nothing of the stop, and drains nothing that runs.
        Jobs = Jobs.Complete(StepNames.StopSource, e.At).Complete(StepNames.DrainSource, e.At, detail: $"at write {e.Source.At}, root hash {e.Source.RootHash}"),
    }).Without(StepNames.StopSource).Without(StepNames.DrainSource);

    private ProtectedMachine Matched(TargetMatched e)
    {
        var phase = Expect<Phase.PlannedFailoverInProgress>(e);
        return (this with
        {
            Phase = phase with { Matched = e.Point },
            Jobs = Jobs.Complete(WorkKind.VerifyTarget, e.At, detail: $"{e.Point.Id} has the source's root hash {phase.Drained?.RootHash}: nothing is lost"),
        }).Without(WorkKind.VerifyTarget);
    }

    private ProtectedMachine Verified(TargetVerificationConfirmed e)
    {
        var phase = Expect<Phase.PlannedFailoverInProgress>(e);
        return (this with
        {
            Phase = phase with { Point = e.Point },
            SourceEpoch = Epoch,
            Epoch = e.Epoch,
            Fence = FenceOf(e.Epoch),
            FormerFences = FencesBefore(),
            SourceStoppedAt = null,
            // A journal of before the source was asked has the comparison in this event alone.
            Jobs = Jobs.Complete(WorkKind.VerifyTarget, e.At, detail: $"{e.Point.Id} has the source's root hash {phase.Drained?.RootHash}: nothing is lost").Complete(StepNames.HoldSource, e.At)
                .Begin(WorkKind.FenceSource, e.At).Opens(MachineActions.PlannedFailover, e.Epoch),
        }).Without(WorkKind.VerifyTarget);
    }

    private ProtectedMachine RolledBack(PlannedFailoverRolledBack e)
    {
        var jobs = Jobs.EndRunning(e.At, e.Reason, "Nothing has changed. The source takes writes again, and a machine that was stopped for this is started again, as soon as its agent hears of it: until then, with the link cut, it is held.");
        return CarryIfAsked(e, e.Reason) with
        {
            Phase = new Phase.Protected(),
            Round = e.Round,
            Problems = [],
            Jobs = e.Reason is null ? jobs.Done(JobId.Of(Id, e.Cause), MachineActions.CancelFailover, e.At) : jobs,
        };
    }

    private ProtectedMachine Cancelled(FailoverCancelled e)
    {
        var jobs = Jobs.EndRunning(e.At, e.Reason, "The source goes on in an epoch of its own.");
        return CarryIfAsked(e, e.Reason) with
        {
            Phase = new Phase.Resynchronizing(),
            Epoch = e.Epoch,
            Round = e.Round,
            Fence = null,
            Exports = [],
            Console = null,
            Problems = [],
            Continuation = new StoreContinuation(SourceEpoch, StoreEpoch > SourceEpoch ? StoreEpoch : null),
            Jobs = jobs.Start(JobId.Of(Id, e.Cause), MachineActions.CancelFailover, e.At, (WorkKind.ContinueStore, true), (StepNames.Resynchronization, true)),
        };
    }

    private ProtectedMachine StoreContinues(StoreContinuationConfirmed e) => (this with
    {
        StoreEpoch = e.Epoch,
        Continuation = null,
        Jobs = Jobs.Complete(WorkKind.ContinueStore, e.At, detail: e.Kept is { } kept ? $"what the losing side had is kept as {kept.Id}" : null),
    }).Without(WorkKind.ContinueStore);

    private ProtectedMachine Reversing(ReverseReplicationStarted e)
    {
        if (Phase is Phase.ReverseReplicating) return ReversingInFull(e);
        var failedOver = Expect<Phase.FailedOver>(e);
        var before = Protection ?? throw Broken(e);
        var after = before with
        {
            SourceSite = before.TargetSite,
            TargetSite = before.SourceSite,
            TargetNode = before.Replica?.Node ?? e.TargetNode,
            Replica = new ReplicaSource(before.TargetNode, Epoch, failedOver.Point),
            Loser = before.Replica,
        };
        (string, bool)[] fence = Fence is null ? [] : [(WorkKind.FenceSource, !e.Full)];
        (string, bool)[] tail = e.Full ? [] : [(WorkKind.TakeBackTail, true)];
        return Carry(e, MachineActions.ReverseReplicate) with
        {
            Phase = new Phase.ReverseReplicating(e.Full, TailIsKnown: e.Full),
            ComparesAll = ComparesAll || e.Full,
            Round = e.Round,
            Protection = after,
            Continuation = after.Loser is { } loser ? new StoreContinuation(loser.Layer, loser.Layer, MayStartEmpty: e.Full) : new StoreContinuation(SourceEpoch, FromDisks: true, MayStartEmpty: e.Full),
            Problems = Problems.RemoveAll(p => p.Work != WorkKind.FenceSource),
            Jobs = Jobs.CancelRunning(e.At, "a reverse replication").Start(
                JobId.Of(Id, e.Cause), MachineActions.ReverseReplicate, e.At,
                [.. fence, .. tail, (WorkKind.ContinueStore, true), (StepNames.Resynchronization, true)])
                .Fail(WorkKind.FenceSource, e.At, Problems.FirstOrDefault(p => p.Work == WorkKind.FenceSource)?.Reason, permanent: false), // it is said once
        };
    }

    /// <summary>The same way on, for an old source that turns out not to answer, or a master target that does not have what is needed.</summary>
    private ProtectedMachine ReversingInFull(ReverseReplicationStarted e)
    {
        (string, bool)[] store = Continuation is null ? [] : [(WorkKind.ContinueStore, true)];
        return Carry(e, MachineActions.ReverseReplicate) with
        {
            Phase = new Phase.ReverseReplicating(Full: true, TailIsKnown: true),
            ComparesAll = true,
            Round = e.Round,
            Protection = e.Retargeted ? Required with { TargetNode = e.TargetNode } : Protection,
            Continuation = Continuation is { } next ? next with { MayStartEmpty = true } : null,
            Problems = Problems.RemoveAll(p => p.Work != WorkKind.FenceSource),
            Jobs = Jobs.CancelRunning(e.At, "a reverse replication that compares everything").Start(
                JobId.Of(Id, e.Cause), MachineActions.ReverseReplicate, e.At, [.. store, (StepNames.Resynchronization, true)]),
        };
    }

    private ProtectedMachine TailTaken(TailTakenBack e) => (this with
    {
        Phase = Expect<Phase.ReverseReplicating>(e) with { TailIsKnown = true },
        SourceStoppedAt = e.Newest,
        Jobs = Jobs.Complete(WorkKind.TakeBackTail, e.At, detail: e.Ranges == 0 ? "the old source wrote nothing beyond the fork"
            : $"the old source may have written {e.Bytes} bytes in {e.Ranges} ranges beyond the fork"),
    }).Without(WorkKind.TakeBackTail);

    private UnconfirmedFence FenceOf(Epoch epoch) => new(epoch, Required.Agent, Required.SourceSite, Required.Replica);

    /// <summary>A failover away from another source than the one that has not confirmed its end yet leaves that one unconfirmed.</summary>
    private ImmutableArray<UnconfirmedFence> FencesBefore() => Fence is { } former && former != FenceOf(former.Epoch) ? [.. FormerFences, former] : FormerFences;

    private ProtectedMachine Fenced(SourceFenceConfirmed e)
    {
        var former = FormerFences.FirstOrDefault(f => f.Epoch == e.Epoch);
        var fenced = former is not null ? this with { FormerFences = FormerFences.Remove(former) }
            : this with { Fence = null, SourceStoppedAt = e.Newest, Jobs = Jobs.Complete(WorkKind.FenceSource, e.At) };
        return fenced is { Fence: null, FormerFences.Length: 0 } ? fenced.Without(WorkKind.FenceSource) : fenced;
    }

    // What the machine did by itself is no operator's command.
    private ProtectedMachine CarryIfAsked(MachineEvent e, string? reason) => reason is null ? Carry(e, MachineActions.CancelFailover) : this;
}
