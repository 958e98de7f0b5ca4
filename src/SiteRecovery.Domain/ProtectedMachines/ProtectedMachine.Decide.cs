using System.Diagnostics;
using System.Globalization;
using SiteRecovery.Domain.History;
using SiteRecovery.Domain.Jobs;
using SiteRecovery.Domain.Policies;
using SiteRecovery.Domain.Results;

namespace SiteRecovery.Domain.ProtectedMachines;

public sealed partial record ProtectedMachine
{
    public const int DisksMax = 64;
    public const int ReasonLengthMax = 500;

    public static Decision Decide(ProtectedMachine machine, MachineCommand command, DateTimeOffset now)
    {
        if (command.Machine != machine.Id) throw new ArgumentException($"a command for {command.Machine} came to {machine.Id}", nameof(command));
        return command switch
        {
            OperatorCommand c => machine.DecideAction(c, now),
            DataPlaneReport r => machine.DecideReport(r, now),
            _ => throw new UnreachableException($"{nameof(Decide)} has no case for {command.GetType().Name}"),
        };
    }

    /// <summary>The action that <see cref="Transitions"/> knows a command by.</summary>
    public static string ActionOf(OperatorCommand command) => command switch
    {
        EnableProtection => MachineActions.Enable,
        DisableProtection => MachineActions.Disable,
        PauseReplication => MachineActions.Pause,
        ResumeReplication => MachineActions.Resume,
        ProtectedMachines.Resynchronize => MachineActions.Resynchronize,
        TestFailover => MachineActions.TestFailover,
        TestFailoverCleanup => MachineActions.TestFailoverCleanup,
        PlannedFailover => MachineActions.PlannedFailover,
        UnplannedFailover => MachineActions.UnplannedFailover,
        ChangeRecoveryPoint => MachineActions.ChangeRecoveryPoint,
        CommitFailover => MachineActions.Commit,
        CancelFailover => MachineActions.CancelFailover,
        ReverseReplicate => MachineActions.ReverseReplicate,
        _ => throw new UnreachableException($"{command.GetType().Name} is no action"),
    };

    private Decision DecideAction(OperatorCommand command, DateTimeOffset now)
    {
        var action = ActionOf(command);
        if (Carried.FirstOrDefault(c => c.Id == command.Id) is { } before) return Repeated(command, action, before);

        var availability = Transitions.Of(Phase, action, Tests.Length > 0);
        if (!availability.Allowed) return Refuse(command, availability.Code!, availability.Reason!, availability.Remedy!);
        if (Problem(command) is var (reason, remedy)) return Refuse(command, RefusalCode.Invalid, reason, remedy);

        return Decision.Accept(new Accepted(Id, command.Id, JobId.Of(Id, command.Id)), command switch
        {
            EnableProtection c => new ProtectionEnabled(
                now, c.Id, Epoch.Next(), Round + 1, c.Agent, c.SourceSite, c.TargetSite, c.Disks, c.PolicyName, c.Policy, c.TargetNode),
            DisableProtection c => new ProtectionDisabled(now, c.Id),
            PauseReplication c => new ProtectionPaused(now, c.Id),
            ResumeReplication c => new ProtectionResumed(now, c.Id),
            ProtectedMachines.Resynchronize c => new ResynchronizationStarted(now, c.Id, Round + 1, Full: Phase is Phase.Protected),
            UnplannedFailover c => new FailoverStarted(now, c.Id, c.Point, Epoch.Next()),
            CommitFailover c => new FailoverCommitted(now, c.Id),
            ChangeRecoveryPoint c => new RecoveryPointChanged(now, c.Id, c.Point, Epoch.Next()),
            TestFailover c => new TestFailoverStarted(now, c.Id, c.Point),
            TestFailoverCleanup c => new TestCleanupStarted(now, c.Id, [.. Tests.Where(t => c.Test is null || t.Id == c.Test).Select(t => t.Id)], c.Notes ?? ""),
            _ => throw new UnreachableException($"the table allows {action}, which {nameof(Decide)} cannot carry out"),
        });
    }

    private Decision Repeated(OperatorCommand command, string action, CarriedCommand before) => before.Action == action
        ? Decision.Accept(new Accepted(Id, command.Id, JobId.Of(Id, command.Id)))
        : Refuse(command, RefusalCode.CommandIdReused, $"The id '{command.Id}' was used for '{before.Action}'.", "Give every new command an id of its own.");

