using SiteRecovery.Actors.MasterTargets;
using SiteRecovery.Actors.ProcessServers;
using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.DataPlane.ProcessServer;
using SiteRecovery.DataPlane.Transport;

namespace SiteRecovery.Simulation.World;

/// <summary>The host of a process server, in the primary site, and the ways that lead over it.</summary>
internal sealed class SimRelay : SimHost
{
    internal const long SpoolBytesMax = 4 << 20;
    private readonly SimSites _sites;
    private ProcessServerRoom? _ending;
    private CancellationTokenSource _life = new();

    /// <param name="links">The first of three seeds.</param>
    internal SimRelay(string name, SimClock time, Random random, SimSites sites, int links) : base(name, time, random)
    {
        _sites = sites;
        FromAgent = sites.LinkOver(sites.Near, () => DoorFor(new Peer(SimSites.Agent.Value, PeerRole.Agent)), links);
        FromSource = sites.LinkOver(sites.Near, () => DoorFor(new Peer("source", PeerRole.Node)), links + 1);
        ToTarget = sites.LinkOver(sites.Wan, () => sites.Target.Room?.Stores, links + 2);
    }

    internal SimLink FromAgent { get; }
    internal SimLink FromSource { get; }
    internal SimLink ToTarget { get; }
    /// <summary>Conversations that are no streams; told that they are over.</summary>
    internal Action<string>? Dropped { get; set; }
    internal ProcessServerRoom? Room { get; private set; }
    /// <summary>Of its process.</summary>
    internal CancellationToken Life => _life.Token;

    protected override Task RunAsync()
    {
        _life = new CancellationTokenSource();
        var life = Lives;
        var room = new ProcessServerRoom("/relay", SpoolBytesMax, routes => new Upstreams(routes, (host, _) => _sites.WayOf(this, host)), Disk, Clock);
        if (life != Lives) return DiedAsync(room);
        Room = room;
        _sites.Control.Start(Name, Room, Clock);
        return Task.CompletedTask;
    }

    protected override void Cut()
    {
        (_ending, Room) = (Room, null);
        FromAgent.EndFar("the process server has ended");
        FromSource.EndFar("the process server has ended");
        ToTarget.Drop("the process server has ended");
        Dropped?.Invoke("the process server has ended");
        _sites.Control.Stop(Name);
    }

    protected override async Task EndAsync(bool itself)
    {
        var room = _ending;
        await _life.CancelAsync();
        if (room is not null) await room.DisposeAsync();
    }

    private IStreamTarget? DoorFor(Peer peer) => Room is { } room ? new Door(room, peer) : null;

    /// <summary>It lets in whom its routes know.</summary>
    private sealed class Door(ProcessServerRoom room, Peer peer) : IStreamTarget
    {
        public ValueTask<IStreamSession> OpenAsync(StreamOpening opening, IPositionListener positions, CancellationToken stop) =>
            room.Routes.Authorise(peer, opening) is { } refusal ? throw new IOException(refusal) : room.Door.OpenAsync(opening, positions, stop);
    }
}

/// <summary>The host of the secondary site: its master target, and the configuration server.</summary>
internal sealed class SimTarget(SimClock time, Random random, SimSites sites) : SimHost("target", time, random)
{
    private MasterTargetRoom? _ending;

    internal MasterTargetRoom? Room { get; private set; }

    protected override Task RunAsync()
    {
        var life = Lives;
        var room = new MasterTargetRoom("/target", routes => new Upstreams(routes, (host, _) => sites.WayOf(this, host)), Disk, Clock, options: sites.StoresOf(this)) { ReplicaBufferBytes = SimSites.BufferBytes };
        if (life != Lives) return DiedAsync(room);
        Room = room;
        sites.LookAtStart();
        if (life != Lives) return DiedAsync(room);
        sites.Control.Start(Name, room);
        sites.Control.StartConfiguration(Clock);
        return Task.CompletedTask;
    }

    protected override void Cut()
    {
        (_ending, Room) = (Room, null);
        foreach (var relay in sites.Relays) relay.ToTarget.EndFar("the master target has ended");
        sites.Back.Drop("the master target has ended");
        sites.Control.Stop(Name);
        sites.Control.StopConfiguration();
    }

    protected override async Task EndAsync(bool itself)
    {
        if (_ending is not null) await _ending.DisposeAsync();
    }
}
