using Akka.Actor;
using SiteRecovery.Actors.ProtectedMachines;
using SiteRecovery.Domain.Results;

namespace SiteRecovery.Actors.Sites;

/// <summary>
/// Sends work to the nodes that can do it. A site's process servers all get it, since any of them may hold the agent's
/// session; of its master targets the one that holds the store. Nobody there: the machine tells it again later.
/// </summary>
public sealed class WorkRouterActor : ReceiveActor
{
    private Nodes _nodes = Nodes.None;

    public WorkRouterActor(IActorRef site)
    {
        Receive<Nodes>(nodes => _nodes = nodes);
        Receive<Work>(w => Route(w, w));
        Receive<WorkEnded>(ended => Route(ended.Work, ended));
        site.Tell(new SubscribeNodes());
    }

    public static Props Props(IActorRef site) => Akka.Actor.Props.Create(() => new WorkRouterActor(site));

    private void Route(Work work, object message)
    {
        foreach (var node in ReceiversOf(work)) Tell(node, work is IAtMasterTarget ? NodeRoles.MasterTarget : NodeRoles.ProcessServer, message);
    }

    private IEnumerable<NodeAnnouncement> ReceiversOf(Work work) => work switch
    {
        ReplicateFrom w => _nodes.Of(NodeRoles.ProcessServer, w.SourceSite),
        FenceSource w => _nodes.Of(NodeRoles.ProcessServer, w.SourceSite),
        ReleaseAgent => _nodes.Of(NodeRoles.ProcessServer, null),
        IAtMasterTarget w => _nodes.MasterTarget(w.TargetSite, w.TargetNode) is { } node ? [node] : [],
        _ => [],
    };

    private static void Tell(NodeAnnouncement node, string role, object message) =>
        Context.ActorSelection($"{node.Address}/user/{role}").Tell(message, Context.Sender);
}
