using System.Collections.Immutable;
using SiteRecovery.Domain.Jobs;
using SiteRecovery.Domain.Results;

namespace SiteRecovery.Domain.ProtectedMachines;

/// <content>Test failovers: an axis of their own beside the phase.</content>
public sealed partial record ProtectedMachine
{
    /// <summary>Test failovers that are not on their way out.</summary>
    public IEnumerable<TestRun> RunningTests => Tests.Where(t => t.CleanupNotes is null);

    private ProtectedMachine TestStarted(TestFailoverStarted e) => Carry(e, MachineActions.TestFailover) with
    {
        Tests = Tests.Add(new TestRun(e.Cause.Value, e.Point, e.At, [])),
        Jobs = Jobs.Start(JobId.Of(Id, e.Cause), MachineActions.TestFailover, e.At, (WorkKind.ServeTest, true)),
    };

    private ProtectedMachine TestServed(TestFailoverServed e) => (this with
    {
        Tests = [.. Tests.Select(t => t.Id == e.Test ? t with { Exports = e.Exports, Console = e.Console, ServedAt = t.ServedAt ?? e.At } : t)],
        Jobs = Jobs.Complete(WorkKind.ServeTest, e.At, JobId.Of(Id, new CommandId(e.Test)), Tests.FirstOrDefault(t => t.Id == e.Test) is { } test ? ServedAs(test.Point, e.Console) : null),
    }).Without(WorkKind.ServeTest);

    private static string ServedAs(History.RecoveryPoint point, string? console) => $"point {point.Id}{(console is null ? "" : $"; the test machine runs; {console}")}";

    private ProtectedMachine CleanupStarted(TestCleanupStarted e) => Carry(e, MachineActions.TestFailoverCleanup) with
    {
        Tests = [.. Tests.Select(t => e.Tests.Contains(t.Id) ? t with { CleanupNotes = e.Notes } : t)],
        // A test that was never served ends unserved; its job must not wait for ever.
        Jobs = e.Tests.Where(t => Tests.Any(r => r.Id == t && r.ServedAt is null)).Aggregate(Jobs, (log, test) => log.Cancel(JobId.Of(Id, new CommandId(test)), e.At, "its cleanup"))
            .Start(JobId.Of(Id, e.Cause), MachineActions.TestFailoverCleanup, e.At, (WorkKind.RemoveTest, true)),
    };

    private ProtectedMachine TestRemoved(TestFailoverRemoved e)
    {
        var gone = Tests.First(t => t.Id == e.Test);
        var left = Tests.Remove(gone);
        var drills = gone.ServedAt is null ? Drills
            : [.. Drills.Skip(Math.Max(0, Drills.Length + 1 - DrillsMax)), new Drill(gone.Id, gone.Point.Id, gone.StartedAt, gone.ServedAt, e.At, gone.CleanupNotes ?? "")];
        var machine = this with { Tests = left, Drills = drills };
        return left.Any(t => t.CleanupNotes is not null) ? machine
            : (machine with { Jobs = Jobs.Complete(WorkKind.RemoveTest, e.At) }).Without(WorkKind.RemoveTest);
    }

    private ProtectedMachine PointChanged(RecoveryPointChanged e) => Carry(e, MachineActions.ChangeRecoveryPoint) with
    {
        Phase = new Phase.UnplannedFailoverInProgress(e.Point, EpochIsOpen: false),
        Epoch = e.Epoch,
        Exports = [],
        Console = null,
        Problems = Problems.RemoveAll(p => p.Work != WorkKind.FenceSource),
        Jobs = Jobs.Start(JobId.Of(Id, e.Cause), MachineActions.ChangeRecoveryPoint, e.At, (WorkKind.OpenEpoch, true), (WorkKind.ServeReplica, true)).Opens(MachineActions.ChangeRecoveryPoint, e.Epoch),
    };

    /// <summary>Whose test could not be served; null where it was none, or a node of before said it, which does not say which.</summary>
    private Job? JobOfTest(string work, CommandId test) => work == WorkKind.ServeTest && Jobs.Find(JobId.Of(Id, test)) is { Action: MachineActions.TestFailover } job ? job : null;

    private IEnumerable<Work> PendingTests() => Tests.Select(Work (t) => t.CleanupNotes is null
        ? new ServeTest(Id, t.Id, t.Point, Required.TargetSite, Required.TargetNode)
        : new RemoveTest(Id, t.Id, t.Point, Required.TargetSite, Required.TargetNode));

    private (string Reason, string Remedy)? ProblemOfTest(OperatorCommand command) => command switch
    {
        TestFailover c when !IsInHistory(c.Point) => ($"The point {c.Point.Id} is not in this machine's history.", "Choose one of its recovery points."),
        TestFailover when Tests.Length >= TestsMax => ($"{Tests.Length} test failovers run already.", "Clean one up first."),
        TestFailoverCleanup { Test: { } test } when Tests.All(t => t.Id != test) => ($"There is no test failover '{test}'.", "See the machine's tests."),
        TestFailoverCleanup { Notes.Length: > ReasonLengthMax } => ("The notes are too long.", $"Use at most {ReasonLengthMax} characters."),
        _ => null,
    };

    // Sequence 0 is a disk that nobody has written to since it was protected.
    private bool IsInHistory(History.RecoveryPoint point) => point.Epoch <= Epoch && point.Epoch >= History.Epoch.First && point.Sequence >= History.Sequence.None;
}