    private Decision Refuse(OperatorCommand command, string code, string reason, string remedy) =>
        Decision.Refuse(new Refused(Id, command.Id, code, Phase.Name, reason, remedy, Transitions.AllowedNames(Phase, Tests.Length > 0)));

    private (string Reason, string Remedy)? Problem(OperatorCommand command) => command switch
    {
        _ when !CommandId.IsValid(command.Id.Value) => ("The command's id is malformed.", $"Use 1 to {CommandId.LengthMax} letters, digits, '-', '_' or ':'."),
        EnableProtection c => ProblemOf(c),
        UnplannedFailover c when !IsInHistory(c.Point) => ($"The point {c.Point.Id} is not in this machine's history.", "Choose one of its recovery points."),
        ChangeRecoveryPoint c when !IsInHistory(c.Point) => ($"The point {c.Point.Id} is not in this machine's history.", "Choose one of its recovery points."),
        _ => ProblemOfTest(command),
    };

    private static (string, string)? ProblemOf(EnableProtection c)
    {
        if (!MachineId.IsValid(c.Machine.Value)) return ("The machine's name is malformed.", "Use 1 to 63 of a-z, 0-9, '-' and '.'.");
        if (string.IsNullOrWhiteSpace(c.Agent.Value)) return ("No agent is named.", "Name the agent that reaches the disks.");
        if (c.SourceSite == c.TargetSite) return ("Source and target site are the same.", "Choose a vault that pairs two sites.");
        if (c.Disks.IsDefaultOrEmpty || c.Disks.Length > DisksMax) return ("A machine has 1 to 64 disks.", "Name the disks to protect.");
        for (var i = 0; i < c.Disks.Length; i++)
        {
            var disk = c.Disks[i];
            if (disk.Index != i) return ($"Disk '{disk.Name}' has index {disk.Index}.", "Number the disks 0, 1, 2 … in order.");
            if (string.IsNullOrWhiteSpace(disk.Path)) return ($"Disk {i} has no path.", "Name the file or block device on the agent's host.");
            if (disk.SizeBytes <= 0 || disk.SizeBytes % 512 != 0) return ($"Disk {i} has {disk.SizeBytes} bytes.", "A disk is a positive multiple of 512 bytes.");
        }
        return c.Policy.Problems().FirstOrDefault() is { } p ? ($"Policy '{c.PolicyName}', {p.Setting}: {p.Problem}", p.Remedy) : null;
    }

    private Decision DecideReport(DataPlaneReport report, DateTimeOffset now)
    {
        var reply = new Accepted(Id, report.Id, null);
        return report switch
        {
            SynchronizationCompleted r when IsCurrent(r.Epoch, r.Round) && IsSynchronizing =>
                Decision.Accept(reply, new SynchronizationFinished(now, r.Id, r.Sequence)),
            DivergenceReported r when IsCurrent(r.Epoch, r.Round) => Decision.Accept(reply, Divergence(r, now)),
            EpochOpened r when r.Epoch == Epoch && Phase is Phase.UnplannedFailoverInProgress { EpochIsOpen: false } =>
                Decision.Accept(reply, new FailoverEpochOpened(now, r.Id, r.Epoch)),
            ReplicaServed r when r.Epoch == Epoch => Decision.Accept(reply, Served(r.Exports.IsDefault ? r with { Exports = [] } : r, now)),
            SourceFenced r when Fence is { } fence && r.Epoch >= fence.Epoch =>
                Decision.Accept(reply, new SourceFenceConfirmed(now, r.Id, r.Epoch)),
            TestServed r when Tests.Any(t => t.Id == r.Test && t.CleanupNotes is null && !t.Exports.AsSpan().SequenceEqual(r.Exports.AsSpan())) =>
                Decision.Accept(reply, new TestFailoverServed(now, r.Id, r.Test, r.Exports)),
            TestRemoved r when Tests.Any(t => t.Id == r.Test && t.CleanupNotes is not null) => Decision.Accept(reply, new TestFailoverRemoved(now, r.Id, r.Test)),
            StoreRemoved r when r.Epoch == Epoch && Phase is Phase.Unprotected { StoreRemovalPending: true } =>
                Decision.Accept(reply, new StoreRemovalConfirmed(now, r.Id)),
            AgentReleased r when r.Epoch == Epoch && AgentsToRelease.Contains(r.Agent) =>
                Decision.Accept(reply, new AgentReleaseConfirmed(now, r.Id, r.Agent)),
            WorkFailed r when IsNews(r) =>
                Decision.Accept(reply, new WorkFailureNoted(now, r.Id, r.Work, Bounded(r.Reason), r.Permanent)),
            // Everything else is late or a repeat: its effect is known already, or no longer wanted.
            _ => Decision.Accept(reply),
        };
    }

