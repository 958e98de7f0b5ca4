using Akka.Cluster;
using SiteRecovery.Actors.Configuration;
using SiteRecovery.Domain.ProtectedMachines;
using SiteRecovery.Node.Hosting;

namespace SiteRecovery.Node.Http;

/// <summary>Can I fail over right now?</summary>
/// <param name="CanFailOver">Every protected machine could run at its target now, or does; null while nothing is protected.</param>
/// <param name="CannotFailOver">Names of the protected machines that could not run at their target now.</param>
/// <param name="WorstRpo">Null where one is unknown.</param>
/// <param name="UnreachableNodes">Also those that are known and no members now.</param>
public sealed record Overview(
    bool? CanFailOver, int Machines, int MachinesThatCanFailOver, int Healthy, int Degraded, int Critical, TimeSpan? WorstRpo,
    int Nodes, int UnreachableNodes, int Agents, int ConnectedAgents, IReadOnlyList<string> CannotFailOver);

public static class StatusRoutes
{
    public static void Map(RouteGroupBuilder api)
    {
        api.MapGet("/overview", OverviewAsync).Needs(AccessRole.Viewer).WithName("overview");
        api.MapGet("/audit", async (HttpContext context, ControlPlane control, CancellationToken cancel) =>
            Page<AuditEntry>.Of(await control.GetAuditAsync(2 * AuditTrail.EachMax, cancel), context)).Needs(AccessRole.Administrator).WithName("list-audit");
    }

    /// <summary>Ready asks only this node: is it a member? Never the other site.</summary>
    public static void MapHealth(WebApplication app)
    {
        app.MapGet("/healthz/live", () => "live").NeedsNoToken().ExcludeFromDescription();
        app.MapGet("/healthz/ready", (ClusterHost cluster, IServiceProvider services) =>
            Cluster.Get(cluster.System).SelfMember.Status == MemberStatus.Up && services.GetService<FirstToken>() is null or { IsSeeded: true }
            ? "ready"
            : throw new ProblemException(503, "notReady", "The node is not an active member of the cluster yet.", "Wait, or look into its log.")).NeedsNoToken().ExcludeFromDescription();
    }

    private static async Task<Overview> OverviewAsync(ClusterHost cluster, ControlPlane control, TimeProvider time, CancellationToken cancel)
    {
        var nodes = await NodeRoutes.NodesAsync(cluster, control, cancel);
        var agents = await NodeRoutes.AgentsAsync(control, cancel);
        var machines = (await MachineRoutes.ViewsAsync(control, time, cancel)).Where(m => m.State != nameof(Phase.Unprotected)).ToArray();
        var able = machines.Count(m => m.CanFailOver);
        return new Overview(
            machines.Length == 0 ? null : able == machines.Length, machines.Length, able,
            machines.Count(m => m.Health.Status == HealthStatus.Healthy), machines.Count(m => m.Health.Status == HealthStatus.Degraded),
            machines.Count(m => m.Health.Status == HealthStatus.Critical),
            machines.Length == 0 || machines.Any(m => m.Rpo is null) ? null : machines.Max(m => m.Rpo),
            nodes.Count, nodes.Count(n => !n.Reachable), agents.Count, agents.Count(a => a.Connected),
            [.. machines.Where(m => !m.CanFailOver).Select(m => m.Name)]);
    }
}
