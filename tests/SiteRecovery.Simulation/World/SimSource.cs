using SiteRecovery.Actors.MasterTargets;
using SiteRecovery.DataPlane.ProcessServer;
using SiteRecovery.DataPlane.Storage;
using SiteRecovery.Domain.History;
using SiteRecovery.Simulation.Control;

namespace SiteRecovery.Simulation.World;

/// <summary>The protected machines' host in the primary site: their disks and their agent; and a master target beside them, for the way back.</summary>
internal sealed class SimSource : SimHost
{
    internal const int DiskBytes = 512 << 10, DiskCount = 2;
    private readonly SimSites _sites;
    private CancellationTokenSource _life = new();
    private SimAgent? _ending;
    private MasterTargetRoom? _endingRoom;

    /// <param name="former">What the disks hold from before the protection; null: zeroes.</param>
    internal SimSource(SimClock time, Random random, SimSites sites, Random? former, int machines) : base("source", time, random)
    {
        _sites = sites;
        Disk.CreateDirectory("/disks");
        for (var disk = 0; disk < DiskCount * machines; disk++)
        {
            using var file = Disk.Open($"/disks/db{disk / DiskCount + 1}-{disk % DiskCount}.img", FileOpening.Create);
            file.SetLength(DiskBytes);
            if (former is not null) file.Write(0, ContentOf(former));
            file.Flush();
        }
        Disk.FlushFolder("/disks");
    }

    private static byte[] ContentOf(Random former)
    {
        var content = new byte[DiskBytes];
        former.NextBytes(content);
        return content;
    }

    internal SimAgent? Agent { get; private set; }
    internal MasterTargetRoom? Room { get; private set; }

    protected override async Task RunAsync()
    {
        _life = new CancellationTokenSource();
        var (agent, life) = (new SimAgent(this, _sites, _life.Token), Lives);
        Agent = agent;
        await agent.StartAsync();
        if (life != Lives) return;
        Room = new MasterTargetRoom("/target", routes => new Upstreams(routes, (host, _) => _sites.WayOf(this, host)), Disk, Clock, options: _sites.StoresOf(this)) { ReplicaBufferBytes = SimSites.BufferBytes };
        _sites.LookAtStart();
        if (life != Lives) return;
        _sites.Control.Start(Name, Room);
    }

    protected override void Cut()
    {
        (_ending, _endingRoom, Agent, Room) = (Agent, Room, null, null);
        _sites.Near.Drop("the agent's host has ended");
        _sites.Back.EndFar("the master target has ended");
        _sites.Control.Stop(Name);
    }

    protected override async Task EndAsync(bool itself)
    {
        var (agent, room) = (_ending, _endingRoom);
        await _life.CancelAsync();
        if (agent is not null) await agent.DisposeAsync();
        if (room is not null) await room.DisposeAsync();
    }

    internal static string PathOf(MachineId machine, int disk) => $"/disks/{machine}-{disk}.img";
}
