using Akka.Actor;
using Akka.Cluster;
using SiteRecovery.Actors.ProtectedMachines;
using SiteRecovery.Domain.Results;
using SiteRecovery.Domain.Vaults;

namespace SiteRecovery.Actors.Sites;

/// <summary>
/// Sends work to the nodes that can do it. A site's process servers all get it, since any of them may hold the agent's
/// session; of its master targets one does, the first by address, because a store has one home.
/// </summary>
public sealed class WorkRouterActor : ReceiveActor
{
    private readonly Cluster _cluster = Cluster.Get(Context.System);

    public WorkRouterActor()
    {
        Receive<Work>(w => Route(w, w));
        Receive<WorkEnded>(ended => Route(ended.Work, ended));
    }

    private void Route(Work work, object message)
    {
        switch (work)
        {
            case ReplicateFrom w: ToProcessServers(w.SourceSite, message); break;
            case FenceSource w: ToProcessServers(w.SourceSite, message); break;
            case ReleaseAgent: ToProcessServers(null, message); break;
            case HoldStore w: ToMasterTarget(w.TargetSite, message); break;
            case OpenEpoch w: ToMasterTarget(w.TargetSite, message); break;
            case ServeReplica w: ToMasterTarget(w.TargetSite, message); break;
            case RemoveStore w: ToMasterTarget(w.TargetSite, message); break;
            default: Unhandled(message); break;
        }
    }

    private void ToProcessServers(SiteName? site, object message)
    {
        foreach (var node in Nodes(NodeRoles.ProcessServer, site)) Tell(node, NodeRoles.ProcessServer, message);
    }

    // Nobody there: the machine tells it again, and the repeat finds the node when it is back.
    private void ToMasterTarget(SiteName site, object message)
    {
        if (Nodes(NodeRoles.MasterTarget, site).FirstOrDefault() is { } node) Tell(node, NodeRoles.MasterTarget, message);
    }

    private IEnumerable<Address> Nodes(string role, SiteName? site) => _cluster.State.Members
        .Where(m => m.Status == MemberStatus.Up && m.HasRole(role) && (site is not { } s || m.HasRole(NodeRoles.OfSite(s))))
        .OrderBy(m => m.Address, Member.AddressOrdering).Select(m => m.Address);

    private static void Tell(Address node, string role, object message) =>
        Context.ActorSelection(new RootActorPath(node) / "user" / role).Tell(message, Context.Sender);
}
