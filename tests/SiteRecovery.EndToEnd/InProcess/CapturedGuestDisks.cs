using System.Net;
using System.Net.Sockets;
using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.DataPlane.Capture;
using SiteRecovery.DataPlane.MasterTarget;
using SiteRecovery.DataPlane.Nbd;
using SiteRecovery.DataPlane.Storage;
using SiteRecovery.DataPlane.Transport;
using SiteRecovery.Domain.History;
using SiteRecovery.EndToEnd.Guests;

namespace SiteRecovery.EndToEnd.InProcess;

/// <summary>Both ends of the data plane in this process: two disks captured and served on a unix socket, mutual TLS, a store.</summary>
internal sealed class CapturedGuestDisks : IAsyncDisposable
{
    internal static readonly MachineId Machine = new("db1");
    private static readonly string[] Names = ["vda", "vdb"];
    private const long DiskBytes = 48L << 20;
    private readonly string _folder = Directory.CreateTempSubdirectory("sr-guest-story-").FullName;
    private readonly Authority _authority;
    private readonly PeerIdentity _targetIdentity, _agentIdentity;
    private readonly ChannelListener _listener;
    private readonly ChannelClient _client;
    private CancellationTokenSource _link = new();
    private CancellationTokenSource _stopCapture = new();
    private MachineCapture? _capture;
    private NbdServer? _nbd;
    private Task _running = Task.CompletedTask;

    private CapturedGuestDisks()
    {
        _authority = Authority.Create(At("pki"), "test", TimeProvider.System);
        Stores = new StoreReceiver(At("stores"), RealFileSystem.Instance, TimeProvider.System);
        (_targetIdentity, _agentIdentity) = (_authority.Issue("target", PeerRole.Node), _authority.Issue("agent", PeerRole.Agent));
        var server = new ChannelServer(Stores, new ChannelOptions(), (_, _) => null);
        _listener = new ChannelListener(new IPEndPoint(IPAddress.Loopback, 0), _targetIdentity.ForServer(), new ChannelOptions(), async (stream, peer, stop) =>
        {
            using var either = CancellationTokenSource.CreateLinkedTokenSource(stop, _link.Token);
            await server.RunAsync(stream, peer, either.Token);
        }, (_, _) => Task.CompletedTask);
        _listener.Start();
        _client = new ChannelClient(async stop => _link.IsCancellationRequested ? throw new IOException("the link is cut")
            : await ChannelConnector.ConnectAsync("127.0.0.1", _listener.Endpoint.Port, _agentIdentity.ForClient("localhost"), stop), new ChannelOptions());
    }

    internal StoreReceiver Stores { get; }
    internal MachineCapture Capture => _capture ?? throw new InvalidOperationException("the capture is not open");
    internal string[] CaptureUris => [.. Names.Select(n => $"nbd+unix:///{n}?socket={At("nbd.sock")}")];

    internal string At(string name) => Path.Combine(_folder, name);

    internal static async Task<CapturedGuestDisks> CreateAsync()
    {
        var pair = new CapturedGuestDisks();
        foreach (var name in Names) await GuestDisk.CreateAsync(pair.At(name + ".raw"), DiskBytes);
        await pair.OpenCaptureAsync();
        pair.Capture.MarkAllUnsynced();
        await pair.Capture.StartSynchronizationAsync();
        return pair;
    }

    /// <summary>Opens the disks as an agent does that starts: capture, stream, NBD on the same socket as before.</summary>
    internal async Task OpenCaptureAsync()
    {
        _capture = await MachineCapture.OpenAsync(new CaptureOptions
        {
            Machine = Machine, Epoch = Epoch.First, StateFolder = At("capture"),
            Disks = [.. Names.Select((name, i) => new CaptureDisk(new DiskGeometry((ushort)i, name, DiskBytes), At(name + ".raw")))],
        }, RealFileSystem.Instance, TimeProvider.System);
        _stopCapture = new CancellationTokenSource();
        _running = _capture.RunAsync(_client, _stopCapture.Token);
        var exports = new NbdExports();
        foreach (var disk in _capture.Disks) exports.Add(new NbdExport(disk.Geometry.Name, disk, "live"));
        _nbd = new NbdServer(exports, new NbdServerOptions(), TimeProvider.System);
        _nbd.Listen(new UnixDomainSocketEndPoint(At("nbd.sock")));
    }

    internal async Task CloseCaptureAsync()
    {
        if (_capture is null) return;
        await _nbd!.DisposeAsync();
        await _stopCapture.CancelAsync();
        await _running.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        await _capture.DisposeAsync();
        _stopCapture.Dispose();
        _capture = null;
    }

    internal Task CutLinkAsync() => _link.CancelAsync();

    /// <summary>Every write so far is in a consistent store, and the stream runs.</summary>
    internal bool IsProtected => Capture.Status().Mode == CaptureMode.Streaming && Stores.ReportOf(Machine).Consistent;

    /// <summary>Serves disks that are not captured (a view, an overlay) until the result is disposed.</summary>
    internal (NbdServer Server, string[] Uris) Serve(string socket, Func<ushort, IBlockDevice> disk)
    {
        var exports = new NbdExports();
        for (ushort i = 0; i < Names.Length; i++) exports.Add(new NbdExport(Names[i], disk(i), "replica"));
        var server = new NbdServer(exports, new NbdServerOptions(), TimeProvider.System);
        server.Listen(new UnixDomainSocketEndPoint(At(socket)));
        return (server, [.. Names.Select(n => $"nbd+unix:///{n}?socket={At(socket)}")]);
    }

    public async ValueTask DisposeAsync()
    {
        await _link.CancelAsync();
        await CloseCaptureAsync();
        await _client.DisposeAsync();
        await _listener.DisposeAsync();
        await Stores.DisposeAsync();
        _targetIdentity.Dispose();
        _agentIdentity.Dispose();
        _authority.Dispose();
        _link.Dispose();
        Directory.Delete(_folder, recursive: true);
    }
}
