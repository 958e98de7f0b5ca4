using System.Collections.Immutable;
using Akka.Actor;
using Akka.Configuration;
using SiteRecovery.Actors.Configuration;
using SiteRecovery.Actors.MasterTargets;
using SiteRecovery.Actors.ProcessServers;
using SiteRecovery.Actors.ProtectedMachines;
using SiteRecovery.Actors.Serialization;
using SiteRecovery.Actors.Sites;
using SiteRecovery.Domain.History;
using SiteRecovery.Domain.ProtectedMachines;
using SiteRecovery.Domain.Results;
using SiteRecovery.Domain.Vaults;
using SiteRecovery.Simulation.World;

namespace SiteRecovery.Simulation.Control;

/// <summary>
/// The actors of all nodes, in one actor system on virtual time: the real machine, router, process server, master targets and stores. Between nodes of different sites couriers
/// carry their messages. The journal is the configuration server's database: it survives it, and takes nothing at times.
/// </summary>
internal sealed class SimControl
{
    private static readonly Config Settings = ConfigurationFactory.ParseString($$"""
        akka.loglevel = OFF
        akka.stdout-loglevel = OFF
        akka.loggers = []
        akka.log-dead-letters = off
        akka.scheduler.implementation = "{{typeof(SimAkkaScheduler).AssemblyQualifiedName}}"
        akka.actor.default-dispatcher.executor = "thread-pool-executor"
        akka.actor.internal-dispatcher.executor = "thread-pool-executor"
        akka.actor.serialize-messages = off
        # It would wait on virtual time, which has ended by then, and hold every run in memory until then.
        akka.coordinated-shutdown.run-by-clr-shutdown-hook = off
        akka.coordinated-shutdown.run-by-actor-system-terminate = off
        akka.persistence.journal.plugin = "akka.persistence.journal.inmem"
        akka.persistence.journal.inmem.class = "{{typeof(SimJournal).AssemblyQualifiedName}}"
        akka.persistence.snapshot-store.plugin = "akka.persistence.snapshot-store.inmem"
        """);
    private const int SeedsPerSerialized = 4;
    private readonly SimSites _sites;
    private readonly ActorSystem _system;
    private readonly Dictionary<string, IActorRef> _rooms = [];
    private readonly IActorRef _eye, _directory;
    private readonly Dictionary<MachineId, IActorRef> _machines = [];
    private readonly Dictionary<MachineId, ProtectedMachine> _states = [];
    private IActorRef? _router;
    private readonly Func<object, object>? _wire;
    private int _lives, _starts, _kept;

    private SimControl(SimSites sites, ActorSystem system)
    {
        (_sites, _system) = (sites, system);
        // The same run comes of it, a second later.
        if (sites.Script.Seed % SeedsPerSerialized == 0)
        {
            var wire = new MessageSerializer((ExtendedActorSystem)system);
            _wire = message => Heeded(() => wire.FromBinary(wire.ToBinary(message), wire.Manifest(message)));
        }
        var rows = new EventSerializer((ExtendedActorSystem)system);
        Journal.AsRead = written => Heeded(() => rows.FromBinary(rows.ToBinary(written), rows.Manifest(written)));
        Nodes = new Nodes([.. sites.Relays.Select(r => NodeOf(r.Name, SimSites.Primary, NodeRoles.ProcessServer)), NodeOf("source", SimSites.Primary, NodeRoles.MasterTarget), NodeOf("target", SimSites.Secondary, NodeRoles.MasterTarget)]);
        _eye = system.ActorOf(Props.Create(() => new Eye(this)), "eye");
        _directory = system.ActorOf(Props.Create(() => new Directory(Nodes, sites.Relays.Count > 1)), "directory");
        foreach (var node in Nodes.All) system.ActorOf(FolderOf("user", RoleOf(node)), node.Name);
    }

    internal Nodes Nodes { get; }

    /// <summary>A machine's state as it was last looked at; null before that.</summary>
    internal ProtectedMachine? StateOf(MachineId machine) => _states.GetValueOrDefault(machine);

    /// <summary>On a thread of its own: the start of an actor system waits for what runs on the pool.</summary>
    internal static async Task<SimControl> StartAsync(SimSites sites)
    {
        var system = await Task.Factory.StartNew(() => SimAkkaScheduler.With(sites.Clock, () => ActorSystem.Create("sim", Settings)), CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default).ConfigureAwait(false);
        await Task.Yield(); // back to the pool
        return new SimControl(sites, system);
    }

    /// <summary>How often it was started, or its database failed.</summary>
    internal int Disturbed => _starts + Journal.Felt;

    /// <summary>How the configuration server's database is.</summary>
    internal SimJournal.Mood Journal => SimJournal.MoodOf(_system);

    /// <summary>The configuration server is up: its machines recover from the journal. Nothing happens where it is.</summary>
    internal void StartConfiguration(TimeProvider clock)
    {
        if (_router is not null || _kept > 0) return;
        _starts++;
        var life = ++_lives;
        var networks = _system.ActorOf(Props.Create(() => new Networks()), $"networks-{life}");
        var router = _router = _system.ActorOf(WorkRouterActor.Props(_directory, networks), $"work-router-{life}");
        foreach (var machine in _sites.Machines)
        {
            var actor = ProtectedMachineActor.Props(machine.Id, router, clock);
            _machines[machine.Id] = _system.ActorOf(Props.Create(() => new SimShard(actor)), $"{machine.Id}-{life}");
        }
    }

