using System.Globalization;
using SiteRecovery.Actors.MasterTargets;
using SiteRecovery.Actors.ProcessServers;
using SiteRecovery.Domain.History;
using SiteRecovery.Domain.Results;

namespace SiteRecovery.Node.Http;

public sealed record TakePointBody(string? Label = null, PointKind Kind = PointKind.CrashConsistent);

/// <param name="Keep">False: the retention decides again.</param>
public sealed record ProtectPointBody(bool Keep = true);

/// <param name="Id">Listed among the recovery points once it is durable at the target.</param>
public sealed record PointTaken(string Id);

public static class RecoveryPointRoutes
{
    public static void Map(RouteGroupBuilder api)
    {
        var points = api.MapGroup("/machines/{machine}/recovery-points");
        points.MapGet("", ListAsync).Needs(AccessRole.Viewer).WithName("list-recovery-points");
        points.MapPost("", TakeAsync).Needs(AccessRole.Operator).WithName("take-recovery-point");
        points.MapPost("/{point}/protect", ProtectAsync).Needs(AccessRole.Operator).WithName("protect-recovery-point");
        points.MapPost("/{point}/verify", VerifyAsync).Needs(AccessRole.Operator).WithName("verify-recovery-point");
    }

    private static async Task<NotedPointView> ProtectAsync(string machine, string point, ProtectPointBody? body, ControlPlane control, CancellationToken cancel)
    {
        var state = (await MachineRoutes.KnownAsync(machine, control, cancel)).State;
        var found = await control.ResolvePointAsync(state, point, cancel);
        return NotedPointView.Of(await control.AskPointAsync(state, new ProtectPoint(state.Id, found, body?.Keep ?? true), cancel));
    }

    private static async Task<IResult> VerifyAsync(string machine, string point, ControlPlane control, CancellationToken cancel)
    {
        var state = (await MachineRoutes.KnownAsync(machine, control, cancel)).State;
        var found = await control.ResolvePointAsync(state, point, cancel);
        return Results.Accepted($"/api/v1/machines/{machine}/recovery-points", NotedPointView.Of(await control.AskPointAsync(state, new VerifyPoint(state.Id, found), cancel)));
    }

    private static async Task<Page<NotedPointView>> ListAsync(
        string machine, DateTimeOffset? from, DateTimeOffset? to, string? kind, HttpContext context, ControlPlane control, CancellationToken cancel)
    {
        var state = (await MachineRoutes.KnownAsync(machine, control, cancel)).State;
        var (limit, skip) = Page.Of(context, "from", "to", "kind");
        PointKind? wanted = kind switch
        {
            null or "" => null,
            "crash-consistent" or "crashConsistent" => PointKind.CrashConsistent,
            "application-consistent" or "applicationConsistent" => PointKind.ApplicationConsistent,
            _ => throw ProblemException.Invalid($"kind is '{kind}'.", "Give crash-consistent or application-consistent."),
        };
        var found = await control.GetPointsAsync(state, new GetRecoveryPoints(state.Id, from, to, wanted, skip, limit), cancel);
        return new Page<NotedPointView>([.. found.Items.Select(NotedPointView.Of)], found.More ? (skip + found.Items.Length).ToString(CultureInfo.InvariantCulture) : null);
    }

    private static async Task<PointTaken> TakeAsync(string machine, TakePointBody? body, ControlPlane control, CancellationToken cancel)
    {
        var state = (await MachineRoutes.KnownAsync(machine, control, cancel)).State;
        var protection = state.Protection ?? throw new ProblemException(409, RefusalCode.NotAllowedInState, $"'{machine}' is not protected.", "Enable protection first.");
        body ??= new TakePointBody();
        if (body.Label is { Length: > 200 }) throw ProblemException.Invalid("The label is longer than 200 characters.", "Shorten it.");
        // A point may be called application-consistent only when the guest's own hook has said so, and there is none here.
        if (body.Kind == PointKind.ApplicationConsistent)
            throw new ProblemException(501, RefusalCode.NotYetSupported, "This version cannot make a guest's applications consistent yet.", "Take a crash-consistent point.");
        if (protection.Replica is { } replica) return new PointTaken(await control.TakeReplicaPointAsync(protection.SourceSite, replica, new TakeReplicaPoint(state.Id, body.Label, body.Kind), cancel));
        var answer = await control.AskAgentAsync(new TakeRecoveryPoint(protection.Agent, state.Id, body.Label, body.Kind), cancel);
        return new PointTaken(answer.PointId ?? throw new InvalidOperationException("the agent took a point and does not say which"));
    }
}
