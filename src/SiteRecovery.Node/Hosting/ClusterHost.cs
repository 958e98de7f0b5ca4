using System.Security.Cryptography.X509Certificates;
using Akka.Actor;
using Akka.Configuration;
using SiteRecovery.Actors;
using SiteRecovery.Actors.MasterTargets;
using SiteRecovery.Actors.ProcessServers;
using SiteRecovery.Actors.Sites;
using SiteRecovery.DataPlane.Transport;
using SiteRecovery.Node.Http;
using SiteRecovery.Node.Identity;
using SiteRecovery.Node.Settings;

namespace SiteRecovery.Node.Hosting;

/// <summary>The parts of the data plane that this node's roles need; null where it has not the role.</summary>
public sealed record DataPlaneRooms(ProcessServerRoom? ProcessServer, MasterTargetRoom? MasterTarget);

/// <summary>
/// The node's actor system, in a host of its own: when the split-brain resolver takes it out, a new one is made that joins again,
/// while the HTTP endpoint and the data plane's rooms go on.
/// </summary>
/// <param name="onNameTaken">Told why the node must end: see <see cref="NameWatch"/>.</param>
public sealed class ClusterHost(
    NodeSettings settings, NodePorts ports, NodeIdentity identity, NodeAnnouncement own, Config hocon, DataFolder folder, DataPlaneRooms rooms,
    ILoggerFactory loggers, Action<string> onNameTaken, TimeProvider time) : IAsyncDisposable
{
    private static readonly TimeSpan RestartPause = TimeSpan.FromSeconds(1);
    /// <summary>A node that is never restarted does what a restart would have done.</summary>
    private static readonly TimeSpan ShownLeft = TimeSpan.FromDays(30), ShownLeftAtLeast = TimeSpan.FromDays(3);
    private readonly CancellationTokenSource _stop = new();
    private readonly ILogger _log = loggers.CreateLogger<ClusterHost>();
    private volatile Running? _running;
    private Task _keeping = Task.CompletedTask;
    private Running? _told;

    /// <param name="Shown">Its certificate, for as long as it lives: Akka.Remote takes no other.</param>
    private sealed record Running(IHost Host, ActorSystem System, HeldShutdown Shutdown, X509Certificate2 Shown);

    /// <exception cref="ProblemException">There is none at the moment: it ended, and is being started anew.</exception>
    public ActorSystem System => _running is { System: { WhenTerminated.IsCompleted: false } system } ? system
        : throw new ProblemException(503, "notReady", "The node is starting its part of the cluster anew.", "Try again in a moment.");

    public async Task StartAsync(CancellationToken cancel)
    {
        _running = await StartHostAsync(cancel);
        _keeping = KeepAsync(_running);
    }

    private async Task<Running> StartHostAsync(CancellationToken cancel)
    {
        var (shutdown, shown) = (new HeldShutdown(), identity.Peer.Certificate);
        var builder = Host.CreateEmptyApplicationBuilder(null);
        builder.Services.AddSingleton(loggers).AddSingleton<IHostLifetime, NoLifetime>();
        builder.Services.AddCluster(settings, ports, identity, Seeds(), hocon, folder.In("journal.db"), akka =>
        {
            shutdown.AddTo(akka);
            akka.AddSiteRecoveryNode(own, time).WithSeedKeeper(folder).WithNameWatch(own, onNameTaken);
            if (!own.Has(NodeRoles.ConfigurationServer)) akka.WithClusterWatch(settings, Seeds(), shutdown);
            if (rooms.ProcessServer is { } processServer) akka.AddProcessServer(processServer, time);
            if (rooms.MasterTarget is { } masterTarget) akka.AddMasterTarget(masterTarget, own);
        });
        var host = builder.Build();
        try
        {
            await host.StartAsync(cancel);
            return new Running(host, host.Services.GetRequiredService<ActorSystem>(), shutdown, shown);
        }
        catch
        {
            // Half started it would go on, and hold the port.
            shutdown.Release();
            host.Dispose();
            throw;
        }
    }

    /// <summary>The node has looked at its certificate: where it has another one than its actor system, that is started anew before the old one ends.</summary>
    public void ShowCertificate()
    {
        if (_running is not { } running || running.Shown.Equals(identity.Peer.Certificate)) return;
        var ends = new DateTimeOffset(running.Shown.NotAfter);
        var left = ends - time.GetUtcNow();
        // Whoever is alone might not find the others again, and a failover would wait for that.
        if (left < ShownLeft && left > ShownLeftAtLeast && Akka.Cluster.Cluster.Get(running.System).State.Unreachable.Count > 0) return;
        if (left < ShownLeft)
        {
            _log.LogWarning("the actor system starts anew with the renewed certificate, as the one that it shows the cluster ends on {Day}", CertificateOutOfTimeException.Day(ends));
            running.Shutdown.Begin(running.System, new CertificateRenewed());
        }
        else if (_told != running)
        {
            _told = running;
            _log.LogWarning("the actor system shows the cluster the certificate that ends on {Day} until it starts anew: with the next restart of this node, or by itself on {Then}",
                CertificateOutOfTimeException.Day(ends), CertificateOutOfTimeException.Day(ends - ShownLeft));
        }
    }

    private async Task KeepAsync(Running running)
    {
        while (true)
        {
            await running.System.WhenTerminated;
            if (_stop.IsCancellationRequested) return;
            _log.LogWarning("the actor system has ended, most likely because its side of a partition was taken down or it found no configuration server; it starts anew and joins again");
            await StopHostAsync(running);
            if (await StartAgainAsync() is not { } again) return;
            if (_stop.IsCancellationRequested) await StopHostAsync(again);
            _running = running = again;
        }
    }

    /// <summary>Tries until it succeeds; null where the node ends.</summary>
    private async Task<Running?> StartAgainAsync()
    {
        while (true)
        {
            try
            {
                await Task.Delay(RestartPause, time, _stop.Token);
                return await StartHostAsync(_stop.Token);
            }
            catch (Exception) when (_stop.IsCancellationRequested)
            {
                return null;
            }
            catch (Exception error)
            {
                _log.LogError(error, "the actor system did not start; trying again");
            }
        }
    }

    /// <summary>The first node of a cluster begins one by itself where nobody else answers; a node that joined never does.</summary>
    private IReadOnlyList<string> Seeds()
    {
        var known = SeedKeeper.Read(folder).Where(a => a != own.Address);
        return identity.SeedNodes.Count > 0 ? [.. identity.SeedNodes.Union(known)] : [own.Address, .. known];
    }

    private async Task StopHostAsync(Running running)
    {
        running.Shutdown.Release();
        try
        {
            await running.Host.StopAsync(CancellationToken.None);
        }
        catch (Exception error)
        {
            // Whatever it was, a new one is to be started.
            _log.LogError(error, "the actor system did not stop cleanly");
        }
        running.Host.Dispose();
    }

    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        if (_running is { System.WhenTerminated.IsCompleted: false } running) await StopHostAsync(running);
        await _keeping.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        _stop.Dispose();
    }

    private sealed class CertificateRenewed : CoordinatedShutdown.Reason
    {
        public override int ExitCode => 0; // Nothing exits.
        public override string ToString() => "the node's certificate was renewed";
    }

    /// <summary>Signals are for the node's own host.</summary>
    private sealed class NoLifetime : IHostLifetime
    {
        public Task WaitForStartAsync(CancellationToken cancellationToken) => Task.CompletedTask;
        public Task StopAsync(CancellationToken cancellationToken) => Task.CompletedTask;
    }
}
