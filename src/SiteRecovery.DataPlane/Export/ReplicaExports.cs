using System.Globalization;
using System.Net.Sockets;
using SiteRecovery.DataPlane.Nbd;
using SiteRecovery.DataPlane.Retention;
using SiteRecovery.DataPlane.Storage;
using SiteRecovery.Domain.History;

namespace SiteRecovery.DataPlane.Export;

/// <summary>Where one disk of a replica is served.</summary>
public sealed record ServedDisk(int Disk, string Uri);

/// <summary>Serves replicas' disks over NBD on one unix socket: a view of a point below, a copy-on-write layer above, so that the store never changes.</summary>
public sealed class ReplicaExports : IAsyncDisposable
{
    private sealed record Served(Epoch Epoch, RecoveryPoint Point, IReadOnlyList<OverlayDisk> Disks, IReadOnlyList<ServedDisk> Uris);

    private readonly Dictionary<MachineId, Served> _served = [];
    private readonly SemaphoreSlim _changing = new(1, 1);
    private readonly NbdExports _exports = new();
    private readonly NbdServer _nbd;
    private readonly string _socket;
    private readonly IFileSystem _files;

    /// <param name="socket">Path of the unix socket; at most <see cref="UnixSocketPath.BytesMax"/> bytes.</param>
    public ReplicaExports(string socket, IFileSystem files, TimeProvider time)
    {
        (_socket, _files) = (UnixSocketPath.Checked(socket), files);
        _nbd = new NbdServer(_exports, new NbdServerOptions(), time);
    }

    public void Start() => _nbd.Listen(new UnixDomainSocketEndPoint(_socket));

    /// <summary>Idempotent. What was written to the epoch's layer before, also by an earlier process, is there again.</summary>
    /// <param name="folder">Where the copy-on-write layers of this machine lie.</param>
    /// <exception cref="InvalidDataException">The point is not viewable, or a layer is damaged.</exception>
    public async Task<IReadOnlyList<ServedDisk>> ServeAsync(RetentionStore store, Epoch epoch, RecoveryPoint point, string folder, CancellationToken stop)
    {
        await _changing.WaitAsync(stop).ConfigureAwait(false);
        try
        {
            if (_served.TryGetValue(store.Machine, out var now))
            {
                if (now.Epoch == epoch && now.Point.Id == point.Id) return now.Uris;
                await WithdrawAsync(store.Machine, now, stop).ConfigureAwait(false);
            }
            var served = Open(store, epoch, point, Path.Combine(folder, string.Create(CultureInfo.InvariantCulture, $"epoch-{epoch.Value}")));
            _served[store.Machine] = served;
            return served.Uris;
        }
        finally
        {
            _changing.Release();
        }
    }

    /// <summary>The machine's disks are no longer served; their layers stay.</summary>
    public async Task StopAsync(MachineId machine, CancellationToken stop)
    {
        await _changing.WaitAsync(stop).ConfigureAwait(false);
        try
        {
            if (_served.TryGetValue(machine, out var now)) await WithdrawAsync(machine, now, stop).ConfigureAwait(false);
        }
        finally
        {
            _changing.Release();
        }
    }

    public async ValueTask DisposeAsync()
    {
        await _nbd.DisposeAsync().ConfigureAwait(false);
        foreach (var disk in _served.Values.SelectMany(s => s.Disks)) await disk.DisposeAsync().ConfigureAwait(false);
        _changing.Dispose();
    }

    private Served Open(RetentionStore store, Epoch epoch, RecoveryPoint point, string folder)
    {
        _files.CreateDirectory(folder);
        var (view, disks) = (store.At(point), new List<OverlayDisk>());
        foreach (var disk in view.Disks)
            disks.Add(new OverlayDisk(view.Disk(disk.Index), Path.Combine(folder, string.Create(CultureInfo.InvariantCulture, $"disk-{disk.Index}")), _files));
        var uris = new List<ServedDisk>();
        foreach (var (disk, overlay) in view.Disks.Zip(disks))
        {
            var name = $"{store.Machine}.{disk.Name}";
            _exports.Add(new NbdExport(name, overlay, $"{disk.Name} of {store.Machine} as of {point.Id}"));
            uris.Add(new ServedDisk(disk.Index, $"nbd+unix:///{Uri.EscapeDataString(name)}?socket={_socket}"));
        }
        return new Served(epoch, point, disks, uris);
    }

    private async Task WithdrawAsync(MachineId machine, Served served, CancellationToken stop)
    {
        _served.Remove(machine);
        foreach (var name in _exports.Names.Where(n => n.StartsWith(machine.Value + ".", StringComparison.Ordinal)))
        {
            _exports.Remove(name);
            await _nbd.CloseConnectionsAsync(name, stop).ConfigureAwait(false);
        }
        foreach (var disk in served.Disks) await disk.DisposeAsync().ConfigureAwait(false);
    }
}
