using SiteRecovery.Actors.MasterTargets;
using SiteRecovery.Actors.ProcessServers;
using SiteRecovery.DataPlane.ProcessServer;
using SiteRecovery.DataPlane.Retention;

namespace SiteRecovery.Simulation.World;

/// <summary>The host of the process server, in the primary site.</summary>
internal sealed class SimRelay(SimClock time, Random random, SimSites sites) : SimHost("relay", time, random)
{
    internal const long SpoolBytesMax = 4 << 20;
    private ProcessServerRoom? _ending;
    private CancellationTokenSource _life = new();

    internal ProcessServerRoom? Room { get; private set; }
    /// <summary>Of its process.</summary>
    internal CancellationToken Life => _life.Token;

    protected override Task RunAsync()
    {
        _life = new CancellationTokenSource();
        var life = Lives;
        var room = new ProcessServerRoom("/relay", SpoolBytesMax, routes => new Upstreams(routes, (host, _) => sites.WayOf(this, host)), Disk, Clock);
        if (life != Lives) return DiedAsync(room);
        Room = room;
        sites.Control.Start(Name, Room, Clock);
        return Task.CompletedTask;
    }

    protected override void Cut()
    {
        (_ending, Room) = (Room, null);
        sites.FromAgent.EndFar("the process server has ended");
        sites.FromSource.EndFar("the process server has ended");
        sites.ToTarget.Drop("the process server has ended");
        sites.Near.Dropped?.Invoke("the process server has ended");
        sites.Control.Stop(Name);
    }

    protected override async Task EndAsync()
    {
        await _life.CancelAsync();
        if (_ending is not null) await _ending.DisposeAsync();
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
        sites.ToTarget.EndFar("the master target has ended");
        sites.Back.Drop("the master target has ended");
        sites.Control.Stop(Name);
        sites.Control.StopConfiguration();
    }

    protected override async Task EndAsync()
    {
        if (_ending is not null) await _ending.DisposeAsync();
    }
}
