using Akka.Actor;
using Akka.Event;
using SiteRecovery.Actors.ProtectedMachines;
using SiteRecovery.Actors.Sites;
using SiteRecovery.Domain.History;
using SiteRecovery.Domain.Results;

namespace SiteRecovery.Actors.MasterTargets;

/// <summary>On every node of the role, at "/user/master-target": hands work and questions to the machine's store actor.</summary>
public sealed class MasterTargetActor : ReceiveActor, IWithTimers
{
    private static readonly TimeSpan LoadEvery = TimeSpan.FromSeconds(2), LookAgainAfter = TimeSpan.FromSeconds(1);
    private readonly MasterTargetRoom _room;
    private readonly IActorRef _machines, _site;
    private readonly NodeAnnouncement _own;
    private readonly Dictionary<MachineId, StoreReport> _reports = [];
    private Nodes _nodes = Nodes.None;
    private string? _unlisted;

    /// <param name="machines">The machines' shard region or its proxy.</param>
    public MasterTargetActor(MasterTargetRoom room, NodeAnnouncement own, IActorRef machines, IActorRef site)
    {
        (_room, _machines, _site, _own) = (room, machines, site, own);
        Receive<Nodes>(nodes => _nodes = nodes);
        Receive<ReplicateFrom>(w =>
        {
            if (WayOf(w, own) is var (host, port)) StoreOf(w.Machine, own).Forward(new ReplicateReplica(w, host, port));
        });
        Receive<TakeBackTail>(w =>
        {
            if (_nodes.MasterTarget(w.ReplicaSite, w.Replica.Node) is { } node) StoreOf(w.Machine, own).Forward(new TellTail(w, $"{node.Address}/user/{NodeRoles.MasterTarget}"));
        });
        Receive<Work>(work => StoreOf(work.Machine, own).Forward(work));
        Receive<WorkEnded>(ended => StoreOf(ended.Work.Machine, own).Forward(ended));
        Receive<TailFound>(found => StoreOf(found.Machine, own).Forward(found));
        Receive<IForStore>(question => StoreOf(question.Machine, own).Forward(question));
        Receive<StoreReport>(report => _reports[report.Machine] = report);
        Receive<LookForServed>(_ => ServeAgainAll());
        Receive<TellLoad>(_ => site.Tell(new StoresHeld(_reports.Count, _reports.Values.Sum(r => r.Bytes), FreeBytes())));
    }

    public ITimerScheduler Timers { get; set; } = null!;

    public static Props Props(MasterTargetRoom room, NodeAnnouncement own, IActorRef machines, IActorRef site) =>
        Akka.Actor.Props.Create(() => new MasterTargetActor(room, own, machines, site));

    protected override void PreStart()
    {
        Timers.StartPeriodicTimer(nameof(TellLoad), TellLoad.Instance, TimeSpan.Zero, LoadEvery);
        _site.Tell(new SubscribeNodes());
        ServeAgainAll();
    }

    /// <summary>A folder that cannot be listed now is listed later. An actor that fails as it starts is not made again, and its node would do no more work until its process ends.</summary>
    private void ServeAgainAll()
    {
        try
        {
            foreach (var machine in _room.Served.Machines()) StoreOf(machine, _own).Tell(ServeAgain.Instance);
        }
        catch (Exception unlisted) when (unlisted is IOException or UnauthorizedAccessException)
        {
            if (unlisted.Message != _unlisted) Context.GetLogger().Warning("Which replicas were served before cannot be read yet: {0}", _unlisted = unlisted.Message);
            Timers.StartSingleTimer(nameof(LookForServed), LookForServed.Instance, LookAgainAfter);
        }
    }

    /// <summary>Through a process server of this site, rather this node's own; where there is none, straight to the other master target.</summary>
    private (string Host, int Port)? WayOf(ReplicateFrom work, NodeAnnouncement own)
    {
        var processServers = _nodes.Of(NodeRoles.ProcessServer, own.Site).ToArray();
        if ((processServers.FirstOrDefault(n => n.Name == own.Name) ?? processServers.FirstOrDefault()) is { } processServer) return (processServer.Host, processServer.AgentPort);
        return _nodes.MasterTarget(work.TargetSite, work.TargetNode) is { } target ? (target.Host, target.DataPort) : null;
    }

    private IActorRef StoreOf(MachineId machine, NodeAnnouncement own) => Context.Child($"store-{machine}") is { } child && !child.IsNobody() ? child
        : Context.ActorOf(StoreActor.Props(machine, _room, own.Site, _machines), $"store-{machine}");

    /// <summary>A disk that cannot be asked has room for nobody. It is no reason to begin anew, which would end all stores' work.</summary>
    private long FreeBytes()
    {
        try
        {
            return _room.FreeBytes;
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            return 0;
        }
    }

    private sealed class LookForServed
    {
        public static LookForServed Instance { get; } = new();
    }

    private sealed class TellLoad
    {
        public static TellLoad Instance { get; } = new();
    }
}
