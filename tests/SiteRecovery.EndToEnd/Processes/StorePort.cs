using System.Net;
using SiteRecovery.DataPlane.MasterTarget;
using SiteRecovery.DataPlane.Storage;
using SiteRecovery.DataPlane.Transport;

namespace SiteRecovery.EndToEnd.Processes;

/// <summary>A port of the data plane in this process with an authority of its own and a store behind it, over a link that can be cut.</summary>
internal sealed class StorePort : IAsyncDisposable
{
    private readonly PeerIdentity _identity;
    private readonly ChannelListener _listener;
    private readonly CancellationTokenSource _link = new();

    internal StorePort(string folder, Func<ControlChannel, CancellationToken, Task>? onControl = null)
    {
        Authority = Authority.Create(Path.Combine(folder, "pki"), "test", TimeProvider.System);
        Stores = new StoreReceiver(Path.Combine(folder, "stores"), RealFileSystem.Instance, TimeProvider.System);
        _identity = Authority.Issue("target", PeerRole.Node);
        var server = new ChannelServer(Stores, new ChannelOptions(), (_, _) => null);
        _listener = new ChannelListener(new IPEndPoint(IPAddress.Loopback, 0), _identity.ForServer(), new ChannelOptions(),
            (stream, peer, stop) => WhileLinkedAsync(linked => server.RunAsync(stream, peer, linked), stop),
            (channel, stop) => WhileLinkedAsync(linked => onControl?.Invoke(channel, linked) ?? Task.CompletedTask, stop));
        _listener.Start();
    }

    internal Authority Authority { get; }
    internal StoreReceiver Stores { get; }
    internal int Port => _listener.Endpoint.Port;

    /// <summary>For good: connections break and new ones find nobody.</summary>
    internal Task CutLinkAsync() => _link.CancelAsync();

    private async Task WhileLinkedAsync(Func<CancellationToken, Task> serve, CancellationToken stop)
    {
        using var either = CancellationTokenSource.CreateLinkedTokenSource(stop, _link.Token);
        if (!either.IsCancellationRequested) await serve(either.Token);
    }

    public async ValueTask DisposeAsync()
    {
        await _link.CancelAsync();
        await _listener.DisposeAsync();
        await Stores.DisposeAsync();
        _identity.Dispose();
        Authority.Dispose();
        _link.Dispose();
    }
}
