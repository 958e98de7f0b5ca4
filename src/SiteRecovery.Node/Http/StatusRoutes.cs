using Akka.Actor;
using Akka.Cluster;
using SiteRecovery.Node.Identity;

namespace SiteRecovery.Node.Http;

public sealed record Overview(int Nodes, int UnreachableNodes, int Machines, int Agents);

public static class StatusRoutes
{
    public static void Map(RouteGroupBuilder api)
    {
        api.MapGet("/overview", (ActorSystem system, ConfigurationFile store) =>
        {
            var nodes = NodeRoutes.Members(system);
            return new Overview(nodes.Count, nodes.Count(n => !n.Reachable), store.List("machine").Count, store.List("agent").Count);
        }).Needs(AccessRole.Viewer).WithName("overview");
        api.MapGet("/audit", (HttpContext context, AuditLog audit) => Page<AuditEntry>.Of(audit.NewestFirst(), context)).Needs(AccessRole.Administrator).WithName("list-audit");
    }

    /// <summary>Ready asks only this node: is it a member? Never the other site.</summary>
    public static void MapHealth(WebApplication app)
    {
        app.MapGet("/healthz/live", () => "live").NeedsNoToken().ExcludeFromDescription();
        app.MapGet("/healthz/ready", (ActorSystem system) => Cluster.Get(system).SelfMember.Status == MemberStatus.Up
            ? "ready"
            : throw new ProblemException(503, "notReady", "The node is not an active member of the cluster yet.", "Wait, or look into its log.")).NeedsNoToken().ExcludeFromDescription();
    }
}
