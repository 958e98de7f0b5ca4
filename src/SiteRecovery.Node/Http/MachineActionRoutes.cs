using System.Collections.Immutable;
using SiteRecovery.Actors.ProtectedMachines;
using SiteRecovery.Domain.History;
using SiteRecovery.Domain.Jobs;
using SiteRecovery.Domain.ProtectedMachines;
using SiteRecovery.Domain.Results;

namespace SiteRecovery.Node.Http;

/// <param name="Point">latest, latest-application-consistent, an id, or at:TIME.</param>
/// <param name="Test">Which test failover to clean up; all where it is left out.</param>
/// <param name="Notes">What was seen in the test, for the record.</param>
/// <param name="Patience">How long a planned failover may take before it is rolled back; 10 minutes where it is left out.</param>
/// <param name="Target">The master target of the old site that a reverse replication goes to; the site's first where it is left out.</param>
/// <param name="Full">A reverse replication compares every block: the old source cannot be asked what it wrote, or its disks are gone.</param>
/// <param name="Acknowledge">Codes of the warnings that a dry run shows.</param>
public sealed record ActionBody(string? Point = null, IReadOnlyList<string>? Acknowledge = null, string? Test = null, string? Notes = null,
    TimeSpan? Patience = null, string? Target = null, bool Full = false);

/// <summary>Something to know before a risky action; its code must be echoed in <c>acknowledge</c>.</summary>
public sealed record ActionWarning(string Code, string Detail);

/// <summary>What an action would do, decided by the same rules and not carried out.</summary>
/// <param name="PredictedRto">What the machine's newest failover or test failover took to its latest sign of life; null: none was measured, or the action starts no machine.</param>
public sealed record DryRun(
    string Machine, string Action, string State, string StateAfter, IReadOnlyList<string> Steps, PointView? Point, TimeSpan? PredictedRpo, TimeSpan? PredictedRto,
    IReadOnlyList<ActionWarning> Warnings);

/// <summary>One route per action of a machine: resolve, warn, decide, and answer with the job.</summary>
public static class MachineActionRoutes
{
    private const string SourceUnreachable = "sourceUnreachable";

    private sealed record ActionRoute(string Action, AccessRole Role, Func<MachineId, CommandId, RecoveryPoint?, ActionBody, OperatorCommand> Make, bool TakesPoint = false);

    private static IReadOnlyList<ActionRoute> Actions { get; } =
    [
        new(MachineActions.Pause, AccessRole.Operator, (m, c, _, _) => new PauseReplication(m, c)),
        new(MachineActions.Resume, AccessRole.Operator, (m, c, _, _) => new ResumeReplication(m, c)),
        new(MachineActions.Resynchronize, AccessRole.Operator, (m, c, _, _) => new Resynchronize(m, c)),
        new(MachineActions.TestFailover, AccessRole.Operator, (m, c, p, _) => new TestFailover(m, c, p!), TakesPoint: true),
        new(MachineActions.TestFailoverCleanup, AccessRole.Operator, (m, c, _, b) => new TestFailoverCleanup(m, c, b.Test, b.Notes)),
        new(MachineActions.PlannedFailover, AccessRole.RecoveryAdmin, (m, c, _, b) => new PlannedFailover(m, c, b.Patience)),
        new(MachineActions.UnplannedFailover, AccessRole.RecoveryAdmin, (m, c, p, _) => new UnplannedFailover(m, c, p!), TakesPoint: true),
        new(MachineActions.ChangeRecoveryPoint, AccessRole.RecoveryAdmin, (m, c, p, _) => new ChangeRecoveryPoint(m, c, p!), TakesPoint: true),
        new(MachineActions.Commit, AccessRole.RecoveryAdmin, (m, c, _, _) => new CommitFailover(m, c)),
        new(MachineActions.CancelFailover, AccessRole.RecoveryAdmin, (m, c, _, _) => new CancelFailover(m, c)),
        new(MachineActions.ReverseReplicate, AccessRole.RecoveryAdmin, (m, c, _, b) => new ReverseReplicate(m, c, b.Target, b.Full)),
    ];

