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
    private sealed record Served(RetentionStore Store, string Folder, RecoveryPoint Point, ReplicaLayers Layers, IReadOnlyList<string> Names, IReadOnlyList<ServedDisk> Uris);

    private readonly Dictionary<string, Served> _served = new(StringComparer.Ordinal);
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

    /// <summary>Idempotent. What was written to the layer before, also by an earlier process, is there again.</summary>
    /// <param name="name">Of the replica: its disks are "{name}.{disk}".</param>
    /// <param name="folder">Where its copy-on-write layer lies; another folder or point replaces what is served under the name.</param>
    /// <exception cref="InvalidDataException">The point is not viewable, or the layer is damaged.</exception>
    public async Task<IReadOnlyList<ServedDisk>> ServeAsync(RetentionStore store, string name, RecoveryPoint point, string folder, CancellationToken stop)
    {
        await _changing.WaitAsync(stop).ConfigureAwait(false);
        try
        {
            if (_served.TryGetValue(name, out var now))
            {
                // A store that failed was opened anew: what still reads from the old one reads nothing.
                if (now.Folder == folder && now.Point.Id == point.Id && ReferenceEquals(now.Store, store)) return now.Uris;
                await WithdrawAsync(name, now, stop).ConfigureAwait(false);
            }
            var served = Open(store, name, point, folder);
            _served[name] = served;
            return served.Uris;
        }
        finally
        {
            _changing.Release();
        }
    }

    /// <summary>Its disks are no longer served; their layers stay.</summary>
    public async Task StopAsync(string name, CancellationToken stop)
    {
        await _changing.WaitAsync(stop).ConfigureAwait(false);
        try
        {
            if (_served.TryGetValue(name, out var now)) await WithdrawAsync(name, now, stop).ConfigureAwait(false);
        }
        finally
        {
            _changing.Release();
        }
    }

    public async ValueTask DisposeAsync()
    {
        await _nbd.DisposeAsync().ConfigureAwait(false);
        foreach (var served in _served.Values) served.Layers.Dispose();
        _changing.Dispose();
    }

    private Served Open(RetentionStore store, string name, RecoveryPoint point, string folder)
    {
        var (layers, names, uris) = (new ReplicaLayers(store, point, folder, _files), new List<string>(), new List<ServedDisk>());
        foreach (var (disk, file) in layers.Disks)
        {
            var export = $"{name}.{disk.Name}";
            _exports.Add(new NbdExport(export, new FileDevice(file, readOnly: false), $"{disk.Name} of {store.Machine} as of {point.Id}"));
            names.Add(export);
            uris.Add(new ServedDisk(disk.Index, $"nbd+unix:///{Uri.EscapeDataString(export)}?socket={_socket}"));
        }
        return new Served(store, folder, point, layers, names, uris);
    }

    private async Task WithdrawAsync(string name, Served served, CancellationToken stop)
    {
        _served.Remove(name);
        foreach (var export in served.Names)
        {
            _exports.Remove(export);
            await _nbd.CloseConnectionsAsync(export, stop).ConfigureAwait(false);
        }
        served.Layers.Dispose();
    }
}
