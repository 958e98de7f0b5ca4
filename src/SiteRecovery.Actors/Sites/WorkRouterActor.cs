using Akka.Actor;
using SiteRecovery.Actors.Configuration;
using SiteRecovery.Actors.ProtectedMachines;
using SiteRecovery.Domain.Results;
using SiteRecovery.Domain.Vaults;

namespace SiteRecovery.Actors.Sites;

/// <summary>
/// Sends work to the nodes that can do it. A site's process servers all get it, since any of them may hold the agent's
/// session; of its master targets the one that holds the store. Nobody there: the machine tells it again later.
/// </summary>
public sealed class WorkRouterActor : ReceiveActor
{
    private Nodes _nodes = Nodes.None;

    /// <param name="configuration">Knows the networks of replicas.</param>
    public WorkRouterActor(IActorRef site, IActorRef configuration)
    {
        Receive<Nodes>(nodes => _nodes = nodes);
        Receive<Work>(IsOfReplicaMachine, w => configuration.Tell(new PlanNetworks(w, Ended: false)));
        Receive<WorkEnded>(ended => IsOfReplicaMachine(ended.Work), ended => configuration.Tell(new PlanNetworks(ended.Work, Ended: true)));
        Receive<GetPolicy>(configuration.Forward);
        Receive<NetworksPlanned>(planned => Route(planned.Work, planned.Ended ? new WorkEnded(planned.Work) : planned.Work));
        Receive<Work>(w => Route(w, w));
        Receive<WorkEnded>(ended => Route(ended.Work, ended));
        site.Tell(new SubscribeNodes());
    }

    public static Props Props(IActorRef site, IActorRef configuration) => Akka.Actor.Props.Create(() => new WorkRouterActor(site, configuration));

    /// <summary>All that starts and ends a replica machine goes by the configuration, in the order in which it was told: an end that overtook its beginning would leave the machine running.</summary>
    private static bool IsOfReplicaMachine(Work work) => work is ServeReplica or ServeTest or RemoveTest;

    private void Route(Work work, object message)
    {
        foreach (var (node, role) in ReceiversOf(work)) Context.ActorSelection($"{node.Address}/user/{role}").Tell(message, Context.Sender);
    }

    private IEnumerable<(NodeAnnouncement Node, string Role)> ReceiversOf(Work work) => work switch
    {
        // The process servers let its stream in and pass it on.
        ReplicateFrom { Replica: { } replica } w => [.. ProcessServersOf(w.SourceSite), .. MasterTarget(w.SourceSite, replica.Node)],
        ReplicateFrom w => ProcessServersOf(w.SourceSite),
        FenceSource w => ProcessServersOf(w.SourceSite),
        TakeBackTail { Loser: { } loser } w => MasterTarget(w.LoserSite, loser.Node),
        TakeBackTail w => ProcessServersOf(w.LoserSite),
        ReleaseAgent => ProcessServersOf(null),
        IAtMasterTarget w => MasterTarget(w.TargetSite, w.TargetNode),
        _ => [],
    };

    private IEnumerable<(NodeAnnouncement, string)> ProcessServersOf(SiteName? site) => _nodes.Of(NodeRoles.ProcessServer, site).Select(n => (n, NodeRoles.ProcessServer));

    private IEnumerable<(NodeAnnouncement, string)> MasterTarget(SiteName site, string? name) => _nodes.MasterTarget(site, name) is { } node ? [(node, NodeRoles.MasterTarget)] : [];
}