    public static void Map(RouteGroupBuilder api)
    {
        foreach (var route in Actions)
            api.MapPost($"/machines/{{machine}}/{route.Action}", (string machine, ActionBody? body, HttpContext context, ControlPlane control, CancellationToken cancel) =>
                ActAsync(route, machine, body ?? new ActionBody(), context, control, cancel)).Needs(route.Role).WithName($"machine-{route.Action}").WithDryRun();
        api.MapDelete("/machines/{machine}", async (string machine, string[]? acknowledge, HttpContext context, ControlPlane control, CancellationToken cancel) =>
        {
            var known = await MachineRoutes.KnownAsync(machine, control, cancel);
            List<ActionWarning> warnings = known.Store is { Points: > 0 and var points } ? [new("pointsRemoved", $"The store and its {points} recovery points are removed.")] : [];
            if (known.State.Circumstances.Flattened)
                warnings.Add(new("replicaReleased", "The machine is the replica: once it is shut down its disks are no longer served; they stay as raw files, which the job names, and it is started from those."));
            if (known.State.Fence is not null && known.State.Circumstances.Flattened)
                warnings.Add(new("sourceNotFenced", "The old source has not confirmed that its epoch is over; released, it is held back by nothing. Make sure that the old machine is off."));
            RequireAcknowledged(context, warnings, acknowledge ?? []);
            return await CarryOutAsync(context, control, new DisableProtection(known.State.Id, CommandOf(context)), warnings, cancel);
        }).Needs(AccessRole.Administrator).WithName("disable-machine").WithDryRun();
    }

    private static async Task<IResult> ActAsync(ActionRoute route, string machine, ActionBody body, HttpContext context, ControlPlane control, CancellationToken cancel)
    {
        var known = await MachineRoutes.KnownAsync(machine, control, cancel);
        var command = CommandOf(context);
        // Refused by the state, or carried out already: neither the store nor the operator is asked anything.
        var repeated = known.State.Carried.Any(c => c.Id == command);
        if (!repeated && Transitions.Of(known.State.Phase, route.Action, known.State.Circumstances) is { Allowed: false } refusal)
            throw ProblemException.Of(new Refused(known.State.Id, command, refusal.Code!, known.State.Phase.Name, refusal.Reason!, refusal.Remedy!, Transitions.AllowedNames(known.State.Phase, known.State.Circumstances)));
        var point = route.TakesPoint ? repeated ? AnyPoint : await control.ResolvePointAsync(known.State, body.Point ?? "latest", cancel) : null;
        if (repeated) return await CarryOutAsync(context, control, route.Make(known.State.Id, command, point, body), [], cancel);
        if (route.Action == MachineActions.ReverseReplicate) body = body with { Target = await TargetOfReverseAsync(known.State, body.Target, control, cancel) };
        var now = context.RequestServices.GetRequiredService<TimeProvider>().GetUtcNow();
        var warnings = route.Action == MachineActions.CancelFailover ? await WarningsOfCancelAsync(known, control, now, cancel) : WarningsOf(route, known, point, now);
        RequireAcknowledged(context, warnings, body.Acknowledge ?? []);
        return await CarryOutAsync(context, control, route.Make(known.State.Id, command, point, body), warnings, cancel, point);
    }

    /// <summary>By name, so that it does not change when nodes come and go.</summary>
    private static async Task<string?> TargetOfReverseAsync(ProtectedMachine machine, string? named, ControlPlane control, CancellationToken cancel)
    {
        var protection = machine.Protection!;
        if (machine.Phase is Phase.ReverseReplicating) return named is null ? null : (await control.FindMasterTargetAsync(protection.TargetSite, named, cancel)).Name;
        // What was the source before last goes on in its own store.
        if (protection.Replica?.Node is not { } holder) return (await control.FindMasterTargetAsync(protection.SourceSite, named, cancel)).Name;
        return named is null || named == holder ? holder : throw new ProblemException(422, "unknownTarget", $"'{machine.Id}' goes back to '{holder}', which has its former store.",
            $"Leave target out; where '{holder}' is gone for good, begin without target, then repeat it with full and another target.");
    }

    private static RecoveryPoint AnyPoint { get; } = new(Epoch.First, new Sequence(1), DateTimeOffset.UnixEpoch, PointKind.CrashConsistent);

    private static ActionWarning[] WarningsOf(ActionRoute route, MeasuredMachine machine, RecoveryPoint? point, DateTimeOffset now)
    {
        if (route.Action == MachineActions.ChangeRecoveryPoint)
            return [new("replicaWritesLost", "What was written to the replica since the failover is lost; it starts anew at the point.")];
        if (route.Action == MachineActions.PlannedFailover)
            return [new("machineStops", "The machine must be shut down: its disks are moved to the other site once nobody has them open.")];
        if (route.Action != MachineActions.UnplannedFailover) return [];
        var warnings = new List<ActionWarning>();
        if (machine.Agent is { Fenced: false } && HearsOfAgent(machine, now))
            warnings.Add(new("sourceReachable", "The source is alive and replicates: what it has written after the point is lost to the replica."));
        else
            warnings.Add(new(SourceUnreachable, "The source cannot be asked: if it still runs, it goes on writing to its own copy until it learns that its epoch is over."));
        if (machine.Store?.Newest is { } newest && newest.Id != point!.Id && newest.At > point.At)
            warnings.Add(new("olderPoint", $"The point is {JsonForms.Text(newest.At - point.At)} older than the newest consistent one."));
        return [.. warnings];
    }

