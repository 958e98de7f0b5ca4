using System.Diagnostics;
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
            ChangePolicy c => machine.DecidePolicy(c, now),
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

    [System.Text.Json.Serialization.JsonIgnore] public Circumstances Circumstances => new(TestRuns: Tests.Length > 0, FromReplica: Protection?.Replica is not null, StoreIsBehind: Continuation is not null, Flattened: Flattened is { } layer && layer == Layer,
        Unservable: Problems.Any(p => p is { Work: WorkKind.ServeReplica, Permanent: true }));

    private Decision DecideAction(OperatorCommand command, DateTimeOffset now)
    {
        var action = ActionOf(command);
        if (Carried.FirstOrDefault(c => c.Id == command.Id) is { } before) return Repeated(command, action, before);

        var availability = Transitions.Of(Phase, action, Circumstances);
        if (!availability.Allowed) return Refuse(command, availability.Code!, availability.Reason!, availability.Remedy!);
        if (Problem(command) is var (reason, remedy)) return Refuse(command, RefusalCode.Invalid, reason, remedy);

        return Decision.Accept(new Accepted(Id, command.Id, JobId.Of(Id, command.Id)), command switch
        {
            EnableProtection c => new ProtectionEnabled(
                now, c.Id, Epoch.Next(), Round + 1, c.Agent, c.SourceSite, c.TargetSite, c.Disks, c.PolicyName, c.Policy, c.TargetNode, c.Definition),
            DisableProtection c => new ProtectionDisabled(now, c.Id),
            PauseReplication c => new ProtectionPaused(now, c.Id),
            ResumeReplication c => new ProtectionResumed(now, c.Id),
            ProtectedMachines.Resynchronize c => new ResynchronizationStarted(now, c.Id, Round + 1, Full: Phase is Phase.Protected),
            UnplannedFailover c => new FailoverStarted(now, c.Id, c.Point, Epoch.Next()),
            PlannedFailover c => new PlannedFailoverStarted(now, c.Id, Round + 1, now + (c.Patience ?? PlannedFailover.PatienceDefault)),
            CancelFailover c when Phase is Phase.PlannedFailoverInProgress { Point: null } => new PlannedFailoverRolledBack(now, c.Id, Round + 1, null),
            CancelFailover c => new FailoverCancelled(now, c.Id, Epoch.Next(), Round + 1, null),
            ReverseReplicate c => new ReverseReplicationStarted(now, c.Id, Round + 1, c.TargetNode, c.Full, Retargeted: IsElsewhere(c)),
            CommitFailover c => new FailoverCommitted(now, c.Id),
            ChangeRecoveryPoint c => new RecoveryPointChanged(now, c.Id, c.Point, Epoch.Next()),
            TestFailover c => new TestFailoverStarted(now, c.Id, c.Point),
            TestFailoverCleanup c => new TestCleanupStarted(now, c.Id, [.. Tests.Where(t => c.Test is null || t.Id == c.Test).Select(t => t.Id)], c.Notes ?? ""),
            _ => throw new UnreachableException($"the table allows {action}, which {nameof(Decide)} cannot carry out"),
        });
    }

    private Decision DecidePolicy(ChangePolicy c, DateTimeOffset now)
    {
        var accepted = new Accepted(Id, c.Id, null);
        var isNews = Protection is { } protection && protection.PolicyName == c.PolicyName && protection.Policy != c.Policy;
        // A drain that is under way would be told anew, and what is released serves by what it was served by.
        var canWait = Phase is Phase.PlannedFailoverInProgress or Phase.UnplannedFailoverInProgress or Phase.Unprotected;
        if (!isNews || canWait) return Decision.Accept(accepted);
        // Nobody tells again that it has diverged.
        var isWaiting = Phase is Phase.ResynchronizationRequired && c.Policy.ResynchronizationWindow == ResynchronizationWindow.Automatic;
        return Decision.Accept(accepted, [new PolicyChanged(now, c.Id, c.Policy), .. isWaiting ? [ResynchronizationByPolicy(now)] : NoEvents]);
    }

    private Decision Repeated(OperatorCommand command, string action, CarriedCommand before) => before.Action == action
        ? Decision.Accept(new Accepted(Id, command.Id, JobId.Of(Id, command.Id)))
        : Refuse(command, RefusalCode.CommandIdReused, $"The id '{command.Id}' was used for '{before.Action}'.", "Give every new command an id of its own.");

    private Decision Refuse(OperatorCommand command, string code, string reason, string remedy) =>
        Decision.Refuse(new Refused(Id, command.Id, code, Phase.Name, reason, remedy, Transitions.AllowedNames(Phase, Circumstances)));

    private (string Reason, string Remedy)? Problem(OperatorCommand command) => command switch
    {
        _ when !CommandId.IsValid(command.Id.Value) => ("The command's id is malformed.", $"Use 1 to {CommandId.LengthMax} letters, digits, '-', '_' or ':'."),
        EnableProtection c => ProblemOf(c),
        UnplannedFailover c when !IsInHistory(c.Point) => ($"The point {c.Point.Id} is not in this machine's history.", "Choose one of its recovery points."),
        ChangeRecoveryPoint c when !IsInHistory(c.Point) => ($"The point {c.Point.Id} is not in this machine's history.", "Choose one of its recovery points."),
        PlannedFailover { Patience: { } patience } when patience < PlannedFailover.PatienceMin || patience > PlannedFailover.PatienceMax =>
            ($"A patience of {Durations.Text(patience)} is out of range.", "Choose 5s to 24h."),
        ReverseReplicate { Full: false } when Phase is Phase.ReverseReplicating =>
            ("The reverse replication is under way.", "Wait until it completes; if the old source cannot be asked what it wrote, or its disks are gone, repeat it with full."),
        ReverseReplicate c when IsElsewhere(c) && Continuation is null =>
            ($"The store goes on at {Required.TargetNode ?? "the site's first master target"} already.", "Leave the target out; where that node is gone for good, join a new one under the same name."),
        _ => ProblemOfTest(command),
    };

    /// <summary>On the same way, another master target than before is named.</summary>
    private bool IsElsewhere(ReverseReplicate c) => Phase is Phase.ReverseReplicating && c.TargetNode is { } node && node != Required.TargetNode;

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
            if (string.IsNullOrWhiteSpace(disk.Path)) return ($"Disk '{disk.Name}' has no path.", "Name the file or block device on the agent's host.");
            if (disk.SizeBytes <= 0 || disk.SizeBytes % 512 != 0) return ($"Disk '{disk.Name}' ({disk.Path}) has {disk.SizeBytes} bytes.", "A disk is a positive multiple of 512 bytes.");
        }
        return c.Policy.Problems().FirstOrDefault() is { } p ? ($"Policy '{c.PolicyName}', {p.Setting}: {p.Problem}", p.Remedy) : null;
    }
}
