using System.Collections.Immutable;
using System.Globalization;
using SiteRecovery.Domain.History;
using SiteRecovery.Domain.Jobs;
using SiteRecovery.Domain.Policies;
using SiteRecovery.Domain.Results;

namespace SiteRecovery.Domain.ProtectedMachines;

/// <content>What the data plane says, and the clock.</content>
public sealed partial record ProtectedMachine
{
    private Decision DecideReport(DataPlaneReport report, DateTimeOffset now)
    {
        var reply = new Accepted(Id, report.Id, null);
        return report switch
        {
            SynchronizationCompleted r when IsCurrent(r.Epoch, r.Round) && IsSynchronizing =>
                Decision.Accept(reply, new SynchronizationFinished(now, r.Id, r.Sequence, r.BytesCompared, r.BytesSent)),
            DivergenceReported r when IsCurrent(r.Epoch, r.Round) => Decision.Accept(reply, Divergence(r, now)),
            DrainWaits r when IsDraining(r.Epoch, r.Round) => Decision.Accept(reply, [.. StoppedBy(r.Stopped, r.Id, now), .. Waits(r, now)]),
            // A source that died since then stands elsewhere, with the same content.
            SourceDrained r when IsCurrent(r.Epoch, r.Round) && Phase is Phase.PlannedFailoverInProgress { Point: null } p && p.Drained != r.Source =>
                Decision.Accept(reply, [.. StoppedBy(r.Stopped, r.Id, now), new SourceDrainConfirmed(now, r.Id, r.Source)]),
            TargetVerified r when IsVerifying(r.Epoch, r.RootHash) => Decision.Accept(reply, new TargetMatched(now, r.Id, r.Point)),
            // Only now: a source that was merely drained may have heard nothing since, and taken up its writes again.
            SourceHeld r when IsCurrent(r.Epoch, r.Round) && Phase is Phase.PlannedFailoverInProgress { Point: null, Matched: { } point } p && p.Drained == r.Source =>
                Decision.Accept(reply, new TargetVerificationConfirmed(now, r.Id, point, Epoch.Next())),
            SourceHeld r when IsCurrent(r.Epoch, r.Round) && Phase is Phase.PlannedFailoverInProgress { Point: null } p && p.Drained != r.Source =>
                Decision.Accept(reply, new SourceDrainConfirmed(now, r.Id, r.Source)),
            DrainLapsed r when IsCurrent(r.Epoch, r.Round) && Phase is Phase.PlannedFailoverInProgress { Point: null } =>
                Decision.Accept(reply, RollBack(new CommandId($"lapsed:{Epoch}:{Round}"), Bounded(r.Reason), now)),
            TargetDiffers r when IsVerifying(r.Epoch, r.RootHash) => Decision.Accept(reply, Differs(r, now)),
            StoreContinued r when r.Epoch == Epoch && Continuation is not null => Decision.Accept(reply, new StoreContinuationConfirmed(now, r.Id, r.Epoch, r.Kept)),
            TailMarked r when r.Epoch == Epoch && Fence is null && Phase is Phase.ReverseReplicating { TailIsKnown: false } =>
                Decision.Accept(reply, new TailTakenBack(now, r.Id, r.Newest, r.Ranges, r.Bytes)),
            StoreDamaged r when r.Epoch == Epoch && Phase is Phase.Protected && Required.Policy.ResynchronizationWindow == ResynchronizationWindow.Automatic && NotMendedLately(r.Ranges, now) is { IsEmpty: false } ranges =>
                Decision.Accept(reply, new ResynchronizationStarted(now, new CommandId($"{RepairCause}{Epoch}:{Round + 1}"), Round + 1, Stale: ranges)),
            TimePassed r => Decision.Accept(reply, Overdue(r, now)),
            EpochOpened r when r.Epoch == Epoch && Phase is Phase.UnplannedFailoverInProgress { EpochIsOpen: false } or Phase.PlannedFailoverInProgress { Point: not null, EpochIsOpen: false } =>
                Decision.Accept(reply, new FailoverEpochOpened(now, r.Id, r.Epoch)),
            ReplicaServed r when Pending(this).Any(w => w is ServeReplica && w.Epoch == r.Epoch) => Decision.Accept(reply, Served(r.Exports.IsDefault ? r with { Exports = [] } : r, now)),
            ReplicaFlattened r when r.Epoch == Epoch && Flattened != r.Layer && Pending(this).Any(w => w is FlattenReplica flatten && flatten.Layer == r.Layer) =>
                Decision.Accept(reply, new DisksFlattened(now, r.Id, r.Layer)),
            ReplicaReleased r when Releasing is { } release && r.Layer == release.Layer => Decision.Accept(reply, new ReplicaReleaseConfirmed(now, r.Id, Bounded(r.Folder))),
            SourceFenced r when FormerFences.Any(f => f.Epoch == r.Epoch) || Fence is { } fence && r.Epoch >= fence.Epoch =>
                Decision.Accept(reply, new SourceFenceConfirmed(now, r.Id, r.Epoch, r.Newest)),
            TestServed r when Tests.FirstOrDefault(t => t.Id == r.Test && t.CleanupNotes is null) is { } test => Decision.Accept(reply, Served(r, test, now)),
            TestRemoved r when Tests.Any(t => t.Id == r.Test && t.CleanupNotes is not null) => Decision.Accept(reply, new TestFailoverRemoved(now, r.Id, r.Test)),
            StoreRemoved r when r.Epoch == Epoch && Phase is Phase.Unprotected { StoreRemovalPending: true } =>
                Decision.Accept(reply, new StoreRemovalConfirmed(now, r.Id)),
            AgentReleased r when r.Epoch == Epoch && AgentsToRelease.Contains(r.Agent) =>
                Decision.Accept(reply, new AgentReleaseConfirmed(now, r.Id, r.Agent)),
            WorkFailed r when IsNews(r) =>
                Decision.Accept(reply, [new WorkFailureNoted(now, r.Id, r.Work, Bounded(r.Reason), r.Permanent), .. RolledBackBy(r, now)]),
            // Everything else is late or a repeat: its effect is known already, or no longer wanted.
            _ => Decision.Accept(reply),
        };
    }

