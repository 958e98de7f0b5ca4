using System.Net.Sockets;
using SiteRecovery.Agent;
using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.DataPlane.Hypervisors;
using SiteRecovery.DataPlane.Nbd;
using SiteRecovery.DataPlane.Storage;
using SiteRecovery.DataPlane.Transport;
using SiteRecovery.Simulation.World;

namespace SiteRecovery.Simulation.Agents;

/// <summary>One life of an agent's machines on a simulated disk, with a real socket for their guests. No process server is anywhere.</summary>
internal sealed class AgentOnDisk : IAsyncDisposable
{
    internal const string DiskPath = "/disks/a.img", Machine = "db1", Export = "db1.vda", Folder = "/agent/machines/db1";
    internal const int DiskBytes = 64 << 10;
    private readonly string _folder = Directory.CreateTempSubdirectory("sr-agent-").FullName;
    private readonly HashSet<string> _taken = [];
    private readonly NbdServer _nbd;

    /// <param name="isMissing">The disk does not come up with its host.</param>
    internal AgentOnDisk(SimDisk disk, SimClock? clock = null, IHypervisor? hypervisor = null, TextWriter? log = null, bool isMissing = false, IStreamTarget? target = null, DiskFolders? folders = null)
    {
        (Disk, Clock) = (disk, clock ?? new SimClock());
        foreach (var folder in (string[])["/disks", "/agent/machines"]) disk.CreateDirectory(folder);
        if (!isMissing && !disk.Exists(DiskPath))
        {
            using var file = disk.Open(DiskPath, FileOpening.Create);
            file.SetLength(DiskBytes);
            file.Flush();
            disk.FlushFolder("/disks");
        }
        _nbd = new NbdServer(Exports, new NbdServerOptions(), Clock);
        _nbd.Listen(new UnixDomainSocketEndPoint(Socket));
        Host = new AgentHost("/agent", Socket, disk, Clock, Exports, _nbd, target ?? new NoTarget(), hypervisor)
        {
            TakeDisk = path => _taken.Add(path) ? new Taken(() => _taken.Remove(path)) : null, Log = log ?? Log, DiskFolders = folders,
        };
        Machines = new AgentMachines(Host, AgentOptions.AskAfterBootDefault);
    }

    internal SimDisk Disk { get; }
    internal SimClock Clock { get; }
    internal AgentHost Host { get; }
    internal AgentMachines Machines { get; }
    internal NbdExports Exports { get; } = new();
    internal StringWriter Log { get; } = new();
    private string Socket => Path.Combine(_folder, "nbd.sock");

    internal static ProtectMachine Protection(int epoch = 1, string disk = DiskPath, string machine = Machine) => new() { Id = $"{epoch}", Machine = machine, Epoch = epoch, Disks = [new DiskAssignment(0, "vda", disk)], Protection = epoch, Fresh = true };

    /// <summary>What the agent answers.</summary>
    internal async Task<CommandDone> TellAsync(AgentMessage order) => (CommandDone)(await Machines.AnswerAsync(order, CancellationToken.None))!;

    internal async Task ObeyedAsync(AgentMessage order) => Assert.Null((await TellAsync(order)).Error);

    internal Task<NbdClient> OpenGuestAsync(string export = Export) => NbdClient.ConnectAsync(new UnixDomainSocketEndPoint(Socket), export, CancellationToken.None);

    /// <summary>Another program opens the disk, or lets go of it.</summary>
    internal void TakeElsewhere() => Assert.True(_taken.Add(DiskPath));

    internal void LetGoElsewhere() => _taken.Remove(DiskPath);

    /// <summary>Time passes until it is so.</summary>
    internal async Task UntilAsync(Func<bool> holds)
    {
        using var limit = new CancellationTokenSource(TimeSpan.FromSeconds(30));
        while (!holds())
        {
            while (Clock.Next(Clock.Elapsed + TimeSpan.FromMilliseconds(100)))
            {
                // Whatever is due.
            }
            await Task.Delay(1, limit.Token);
        }
    }

    /// <summary>It ends well.</summary>
    public async ValueTask DisposeAsync()
    {
        await Machines.EndAsync();
        await _nbd.DisposeAsync();
        await Machines.DisposeAsync();
        Directory.Delete(_folder, recursive: true);
    }

    private sealed class Taken(Action release) : IDisposable
    {
        public void Dispose() => release();
    }

    private sealed class NoTarget : IStreamTarget
    {
        public ValueTask<IStreamSession> OpenAsync(StreamOpening opening, IPositionListener positions, CancellationToken stop) => throw new IOException("nobody is there");
    }
}
