using System.Collections.Concurrent;
using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.DataPlane.Transport;
using SiteRecovery.Domain.History;

namespace SiteRecovery.DataPlane.ProcessServer;

/// <summary>One connection per master target, shared by all machines whose route leads there.</summary>
public sealed class Upstreams(MachineRoutes routes, Func<string, int, IStreamTarget> way) : IAsyncDisposable
{
    private readonly ConcurrentDictionary<(string Host, int Port), Lazy<IStreamTarget>> _clients = new();

    public Upstreams(MachineRoutes routes, PeerIdentity identity, ChannelOptions options) : this(routes, (host, port) =>
        new ChannelClient(async stop => await ChannelConnector.ConnectAsync(host, port, identity.ForClient(host), stop, options).ConfigureAwait(false), options))
    {
    }

    /// <summary>Null while the machine's master target is not known.</summary>
    public IStreamTarget? Of(MachineId machine) => routes.Find(machine) is { TargetHost: { } host } route ? ClientOf(host, route.TargetPort) : null;

    /// <summary>The other end's clock minus ours, for the machine's master target.</summary>
    public TimeSpan? ClockOffsetOf(MachineId machine) => (Of(machine) as ChannelClient)?.PeerClockOffset;

    private IStreamTarget ClientOf(string host, int port) => _clients.GetOrAdd((host, port), _ => new Lazy<IStreamTarget>(() => way(host, port))).Value;

    public async ValueTask DisposeAsync()
    {
        foreach (var client in _clients.Values)
            if (client.Value is IAsyncDisposable channel) await channel.DisposeAsync().ConfigureAwait(false);
    }
}