    private const string RepairCause = "auto-repair:";

    /// <summary>What a repair does not mend is not tried again at once, for ever; what is damaged elsewhere waits for nothing.</summary>
    private static readonly TimeSpan RepairsApart = TimeSpan.FromMinutes(10);

    private ImmutableArray<StaleRange> NotMendedLately(ImmutableArray<StaleRange> damaged, DateTimeOffset now) =>
        damaged.RemoveAll(d => Repairs.Any(r => r.Epoch == Epoch && (now - r.At).Duration() < RepairsApart && r.Ranges.Any(m => m.Disk == d.Disk && m.Offset <= d.Offset && m.Offset + m.Length >= d.Offset + d.Length)));

    private ImmutableArray<Repair> RepairsWith(ResynchronizationStarted e) => e.Stale is not { } ranges || !e.Cause.Value.StartsWith(RepairCause, StringComparison.Ordinal) ? Repairs
        : [.. Repairs.Where(r => r.Epoch == Epoch && (e.At - r.At).Duration() < RepairsApart), new Repair(e.At, Epoch, ranges)];

    /// <summary>Of the repair that is under way, also while it is paused: a source that was away has not heard of it. Null: none is.</summary>
    private ImmutableArray<StaleRange>? StaleOfRepair => Repairs is [.., var last] && last.Epoch == Epoch && Jobs.Find(JobId.Of(Id, new CommandId($"{RepairCause}{Epoch}:{Round}"))) is { IsFinished: false } ? last.Ranges : null;

    private bool IsCurrent(Epoch epoch, int round) => epoch == Epoch && round == Round;

    private bool IsDraining(Epoch epoch, int round) => IsCurrent(epoch, round) && Phase is Phase.PlannedFailoverInProgress { Drained: null };

    private MachineEvent[] StoppedBy(string? how, CommandId cause, DateTimeOffset now) =>
        how is not null && Phase is Phase.PlannedFailoverInProgress { Stopped: false } ? [new SourceStopConfirmed(now, cause, Bounded(how))] : [];

    private MachineEvent[] Waits(DrainWaits r, DateTimeOffset now)
    {
        var step = r.Stopped is null && Phase is Phase.PlannedFailoverInProgress { Stopped: false } ? StepNames.StopSource : StepNames.DrainSource;
        return Problems.Any(p => p.Work == step && p.Reason == Bounded(r.Reason)) ? [] : [new WorkFailureNoted(now, r.Id, step, Bounded(r.Reason), false)];
    }

    private bool IsVerifying(Epoch epoch, string hash) => epoch == Epoch && Phase is Phase.PlannedFailoverInProgress { Point: null, Matched: null, Drained: { } drained } && drained.RootHash == hash;

    /// <summary>When time alone changes something; null: it does not.</summary>
    [System.Text.Json.Serialization.JsonIgnore] public DateTimeOffset? Deadline => UnansweredAt < PhaseDeadline ? UnansweredAt : PhaseDeadline ?? UnansweredAt;

