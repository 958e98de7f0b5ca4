using System.Net;
using SiteRecovery.Actors.ProtectedMachines;
using SiteRecovery.DataPlane.ProcessServer;
using SiteRecovery.DataPlane.Storage;
using SiteRecovery.DataPlane.Transport;
using SiteRecovery.Domain.History;

namespace SiteRecovery.Actors.ProcessServers;

/// <summary>
/// The process server's part of the data plane, put together: agents' streams → compress → the machine's master target. It belongs
/// to the process and not to the actor system, so that agents and streams go on while the node leaves and rejoins its cluster.
/// </summary>
public sealed class ProcessServerRoom : IAsyncDisposable
{
    private readonly ChannelListener _listener;

    public ProcessServerRoom(string folder, IPEndPoint listen, PeerIdentity identity, IFileSystem files, TimeProvider time)
    {
        files.CreateDirectory(folder);
        var options = new ChannelOptions { Time = time };
        Routes = new MachineRoutes(Path.Combine(folder, "routes.json"), files);
        Upstreams = new Upstreams(Routes, identity, options);
        var server = new ChannelServer(new CompressingTarget(new RoutedTarget(Upstreams.Of), Routes.CompressionOf), options, Routes.Authorise);
        _listener = new ChannelListener(listen, identity.ForServer(), options, (stream, peer, stop) => server.RunAsync(stream, peer, stop), Sessions.RunAsync);
    }

    public MachineRoutes Routes { get; }
    public Upstreams Upstreams { get; }
    public AgentSessions Sessions { get; } = new();

    public void Start() => _listener.Start();

    /// <summary>Null where nothing of the machine has come by here.</summary>
    public SpoolReport? SpoolReportOf(MachineId machine) => Routes.Find(machine) is null ? null : new SpoolReport(0, null, true, null, Upstreams.ClockOffsetOf(machine));

    /// <summary>Protection has ended: nothing of the machine is kept or sent on.</summary>
    public Task ForgetAsync(MachineId machine)
    {
        Routes.Remove(machine);
        return Task.CompletedTask;
    }

    public async ValueTask DisposeAsync()
    {
        await _listener.DisposeAsync();
        await Upstreams.DisposeAsync();
    }
}
