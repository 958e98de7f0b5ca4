using System.Collections.Immutable;
using System.Text.Json;
using System.Text.Json.Nodes;
using SiteRecovery.Domain.History;
using SiteRecovery.Domain.Jobs;
using SiteRecovery.Domain.Policies;
using SiteRecovery.Domain.ProtectedMachines;
using SiteRecovery.Domain.Results;
using SiteRecovery.Domain.Vaults;
using SiteRecovery.Node.Identity;

namespace SiteRecovery.Node.Http;

public sealed record DiskBody(string Id, string Path, string? Capture, long? SizeBytes);

public sealed record SourceBody(string Agent, IReadOnlyList<DiskBody> Disks);

public sealed record ProtectBody(string Name, string Vault, string? Policy, SourceBody Source);

/// <summary>What an action would do, decided by the same rules and not carried out.</summary>
public sealed record DryRun(string Machine, string Action, string State, string StateAfter, IReadOnlyList<string> Steps);

public static class MachineRoutes
{
    public static void Map(RouteGroupBuilder api)
    {
        api.MapGet("/machines", ListAsync).Needs(AccessRole.Viewer).WithName("list-machines");
        api.MapGet("/machines/{machine}", ShowAsync).Needs(AccessRole.Viewer).WithName("get-machine");
        api.MapPost("/machines", ProtectAsync).Needs(AccessRole.Administrator).WithName("protect-machine");
        api.MapDelete("/machines/{machine}", (string machine, HttpContext context, IControlPlane control, CancellationToken cancel) =>
            CarryOutAsync(context, control, new DisableProtection(Id(machine), CommandOf(context)), cancel)).Needs(AccessRole.Administrator).WithName("disable-machine");
        api.MapGet("/machines/{machine}/exports", async (string machine, HttpContext context, ConfigurationFile store, IControlPlane control, CancellationToken cancel) =>
            Page<DiskExport>.Of((await KnownAsync(machine, store, control, cancel)).Exports, context)).Needs(AccessRole.Viewer).WithName("list-machine-exports");
        foreach (var (action, role, make) in Actions)
            api.MapPost($"/machines/{{machine}}/{action}", async (string machine, HttpContext context, ConfigurationFile store, IControlPlane control, CancellationToken cancel) =>
            {
                _ = await KnownAsync(machine, store, control, cancel);
                return await CarryOutAsync(context, control, make(Id(machine), CommandOf(context)), cancel);
            }).Needs(role).WithName($"machine-{action}");
    }

    private static IReadOnlyList<(string, AccessRole, Func<MachineId, CommandId, OperatorCommand>)> Actions { get; } =
    [
        (MachineActions.Pause, AccessRole.Operator, (m, c) => new PauseReplication(m, c)),
        (MachineActions.Resume, AccessRole.Operator, (m, c) => new ResumeReplication(m, c)),
        (MachineActions.Resynchronize, AccessRole.Operator, (m, c) => new Resynchronize(m, c)),
        (MachineActions.Commit, AccessRole.RecoveryAdmin, (m, c) => new CommitFailover(m, c)),
        (MachineActions.PlannedFailover, AccessRole.RecoveryAdmin, (m, c) => new PlannedFailover(m, c)),
        (MachineActions.CancelFailover, AccessRole.RecoveryAdmin, (m, c) => new CancelFailover(m, c)),
        (MachineActions.ReverseReplicate, AccessRole.RecoveryAdmin, (m, c) => new ReverseReplicate(m, c)),
        (MachineActions.TestFailoverCleanup, AccessRole.Operator, (m, c) => new TestFailoverCleanup(m, c)),
    ];

    private static async Task<Page<ProtectedMachineView>> ListAsync(HttpContext context, ConfigurationFile store, IControlPlane control, TimeProvider time, CancellationToken cancel)
    {
        var names = Page<JsonNode>.Of(store.List("machine"), context);
        var views = await Task.WhenAll(names.Items.Select(async n =>
            ProtectedMachineView.Of(await control.GetMachineAsync(new MachineId((string)n["name"]!), cancel), ReplicationMeasurement.None, time.GetUtcNow())));
        return new Page<ProtectedMachineView>(views, names.NextCursor);
    }

    private static async Task<ProtectedMachineView> ShowAsync(string machine, ConfigurationFile store, IControlPlane control, TimeProvider time, CancellationToken cancel) =>
        ProtectedMachineView.Of(await KnownAsync(machine, store, control, cancel), ReplicationMeasurement.None, time.GetUtcNow());

