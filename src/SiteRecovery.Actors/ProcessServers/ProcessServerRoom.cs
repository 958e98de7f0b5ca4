using System.Net;
using SiteRecovery.Actors.ProtectedMachines;
using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.DataPlane.Capture;
using SiteRecovery.DataPlane.ProcessServer;
using SiteRecovery.DataPlane.Storage;
using SiteRecovery.DataPlane.Transport;
using SiteRecovery.Domain.History;
using SiteRecovery.Domain.ProtectedMachines;
using SiteRecovery.Domain.Results;

namespace SiteRecovery.Actors.ProcessServers;

/// <summary>
/// The process server's part of the data plane, put together: agents' streams → compress → spool → the machine's master target. It belongs
/// to the process and not to the actor system, so that agents and streams go on while the node leaves and rejoins its cluster.
/// </summary>
public sealed class ProcessServerRoom : IAsyncDisposable
{
    private readonly ChannelListener? _listener;
    private readonly Turns<string> _changes = new();

    /// <param name="spoolBytesMax">What may wait on disk, all machines together.</param>
    public ProcessServerRoom(string folder, IPEndPoint listen, long spoolBytesMax, PeerIdentity identity, IFileSystem files, TimeProvider time)
        : this(folder, spoolBytesMax, routes => new Upstreams(routes, identity, new ChannelOptions { Time = time }), files, time)
    {
        var options = new ChannelOptions { Time = time };
        var server = new ChannelServer(Door, options with { LeastWindowBytes = MachineCapture.FrameBytesMax }, Routes.Authorise);
        _listener = new ChannelListener(listen, identity.ForServer(), options, (stream, peer, stop) => server.RunAsync(stream, peer, stop), Sessions.RunAsync);
    }

    /// <summary>Without a listener: whoever makes it brings streams to its door, and control channels to its sessions.</summary>
    internal ProcessServerRoom(string folder, long spoolBytesMax, Func<MachineRoutes, Upstreams> upstreams, IFileSystem files, TimeProvider time)
    {
        files.CreateDirectory(folder);
        Sessions = new AgentSessions(time);
        Routes = new MachineRoutes(Path.Combine(folder, "routes.json"), files);
        Upstreams = upstreams(Routes);
        Spool = new SpoolTarget(new SpoolOptions { Folder = Path.Combine(folder, "spool"), BytesMax = spoolBytesMax }, Upstreams.Of, files, time);
        Door = new CompressingTarget(Spool, Routes.CompressionOf);
    }

    internal IStreamTarget Door { get; }
    public MachineRoutes Routes { get; }
    public Upstreams Upstreams { get; }
    public SpoolTarget Spool { get; }
    public AgentSessions Sessions { get; }

    public void Start() => _listener?.Start();

    /// <summary>Null where nothing of the machine has come by here.</summary>
    public SpoolReport? SpoolReportOf(MachineId machine)
    {
        if (Routes.Find(machine) is null) return null;
        var spool = Spool.StatusOf(machine);
        return new SpoolReport(spool.Bytes, spool.OldestAt, spool.Connected, spool.LastError, Upstreams.ClockOffsetOf(machine));
    }

    /// <summary>Never on the thread of whoever asks. The routes are one file: one at a time, so that a disk that hangs holds no more than a thread.</summary>
    /// <returns>Null: it is durable. Or what came of it: it will be asked for again.</returns>
    public Task<WorkFailed?> RouteAsync(Work work, MachineRoute route) => ChangeRoutesAsync(() =>
    {
        try
        {
            Routes.Set(work.Machine, route);
            return null;
        }
        catch (Exception unsaved)
        {
            return new WorkFailed(work.Machine, new CommandId($"{work.Kind}:{work.Epoch}"), work.Epoch, work.Kind, unsaved.Message, Permanent: false);
        }
    });

    private Task<WorkFailed?> ChangeRoutesAsync(Func<WorkFailed?> change) =>
        Task.Run(() => _changes.TakeAsync(nameof(Routes), () => Task.FromResult(change()), CancellationToken.None));

    /// <summary>Of which something is kept here.</summary>
    public IEnumerable<MachineId> Machines => Routes.Machines.Union(Spool.Machines);

    public bool Keeps(MachineId machine) => Routes.Find(machine) is not null || Spool.Machines.Contains(machine);

    /// <summary>The protection of these epochs has ended: nothing of the machine is kept or sent on, but what a later one has here.</summary>
    public async Task ForgetAsync(MachineId machine, Epoch upTo)
    {
        await ChangeRoutesAsync(() =>
        {
            Routes.Remove(machine, upTo);
            return null;
        });
        await Spool.RemoveAsync(machine, upTo);
    }

    public async ValueTask DisposeAsync()
    {
        if (_listener is not null) await _listener.DisposeAsync();
        await _changes.WhenIdleAsync();
        await Spool.DisposeAsync();
        await Upstreams.DisposeAsync();
    }
}