    private DateTimeOffset? PhaseDeadline => Phase switch
    {
        Phase.PlannedFailoverInProgress p => p.Deadline,
        Phase.FailoverCommitPending p => p.CommitAt,
        _ => null,
    };

    /// <summary>What a job may end without is waited for so long before that is said: of a host that is gone for good nobody ever says anything.</summary>
    private static readonly TimeSpan AnswerPatience = TimeSpan.FromSeconds(30);

    private DateTimeOffset? UnansweredAt => Unanswered.Min(s => (DateTimeOffset?)s.At) + AnswerPatience;

    private IEnumerable<JobStep> Unanswered => Jobs.Jobs.Where(j => !j.IsFinished).SelectMany(j => j.Steps)
        .Where(s => s is { Required: false, Status: JobStatus.Running, Detail: null } && (s.Name == WorkKind.FenceSource ? Fence is not null : s.Name == WorkKind.ReleaseAgent && !AgentsToRelease.IsEmpty));

    private MachineEvent[] Overdue(TimePassed r, DateTimeOffset now)
    {
        return [.. IsPast(UnansweredAt) ? Unanswered.Select(s => s.Name).Distinct().Select(MachineEvent (work) => new WorkFailureNoted(now, r.Id, work, work == WorkKind.FenceSource ? NotFenced : Bounded(NotReleased), false)) : NoEvents, .. IsPast(PhaseDeadline) ? OfPhase() : NoEvents];

        bool IsPast(DateTimeOffset? deadline) => deadline is not null && (now >= deadline || r.Deadline == deadline);

        MachineEvent[] OfPhase() => Phase switch
        {
            Phase.PlannedFailoverInProgress => [RollBack(new CommandId($"overdue:{Epoch}:{Round}"), $"Not done by its deadline{(Problems.IsEmpty ? "" : ": " + Problems[^1].Reason)}.", now)],
            Phase.FailoverCommitPending => [new FailoverCommitted(now, new CommandId($"commit-by-policy:{Epoch}"))],
            _ => [],
        };
    }

    private const string NotFenced = "The source has not confirmed that it stopped; it may be dead or cut off.";

    private string NotReleased => $"Agent '{string.Join("', '", AgentsToRelease)}' has not confirmed that it let go of the machine; it may be off or cut off. If its host is gone for good, join an agent of the same name on any host: it confirms.";

    private MachineEvent[] Differs(TargetDiffers r, DateTimeOffset now)
    {
        MachineEvent[] back = [RollBack(new CommandId($"differs:{Epoch}:{Round}"), r.Reason, now), new DivergenceDetected(now, r.Id, Bounded(r.Reason), Round + 2, Anywhere: true)];
        return Required.Policy.ResynchronizationWindow == ResynchronizationWindow.Automatic
            ? [.. back, new ResynchronizationStarted(now, new CommandId($"auto-resynchronize:{Epoch}:{Round + 3}"), Round + 3, Full: true)] : back;
    }

    /// <summary>A step of a planned failover that will not succeed however often it is tried.</summary>
    private MachineEvent[] RolledBackBy(WorkFailed r, DateTimeOffset now) =>
        r.Permanent && Phase is Phase.PlannedFailoverInProgress && r.Work is WorkKind.VerifyTarget or WorkKind.OpenEpoch or WorkKind.ServeReplica
            ? [RollBack(new CommandId($"failed:{Epoch}:{Round}"), $"{r.Work}: {Bounded(r.Reason)}", now)] : [];

    private MachineEvent RollBack(CommandId cause, string reason, DateTimeOffset now) => Phase is Phase.PlannedFailoverInProgress { Point: null }
        ? new PlannedFailoverRolledBack(now, cause, Round + 1, reason) : new FailoverCancelled(now, cause, Epoch.Next(), Round + 1, reason);

    private bool IsSynchronizing => Phase is Phase.InitialReplication or Phase.Resynchronizing or Phase.ReverseReplicating
        or Phase.Paused { ResumesTo: ResumeTo.InitialReplication or ResumeTo.Resynchronizing };

    private MachineEvent[] Divergence(DivergenceReported r, DateTimeOffset now)
    {
        if (Phase is not (Phase.InitialReplication or Phase.Protected or Phase.Resynchronizing or Phase.Paused or Phase.ReverseReplicating)) return [];
        var detected = new DivergenceDetected(now, r.Id, Bounded(r.Reason), Round + 1);
        var automatic = Protection?.Policy.ResynchronizationWindow == ResynchronizationWindow.Automatic;
        if (!automatic || Phase is not (Phase.Protected or Phase.Resynchronizing)) return [detected];
        return [detected, ResynchronizationByPolicy(now)];
    }

