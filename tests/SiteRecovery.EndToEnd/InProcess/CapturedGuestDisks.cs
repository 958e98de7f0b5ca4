using System.Net.Sockets;
using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.DataPlane.Capture;
using SiteRecovery.DataPlane.MasterTarget;
using SiteRecovery.DataPlane.Nbd;
using SiteRecovery.DataPlane.Storage;
using SiteRecovery.DataPlane.Transport;
using SiteRecovery.Domain.History;
using SiteRecovery.EndToEnd.Guests;
using SiteRecovery.EndToEnd.Processes;

namespace SiteRecovery.EndToEnd.InProcess;

/// <summary>Both ends of the data plane in this process: two disks captured and served on a unix socket, mutual TLS, a store.</summary>
internal sealed class CapturedGuestDisks : IAsyncDisposable
{
    internal static readonly MachineId Machine = new("db1");
    private static readonly string[] Names = ["vda", "vdb"];
    private const long DiskBytes = 48L << 20;
    private readonly string _folder = Directory.CreateTempSubdirectory("sr-guest-").FullName;
    private readonly StorePort _target;
    private readonly PeerIdentity _agentIdentity;
    private readonly ChannelClient _client;
    private readonly CancellationTokenSource _stopCapture = new();
    private MachineCapture? _capture;
    private NbdServer? _nbd;
    private Task _running = Task.CompletedTask;

    private CapturedGuestDisks()
    {
        _target = new StorePort(_folder);
        _agentIdentity = _target.Authority.Issue("agent", PeerRole.Agent);
        _client = new ChannelClient(async stop => await ChannelConnector.ConnectAsync("127.0.0.1", _target.Port, _agentIdentity.ForClient("localhost"), stop), new ChannelOptions());
    }

    internal StoreReceiver Stores => _target.Stores;
    internal string[] CaptureUris => UrisOf("nbd.sock");
    /// <summary>The stream runs, and the store holds a prefix.</summary>
    internal bool IsProtected => _capture!.Status().Mode == CaptureMode.Streaming && Stores.ReportOf(Machine).Consistent;

    internal string At(string name) => Path.Combine(_folder, name);

    internal static async Task<CapturedGuestDisks> CreateAsync()
    {
        var disks = new CapturedGuestDisks();
        foreach (var name in Names) await GuestDisk.CreateAsync(disks.At(name + ".raw"), DiskBytes);
        await disks.StartAsync();
        return disks;
    }

    internal Task CutLinkAsync() => _target.CutLinkAsync();

    /// <summary>Serves other disks (views, overlays) under the same names until the server is disposed.</summary>
    internal (NbdServer Server, string[] Uris) Serve(string socket, Func<ushort, IBlockDevice> disk)
    {
        var exports = new NbdExports();
        for (ushort i = 0; i < Names.Length; i++) exports.Add(new NbdExport(Names[i], disk(i), Names[i]));
        var server = new NbdServer(exports, new NbdServerOptions(), TimeProvider.System);
        server.Listen(new UnixDomainSocketEndPoint(At(socket)));
        return (server, UrisOf(socket));
    }

    private async Task StartAsync()
    {
        var capture = _capture = await MachineCapture.OpenAsync(new CaptureOptions
        {
            Machine = Machine, Epoch = Epoch.First, StateFolder = At("capture"),
            Disks = [.. Names.Select((name, i) => new CaptureDisk(new DiskGeometry((ushort)i, name, DiskBytes), At(name + ".raw")))],
        }, RealFileSystem.Instance, TimeProvider.System);
        capture.MarkAllUnsynced();
        _running = capture.RunAsync(_client, _stopCapture.Token);
        (_nbd, _) = Serve("nbd.sock", i => capture.Disks[i]);
        await capture.StartSynchronizationAsync();
    }

    private string[] UrisOf(string socket) => [.. Names.Select(n => $"nbd+unix:///{n}?socket={At(socket)}")];

    public async ValueTask DisposeAsync()
    {
        await _target.CutLinkAsync();
        if (_nbd is not null) await _nbd.DisposeAsync();
        await _stopCapture.CancelAsync();
        await _running.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        if (_capture is not null) await _capture.DisposeAsync();
        await _client.DisposeAsync();
        await _target.DisposeAsync();
        _agentIdentity.Dispose();
        _stopCapture.Dispose();
        Directory.Delete(_folder, recursive: true);
    }
}
