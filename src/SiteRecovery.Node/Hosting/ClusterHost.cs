using Akka.Actor;
using Akka.Configuration;
using SiteRecovery.Actors;
using SiteRecovery.Actors.MasterTargets;
using SiteRecovery.Actors.ProcessServers;
using SiteRecovery.Actors.Sites;
using SiteRecovery.Node.Identity;
using SiteRecovery.Node.Settings;

namespace SiteRecovery.Node.Hosting;

/// <summary>The parts of the data plane that this node's roles need; null where it has not the role.</summary>
public sealed record DataPlaneRooms(ProcessServerRoom? ProcessServer, MasterTargetRoom? MasterTarget);

/// <summary>
/// The node's actor system, in a host of its own: when the split-brain resolver takes it out, a new one is made that joins again,
/// while the HTTP endpoint and the data plane's rooms go on.
/// </summary>
public sealed class ClusterHost(
    NodeSettings settings, NodePorts ports, NodeIdentity identity, NodeAnnouncement own, Config hocon, DataFolder folder, DataPlaneRooms rooms,
    ILoggerFactory loggers, TimeProvider time) : IAsyncDisposable
{
    private static readonly TimeSpan RestartPause = TimeSpan.FromSeconds(1);
    private readonly CancellationTokenSource _stop = new();
    private volatile IHost? _host;
    private Task _keeping = Task.CompletedTask;

    public ActorSystem System => _host?.Services.GetRequiredService<ActorSystem>() ?? throw new InvalidOperationException("the actor system is not started");

    public async Task StartAsync(CancellationToken cancel)
    {
        await StartHostAsync(cancel);
        _keeping = KeepAsync();
    }

    private async Task StartHostAsync(CancellationToken cancel)
    {
        var builder = Host.CreateEmptyApplicationBuilder(null);
        builder.Services.AddSingleton(loggers).AddSingleton<IHostLifetime, NoLifetime>();
        builder.Services.AddCluster(settings, ports, identity, Seeds(), hocon, folder.In("journal.db"), akka =>
        {
            akka.AddSiteRecoveryNode(own, time).WithSeedKeeper(folder);
            if (rooms.ProcessServer is { } processServer) akka.AddProcessServer(processServer, time);
            if (rooms.MasterTarget is { } masterTarget) akka.AddMasterTarget(masterTarget);
        });
        var host = builder.Build();
        await host.StartAsync(cancel);
        _host = host;
    }

    private async Task KeepAsync()
    {
        var log = loggers.CreateLogger<ClusterHost>();
        while (true)
        {
            await System.WhenTerminated;
            if (_stop.IsCancellationRequested) return;
            log.LogWarning("the actor system has ended, most likely because its side of a partition was taken down; it starts anew and joins again");
            try
            {
                await StopHostAsync();
                await Task.Delay(RestartPause, time, _stop.Token);
                await StartHostAsync(_stop.Token);
            }
            catch (OperationCanceledException) when (_stop.IsCancellationRequested)
            {
                return;
            }
            catch (Exception error)
            {
                log.LogError(error, "the actor system did not start; trying again");
            }
        }
    }

    /// <summary>The first node of a cluster begins one by itself where nobody else answers; a node that joined never does.</summary>
    private IReadOnlyList<string> Seeds()
    {
        var known = SeedKeeper.Read(folder).Where(a => a != own.Address);
        return identity.SeedNodes.Count > 0 ? [.. identity.SeedNodes.Union(known)] : [own.Address, .. known];
    }

    private async Task StopHostAsync()
    {
        if (_host is not { } host) return;
        await host.StopAsync(CancellationToken.None);
        host.Dispose();
    }

    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        await StopHostAsync();
        await _keeping.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        _stop.Dispose();
    }

    /// <summary>Signals are for the node's own host.</summary>
    private sealed class NoLifetime : IHostLifetime
    {
        public Task WaitForStartAsync(CancellationToken cancellationToken) => Task.CompletedTask;
        public Task StopAsync(CancellationToken cancellationToken) => Task.CompletedTask;
    }
}