    private static bool HearsOfAgent(MeasuredMachine machine, DateTimeOffset now) => machine.Agent is { Connected: true } && now - machine.AgentHeardAt <= MachineView.AgentSilenceMax;

    /// <summary>Before the replica runs there is nothing to lose: the machine is at its source, or is not at all.</summary>
    private static async Task<ActionWarning[]> WarningsOfCancelAsync(MeasuredMachine machine, ControlPlane control, DateTimeOffset now, CancellationToken cancel)
    {
        if (machine.State.Phase is Phase.PlannedFailoverInProgress { Point: null }) return [];
        var lost = new ActionWarning("replicaWritesLost", "What was written to the replica is lost to the machine; it is kept as a recovery point only.");
        // A replica that was fenced is served no more, and says nothing; whether it can be served again its node says by being there.
        var isHeard = machine.State.Protection is { Replica: { } replica } protection
            ? (await control.GetNodesAsync(cancel)).MasterTarget(protection.SourceSite, replica.Node) is { } node && control.IsReachable(node) : HearsOfAgent(machine, now);
        return isHeard ? [lost] : [lost, new(SourceUnreachable, "The source is not connected: the replica ends all the same, and the machine runs nowhere until its source is back.")];
    }

    private static void RequireAcknowledged(HttpContext context, IReadOnlyList<ActionWarning> warnings, IReadOnlyList<string> acknowledged)
    {
        var open = warnings.Where(w => !acknowledged.Contains(w.Code)).ToArray();
        if (open.Length == 0 || context.IsDryRun()) return;
        throw new ProblemException(422, "acknowledgeNeeded", string.Join(' ', open.Select(w => w.Detail)), $"If that is meant, repeat it with acknowledge: {string.Join(", ", warnings.Select(w => w.Code))}.")
        {
            More = { ["warnings"] = warnings },
        };
    }

    public static async Task<IResult> CarryOutAsync(
        HttpContext context, ControlPlane control, OperatorCommand command, IReadOnlyList<ActionWarning> warnings, CancellationToken cancel, RecoveryPoint? point = null)
    {
        if (context.IsDryRun()) return await TryOutAsync(context, control, command, warnings, point, cancel);
        var reply = await control.SendAsync(command, cancel);
        if (reply is Refused refused) throw ProblemException.Of(refused);
        var id = ((Accepted)reply).Job ?? JobId.Of(command.Machine, command.Id);
        var jobs = await control.GetJobsAsync(command.Machine, id, cancel);
        return Results.Accepted($"/api/v1/jobs/{id}", jobs.IsEmpty ? null : JobView.Of(jobs[0]));
    }

    private static async Task<IResult> TryOutAsync(
        HttpContext context, ControlPlane control, OperatorCommand command, IReadOnlyList<ActionWarning> warnings, RecoveryPoint? point, CancellationToken cancel)
    {
        var machine = await control.GetMachineAsync(command.Machine, cancel);
        var now = context.RequestServices.GetRequiredService<TimeProvider>().GetUtcNow();
        var decision = ProtectedMachine.Decide(machine.State, command, now);
        if (decision.Reply is Refused refused) throw ProblemException.Of(refused);
        var after = decision.Events.Aggregate(machine.State, (m, e) => m.Apply(e));
        var job = after.Jobs.Find(JobId.Of(command.Machine, command.Id));
        return Results.Ok(new DryRun(
            command.Machine.Value, ProtectedMachine.ActionOf(command), machine.State.Phase.Name, after.Phase.Name, [.. job?.Steps.Select(s => s.Name) ?? []],
            point is null ? null : PointView.Of(point), point is null ? null : now - point.At, point is null ? null : RtoOf(machine.State), warnings));
    }

    private static TimeSpan? RtoOf(ProtectedMachine machine) => machine.Jobs.NewestFirst.Select(j => j.Times?.Recovered).FirstOrDefault(r => r is not null);

    public static CommandId CommandOf(HttpContext context)
    {
        var key = context.Request.Headers["Idempotency-Key"].ToString();
        if (key.Length == 0) return new CommandId(Guid.NewGuid().ToString("N"));
        return CommandId.IsValid(key) ? new CommandId(key)
            : throw ProblemException.Invalid("The Idempotency-Key is not usable.", "Use 1 to 128 letters, digits, '-', '_' and ':'.");
    }
}