    /// <summary>Nobody would hear of an actor that fails by itself.</summary>
    private object Heeded(Func<object> read)
    {
        try
        {
            return read();
        }
        catch (Exception unreadable)
        {
            _sites.Heed(Task.FromException(unreadable));
            throw;
        }
    }

    /// <summary>Its process has died alone, and does not come up, with its host neither, until this ends.</summary>
    internal void KeepDown(bool begins)
    {
        _kept = Math.Max(0, _kept + (begins ? 1 : -1));
        if (begins) StopConfiguration();
    }

    /// <summary>Nothing keeps it from coming up any more.</summary>
    internal void LetCome() => _kept = 0;

    internal void StopConfiguration()
    {
        foreach (var machine in _machines.Values) _system.Stop(machine);
        if (_router is not null) _system.Stop(_router);
        _machines.Clear();
        _states.Clear();
        _router = null;
    }

    internal void Start(string node, MasterTargetRoom room) => _rooms[node] = _system.ActorOf(MasterTargetActor.Props(room, Nodes.All.First(n => n.Name == node), MachinesFrom(node), _directory), $"{node}-room-{++_lives}");

    internal void Start(string node, ProcessServerRoom room, TimeProvider clock) => _rooms[node] = _system.ActorOf(ProcessServerActor.Props(room, MachinesFrom(node), SiteOf(node), clock), $"{node}-room-{++_lives}");

    internal void Stop(string node)
    {
        if (_rooms.Remove(node, out var room)) _system.Stop(room);
        _directory.Tell(new Announced(node, new AgentsConnected([])), _eye);
    }

    internal void Tell(MachineCommand command) => MachineOf(command)?.Tell(command, _eye);

    /// <summary>Its answer is there when everything that can run now has run.</summary>
    internal void Look(MachineId machine) => _machines.GetValueOrDefault(machine)?.Tell(new GetMeasuredMachine(machine), _eye);

    internal void End() => _ = _system.Terminate();

    private IActorRef? MachineOf(object message) => message is IForMachine { Machine: var machine } ? _machines.GetValueOrDefault(machine) : null;

    /// <summary>Of several process servers the cluster hears which one the agent speaks with.</summary>
    private IActorRef SiteOf(string node) => _sites.Relays.Count == 1 ? _directory : _system.ActorOf(Props.Create(() => new Site(node, _directory)), $"{node}-site-{_lives}");

    private IActorRef MachinesFrom(string node) => _system.ActorOf(CourierOf(MachineOf, () => _sites.Wan.LagOf(node != "target", toSecondary: true)), $"{node}-to-machines-{_lives}");

    private Props RoleOf(NodeAnnouncement node) =>
        FolderOf(node.Roles[0], CourierOf(_ => _rooms.GetValueOrDefault(node.Name), () => _sites.Wan.LagOf(node.Name != "target", toSecondary: false)));

    private static Props FolderOf(string name, Props child)
    {
        var children = new Dictionary<string, Props> { [name] = child };
        return Props.Create(() => new SimFolder(children));
    }

    private Props CourierOf(Func<object, IActorRef?> to, Func<TimeSpan?> lag)
    {
        var clock = _sites.Clock;
        Func<bool> mixes = () => _sites.Wan.Mixes;
        var wire = _wire;
        return Props.Create(() => new SimCourier(to, lag, mixes, clock, wire));
    }

    private static NodeAnnouncement NodeOf(string name, SiteName site, string role) =>
        new(name, $"akka://sim/user/{name}", site, [role], name, "", 1, 2, name == "relay" ? [SimSites.Agent] : [], StoresHeld.None);

    /// <summary>Whoever asks in the operator's name.</summary>
    private sealed class Eye : ReceiveActor
    {
        public Eye(SimControl control)
        {
            Receive<MeasuredMachine>(m =>
            {
                control._states[m.State.Id] = m.State;
                control._sites.Measured(m);
            });
            ReceiveAny(_ => { });
        }
    }

    private sealed record Announced(string Node, AgentsConnected Connected) : INoSerializationVerificationNeeded;

    private sealed class Site : ReceiveActor
    {
        public Site(string node, IActorRef directory)
        {
            Receive<AgentsConnected>(connected => directory.Tell(new Announced(node, connected)));
            ReceiveAny(directory.Forward);
        }
    }

    /// <summary>All nodes are members, always: what cannot be reached is the couriers' affair.</summary>
    private sealed class Directory : ReceiveActor
    {
        public Directory(Nodes nodes, bool hearsOfAgents)
        {
            var subscribers = new HashSet<IActorRef>();
            Receive<SubscribeNodes>(_ =>
            {
                subscribers.Add(Sender);
                Sender.Tell(nodes);
            });
            Receive<Announced>(told =>
            {
                if (!hearsOfAgents || nodes.All.First(n => n.Name == told.Node).Agents.SequenceEqual(told.Connected.Agents)) return;
                nodes = new Nodes([.. nodes.All.Select(n => n.Name == told.Node ? n with { Agents = told.Connected.Agents } : n)]);
                foreach (var subscriber in subscribers) subscriber.Tell(nodes);
            });
            ReceiveAny(_ => { });
        }
    }

    private sealed class Networks : ReceiveActor
    {
        public Networks() => Receive<PlanNetworks>(q => Sender.Tell(new NetworksPlanned(q.Work, q.Ended)));
    }
}