    private static async Task<IResult> ProtectAsync(ProtectBody body, HttpContext context, ConfigurationFile store, IControlPlane control, CancellationToken cancel)
    {
        if (!MachineId.IsValid(body.Name)) throw ProblemException.Invalid($"'{body.Name}' is no name of a machine.", "Use 1 to 63 of a-z, 0-9, '-' and '.', starting with a letter or digit.");
        if (body.Source?.Disks is not { Count: > 0 } disks) throw ProblemException.Invalid("source.disks is empty.", "Name at least one disk of the agent with id and path.");
        var vault = store.Find("vault", body.Vault ?? "") ?? throw ProblemException.NotFound("vault", body.Vault ?? "");
        var command = new EnableProtection(
            new MachineId(body.Name), CommandOf(context), new AgentName(body.Source.Agent), new SiteName((string)vault["sourceSite"]!),
            new SiteName((string)vault["targetSite"]!), [.. disks.Select(Disk)], body.Policy ?? "default", PolicyOf(body.Policy, context, store));
        if (!IsDryRun(context)) store.Put("machine", body.Name, new JsonObject { ["name"] = body.Name });
        return await CarryOutAsync(context, control, command, cancel);
    }

    private static DiskSpec Disk(DiskBody disk, int index) =>
        disk.SizeBytes is > 0 and var size
            ? new(index, disk.Id, disk.Path, size, disk.Capture ?? "nbd")
            : throw ProblemException.Invalid($"Disk '{disk.Id}' has no size.", "Give sizeBytes, as GET /api/v1/agents shows it.");

    private static ReplicationPolicy PolicyOf(string? name, HttpContext context, ConfigurationFile store)
    {
        if (name is null) return ReplicationPolicy.Default;
        var found = store.Find("policy", name) ?? throw ProblemException.NotFound("policy", name);
        var options = context.RequestServices.GetRequiredService<Microsoft.Extensions.Options.IOptions<Microsoft.AspNetCore.Http.Json.JsonOptions>>().Value.SerializerOptions;
        return found.Deserialize<PolicyBody>(options)!.ToPolicy();
    }

    private static async Task<ProtectedMachine> KnownAsync(string name, ConfigurationFile store, IControlPlane control, CancellationToken cancel)
    {
        if (!MachineId.IsValid(name) || store.Find("machine", name) is null) throw ProblemException.NotFound("machine", name);
        return await control.GetMachineAsync(new MachineId(name), cancel);
    }

    private static async Task<IResult> CarryOutAsync(HttpContext context, IControlPlane control, OperatorCommand command, CancellationToken cancel)
    {
        if (IsDryRun(context)) return await TryOutAsync(context, control, command, cancel);
        var reply = await control.SendAsync(command, cancel);
        if (reply is Refused refused) throw ProblemException.Of(refused);
        var id = ((Accepted)reply).Job ?? JobId.Of(command.Machine, command.Id);
        var jobs = await control.GetJobsAsync(command.Machine, id, cancel);
        return Results.Accepted($"/api/v1/jobs/{id}", jobs.IsEmpty ? null : jobs[0]);
    }

    private static async Task<IResult> TryOutAsync(HttpContext context, IControlPlane control, OperatorCommand command, CancellationToken cancel)
    {
        var machine = await control.GetMachineAsync(command.Machine, cancel);
        var now = context.RequestServices.GetRequiredService<TimeProvider>().GetUtcNow();
        var decision = ProtectedMachine.Decide(machine, command, now);
        if (decision.Reply is Refused refused) throw ProblemException.Of(refused);
        var after = decision.Events.Aggregate(machine, (m, e) => m.Apply(e));
        var job = after.Jobs.Find(JobId.Of(command.Machine, command.Id));
        return Results.Ok(new DryRun(command.Machine.Value, ProtectedMachine.ActionOf(command), machine.Phase.Name, after.Phase.Name,
            [.. job?.Steps.Select(s => s.Name) ?? []]));
    }

    private static bool IsDryRun(HttpContext context) => context.Request.Query["dryRun"] == "true";

    private static MachineId Id(string name) => MachineId.IsValid(name) ? new MachineId(name) : throw ProblemException.NotFound("machine", name);

    private static CommandId CommandOf(HttpContext context)
    {
        var key = context.Request.Headers["Idempotency-Key"].ToString();
        if (key.Length == 0) return new CommandId(Guid.NewGuid().ToString("N"));
        return CommandId.IsValid(key) ? new CommandId(key)
            : throw ProblemException.Invalid("The Idempotency-Key is not usable.", "Use 1 to 128 letters, digits, '-', '_' and ':'.");
    }
}