    private bool IsCurrent(Epoch epoch, int round) => epoch == Epoch && round == Round;

    private bool IsSynchronizing => Phase is Phase.InitialReplication or Phase.Resynchronizing
        or Phase.Paused { ResumesTo: ResumeTo.InitialReplication or ResumeTo.Resynchronizing };

    private MachineEvent[] Divergence(DivergenceReported r, DateTimeOffset now)
    {
        if (Phase is not (Phase.InitialReplication or Phase.Protected or Phase.Resynchronizing or Phase.Paused)) return [];
        var detected = new DivergenceDetected(now, r.Id, Bounded(r.Reason), Round + 1);
        var automatic = Protection?.Policy.ResynchronizationWindow == ResynchronizationWindow.Automatic;
        if (!automatic || Phase is not (Phase.Protected or Phase.Resynchronizing)) return [detected];
        // Its job needs an id of its own: reports may share theirs.
        var cause = new CommandId(string.Create(CultureInfo.InvariantCulture, $"auto-resynchronize:{Epoch.Value}:{Round + 1}"));
        return [detected, new ResynchronizationStarted(now, cause, Round + 1)];
    }

    private MachineEvent[] Served(ReplicaServed r, DateTimeOffset now)
    {
        var disks = Protection?.Disks ?? [];
        var missing = disks.Count(d => !r.Exports.Any(e => e.Disk == d.Index));
        switch (Phase)
        {
            case Phase.UnplannedFailoverInProgress { EpochIsOpen: true, Failure: null } or Phase.FailoverCommitPending or Phase.FailedOver when missing > 0:
                var failed = new WorkFailed(Id, r.Id, r.Epoch, WorkKind.ServeReplica, $"{missing} of {disks.Length} disks are not served.", Permanent: false);
                return IsNews(failed) ? [new WorkFailureNoted(now, r.Id, failed.Work, failed.Reason, false)] : [];
            case Phase.UnplannedFailoverInProgress { EpochIsOpen: true, Failure: null } when Fence is not null && Problems.All(p => p.Work != WorkKind.FenceSource):
                return
                [
                    new WorkFailureNoted(now, r.Id, WorkKind.FenceSource, "The source has not confirmed that it stopped; it may be dead or cut off.", false),
                    new ReplicaStarted(now, r.Id, r.Exports),
                ];
            case Phase.UnplannedFailoverInProgress { EpochIsOpen: true, Failure: null }:
                return [new ReplicaStarted(now, r.Id, r.Exports)];
            case Phase.FailoverCommitPending or Phase.FailedOver
                when !r.Exports.AsSpan().SequenceEqual(Exports.AsSpan()) || Problems.Any(p => p.Work == WorkKind.ServeReplica):
                return [new ReplicaMoved(now, r.Id, r.Exports)];
            default:
                return [];
        }
    }

    // The journal must not grow with every attempt: only a failure that says something new is kept, and while replication
    // runs on, its hiccups belong to the measured health and not to the history.
    private bool IsNews(WorkFailed r)
    {
        if (!Pending(this).Any(w => w.Kind == r.Work && w.Epoch == r.Epoch)) return false;
        if (r.Work is WorkKind.Replicate or WorkKind.HoldStore && !r.Permanent && !IsSynchronizing) return false;
        return !Problems.Any(p => p.Work == r.Work && p.Permanent == r.Permanent && p.Reason == Bounded(r.Reason));
    }

    private static string Bounded(string reason) => reason.Length <= ReasonLengthMax ? reason : reason[..ReasonLengthMax];
}