    /// <summary>Its job has an id of its own: reports may share theirs.</summary>
    private ResynchronizationStarted ResynchronizationByPolicy(DateTimeOffset now) =>
        new(now, new CommandId(string.Create(CultureInfo.InvariantCulture, $"auto-resynchronize:{Epoch.Value}:{Round + 1}")), Round + 1);

    private MachineEvent[] Served(ReplicaServed r, DateTimeOffset now)
    {
        var disks = Protection?.Disks ?? [];
        var timed = Timed(Jobs.FindByEpoch(r.Epoch), r.Firsts, r.Id, now);
        var missing = disks.Count(d => !r.Exports.Any(e => e.Disk == d.Index));
        if (missing > 0 && (StartingReplica is not null || ReplicaRuns))
        {
            var failed = new WorkFailed(Id, r.Id, r.Epoch, WorkKind.ServeReplica, $"{missing} of {disks.Length} disks are not served.", Permanent: false);
            return IsNews(failed) ? [new WorkFailureNoted(now, r.Id, failed.Work, failed.Reason, false)] : [];
        }
        if (StartingReplica is not null)
        {
            // The source of a planned failover is known to take no writes, whether it has heard of the new epoch or not.
            var unsure = Phase is Phase.UnplannedFailoverInProgress && Fence is not null && Problems.All(p => p.Work != WorkKind.FenceSource);
            return [.. unsure ? [new WorkFailureNoted(now, r.Id, WorkKind.FenceSource, NotFenced, false)] : NoEvents, new ReplicaStarted(now, r.Id, r.Exports, r.Console), .. timed];
        }
        if (!ReplicaRuns) return [];
        return !r.Exports.AsSpan().SequenceEqual(Exports.AsSpan()) || r.Console != Console || Problems.Any(p => p.Work == WorkKind.ServeReplica)
            ? [new ReplicaMoved(now, r.Id, r.Exports, r.Console), .. timed] : timed;
    }

    private MachineEvent[] Served(TestServed r, TestRun test, DateTimeOffset now)
    {
        var timed = Timed(Jobs.Find(JobId.Of(Id, new CommandId(test.Id))), r.Firsts, r.Id, now);
        return test.Console != r.Console || !test.Exports.AsSpan().SequenceEqual(r.Exports.AsSpan())
            ? [new TestFailoverServed(now, r.Id, r.Test, r.Exports, r.Console), .. timed] : timed;
    }

    // Told with every repeat: an event for what is new, and for nothing else.
    private static MachineEvent[] Timed(Job? job, ReplicaFirsts? firsts, CommandId cause, DateTimeOffset now)
    {
        if (job is null || firsts is null) return [];
        var times = (job.Times ?? new RecoveryTimes()).With(firsts.Since(job.StartedAt, now));
        return times == job.Times ? [] : [new ReplicaTimed(now, cause, job.Id, times)];
    }

    private static readonly MachineEvent[] NoEvents = [];

    /// <summary>Whether the machine is a replica that was failed over to, committed or not.</summary>
    private bool ReplicaRuns => Phase is Phase.FailoverCommitPending or Phase.FailedOver
        || (Protection?.Replica is not null && Phase is not (Phase.UnplannedFailoverInProgress or Phase.PlannedFailoverInProgress { Point: not null }));

    // The journal must not grow with every attempt: only a failure that says something new is kept, and while replication
    // runs on, its hiccups belong to the measured health and not to the history.
    private bool IsNews(WorkFailed r)
    {
        if (!Pending(this).Any(w => w.Kind == r.Work && w.Epoch == r.Epoch)) return false;
        // That the source is in trouble is why it is left.
        if (r.Work == WorkKind.ServeReplica && Phase is Phase.UnplannedFailoverInProgress { EpochIsOpen: false }) return false;
        if (r.Work is WorkKind.Replicate or WorkKind.HoldStore && !r.Permanent && !IsSynchronizing && Phase is not Phase.PlannedFailoverInProgress { Drained: null }) return false;
        // Of several tests each has its own, and they must not be noted by turns for ever.
        if (JobOfTest(r.Work, r.Id) is { } test) return Problems.All(p => p.Work != r.Work || (r.Permanent && !p.Permanent)) || (!test.IsFinished && (r.Permanent || test.Steps.Any(s => s.Detail != Bounded(r.Reason))));
        return !Problems.Any(p => p.Work == r.Work && p.Permanent == r.Permanent && p.Reason == Bounded(r.Reason));
    }

    private static string Bounded(string reason) => reason.Length <= ReasonLengthMax ? reason : reason[..ReasonLengthMax];
}
