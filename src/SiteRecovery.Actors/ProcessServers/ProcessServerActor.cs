using System.Collections.Immutable;
using Akka.Actor;
using SiteRecovery.Actors.ProtectedMachines;
using SiteRecovery.Actors.Sites;
using SiteRecovery.DataPlane.ProcessServer;
using SiteRecovery.Domain.History;
using SiteRecovery.Domain.ProtectedMachines;
using SiteRecovery.Domain.Results;
using SiteRecovery.Domain.Vaults;

namespace SiteRecovery.Actors.ProcessServers;

/// <summary>On every node of the role, at "/user/process-server": hands work, questions and what agents say to the agent's actor.</summary>
public sealed class ProcessServerActor : ReceiveActor
{
    private readonly ProcessServerRoom _room;
    private readonly IActorRef _machines, _site, _configuration;
    private readonly HashSet<MachineId> _routing = [];
    private Nodes _nodes = Nodes.None;

    /// <param name="machines">The machines' shard region or its proxy.</param>
    /// <param name="configuration">The configuration's singleton or its proxy; null: nobody to ask of machines that no order has named here.</param>
    public ProcessServerActor(ProcessServerRoom room, IActorRef machines, IActorRef site, TimeProvider clock, IActorRef? configuration = null)
    {
        (_room, _machines, _site, _configuration) = (room, machines, site, configuration ?? ActorRefs.Nobody);
        Receive<Nodes>(nodes =>
        {
            _nodes = nodes;
            foreach (var child in Context.GetChildren()) child.Tell(nodes);
        });
        var ended = Context.ActorOf(EndedProtectionsActor.Props(room, machines, clock), "ended-protections");
        Receive<ReplicateFrom>(w =>
        {
            ended.Tell(w);
            if (w.Replica is { } replica) LetIn(w, replica);
            else AgentOf(w.Agent, clock).Forward(w);
        });
        Receive<Routed>(routed =>
        {
            _routing.Remove(routed.Machine);
            if (routed.Failed is { } failed) machines.Tell(failed);
        });
        Receive<TakeBackTail>(w => AgentOf(w.Agent, clock).Forward(w));
        Receive<FenceSource>(w => AgentOf(w.Agent, clock).Forward(w));
        Receive<ReleaseAgent>(w =>
        {
            ended.Tell(w);
            AgentOf(w.Agent, clock).Forward(w);
        });
        Receive<WorkEnded>(over =>
        {
            foreach (var child in Context.GetChildren()) child.Forward(over);
        });
        Receive<IForAgent>(question => AgentOf(question.Agent, clock).Forward(question));
        Receive<AgentEvent>(happened =>
        {
            AgentOf(new AgentName(happened.Agent), clock).Tell(happened);
            if (happened is AgentConnected or AgentGone) TellAgents();
        });
    }

    public static Props Props(ProcessServerRoom room, IActorRef machines, IActorRef site, TimeProvider clock, IActorRef? configuration = null) =>
        Akka.Actor.Props.Create(() => new ProcessServerActor(room, machines, site, clock, configuration));

    protected override void PreStart()
    {
        _site.Tell(new SubscribeNodes());
        var self = Self;
        _room.Sessions.Listen(happened => self.Tell(happened));
        TellAgents();
    }

    /// <summary>A replica's stream comes from the master target that serves it, not from an agent.</summary>
    private void LetIn(ReplicateFrom work, ReplicaSource replica)
    {
        var target = _nodes.MasterTarget(work.TargetSite, work.TargetNode);
        if (_nodes.MasterTarget(work.SourceSite, replica.Node) is not { } source) return;
        var route = new MachineRoute(source.Name, work.Policy.Compression, target?.Host, target?.DataPort ?? 0, FromNode: true, Epoch: work.Epoch.Value);
        // While the disk takes one the next is not asked for: it is told again.
        if (!_room.Routes.Holds(work.Machine, route) && _routing.Add(work.Machine)) _room.RouteAsync(work, route).PipeTo(Self, success: failed => new Routed(work.Machine, failed));
    }

    private void TellAgents() => _site.Tell(new AgentsConnected([.. _room.Sessions.Connected.Select(a => new AgentName(a))]));

    private IActorRef AgentOf(AgentName agent, TimeProvider clock)
    {
        if (Context.Child($"agent-{agent}") is { } child && !child.IsNobody()) return child;
        var made = Context.ActorOf(AgentActor.Props(agent, _room, _machines, _configuration, clock), $"agent-{agent}");
        made.Tell(_nodes);
        return made;
    }

    private sealed record Routed(MachineId Machine, WorkFailed? Failed) : INoSerializationVerificationNeeded;
}
