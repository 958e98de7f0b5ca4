using System.Net;
using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.DataPlane.MasterTarget;
using SiteRecovery.DataPlane.ProcessServer;
using SiteRecovery.DataPlane.Storage;
using SiteRecovery.DataPlane.Transport;
using SiteRecovery.Domain.History;

namespace SiteRecovery.Node.Bench;

/// <summary>Everything behind the wire: TLS listener, and behind it compression and stores under a folder, or another target.</summary>
public sealed class ReceivingSide : IAsyncDisposable
{
    private readonly ChannelListener _listener;
    private readonly StoreReceiver? _stores;

    public ReceivingSide(string root, PeerIdentity identity, PayloadCompression compression)
        : this(new StoreReceiver(root, RealFileSystem.Instance, TimeProvider.System), identity, compression)
    {
    }

    private ReceivingSide(StoreReceiver stores, PeerIdentity identity, PayloadCompression compression)
        : this(new CompressingTarget(stores, _ => compression), identity) => _stores = stores;

    public ReceivingSide(IStreamTarget target, PeerIdentity identity)
    {
        var server = new ChannelServer(target, new ChannelOptions(), (_, _) => null);
        _listener = new ChannelListener(new IPEndPoint(IPAddress.Loopback, 0), identity.ForServer(), new ChannelOptions(),
            (stream, peer, stop) => server.RunAsync(stream, peer, stop), (_, _) => Task.CompletedTask);
        _listener.Start();
    }

    public int Port => _listener.Endpoint.Port;
    public StoreReceiver Stores => _stores ?? throw new InvalidOperationException("this side keeps nothing");

    public static ChannelClient Connect(int port, PeerIdentity identity) => new(
        async stop => await ChannelConnector.ConnectAsync("127.0.0.1", port, identity.ForClient("localhost"), stop), new ChannelOptions());

    /// <summary>Waits until everything the store holds is flushed and its newest position is viewable.</summary>
    public async Task PointIsDurableAsync(MachineId machine, CancellationToken stop)
    {
        var store = Stores.StoreOf(machine);
        using var poll = new PeriodicTimer(TimeSpan.FromMilliseconds(2));
        while (!store.Consistent || store.Durable != store.Held) await poll.WaitForNextTickAsync(stop);
    }

    public async ValueTask DisposeAsync()
    {
        await _listener.DisposeAsync();
        if (_stores is not null) await _stores.DisposeAsync();
    }
}
