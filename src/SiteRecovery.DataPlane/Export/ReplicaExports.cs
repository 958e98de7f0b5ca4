using System.Net.Sockets;
using SiteRecovery.DataPlane.Nbd;
using SiteRecovery.DataPlane.Storage;

namespace SiteRecovery.DataPlane.Export;

/// <summary>Where one disk of a replica is served.</summary>
public sealed record ServedDisk(int Disk, string Uri);

/// <summary>Serves replicas' disks over NBD on one unix socket.</summary>
public sealed class ReplicaExports : IAsyncDisposable
{
    private sealed record Served(object Key, IReplicaDisks Disks, IReadOnlyList<string> Names, IReadOnlyList<ServedDisk> Uris, FirstRequests Firsts);

    private readonly Dictionary<string, Served> _served = new(StringComparer.Ordinal);
    private readonly Lock _gate = new();
    private readonly Turns<string> _turns = new();
    private bool _ended;
    private readonly NbdExports _exports = new();
    private readonly NbdServer _nbd;
    private readonly string _socket;
    private readonly TimeProvider _time;

    /// <param name="socket">Path of the unix socket; at most <see cref="UnixSocketPath.BytesMax"/> bytes.</param>
    /// <param name="group">Who may connect to it beside its owner; null: whom the process's umask lets.</param>
    public ReplicaExports(string socket, TimeProvider time, string? group = null)
    {
        (_socket, _time) = (UnixSocketPath.Checked(socket), time);
        _nbd = new NbdServer(_exports, new NbdServerOptions { SocketGroup = group, NotGiven = Console.Error.WriteLine }, time);
    }

    public void Start() => _nbd.Listen(new UnixDomainSocketEndPoint(_socket));

    /// <summary>Idempotent: what is served under the name stays if its key is equal, and is replaced if it is not. Opening may take long: it holds up no other name.</summary>
    /// <param name="name">Of the replica: its disks are "{name}.{disk}".</param>
    public Task<IReadOnlyList<ServedDisk>> ServeAsync(string name, object key, Func<Task<IReplicaDisks>> open, CancellationToken stop) => _turns.TakeAsync(name, async () =>
    {
        if (Look(name) is { } now)
        {
            if (now.Key.Equals(key)) return now.Uris;
            await WithdrawAsync(name, now).ConfigureAwait(false);
        }
        var disks = await open().ConfigureAwait(false);
        lock (_gate)
            if (!_ended) return (_served[name] = Publish(name, key, disks)).Uris;
        await disks.DisposeAsync().ConfigureAwait(false);
        throw new ObjectDisposedException(nameof(ReplicaExports));
    }, stop);

    /// <summary>Null where nothing is served under the name.</summary>
    public IReplicaDisks? Find(string name) => Look(name)?.Disks;

    /// <summary>Of what is served under the name now; null where nothing is.</summary>
    public FirstRequests? FirstsOf(string name) => Look(name)?.Firsts;

    /// <summary>How many have disks of the replica open.</summary>
    public int ClientsOf(string name, IReplicaDisks disks) => disks.Disks.Sum(d => _nbd.ConnectionsOf($"{name}.{d.Disk.Name}"));

    /// <summary>Its disks are no longer served; their layers stay.</summary>
    public Task StopAsync(string name, CancellationToken stop) => _turns.TakeAsync(name, async () =>
    {
        if (Look(name) is not { } now) return false;
        await WithdrawAsync(name, now).ConfigureAwait(false);
        return true;
    }, stop);

    public async ValueTask DisposeAsync()
    {
        lock (_gate) _ended = true;
        await _turns.WhenIdleAsync().ConfigureAwait(false);
        await _nbd.DisposeAsync().ConfigureAwait(false);
        Exception? failed = null;
        foreach (var served in _served.Values)
        {
            try
            {
                await served.Disks.DisposeAsync().ConfigureAwait(false);
            }
            catch (IOException failure)
            {
                failed ??= failure; // the others are flushed all the same
            }
        }
        if (failed is not null) throw new IOException("what was served could not be flushed: " + failed.Message, failed);
    }

    private Served? Look(string name)
    {
        lock (_gate) return _served.GetValueOrDefault(name);
    }

    private Served Publish(string name, object key, IReplicaDisks disks)
    {
        var (names, uris, firsts) = (new List<string>(), new List<ServedDisk>(), new FirstRequests(_time));
        foreach (var (disk, device) in disks.Disks)
        {
            var export = $"{name}.{disk.Name}";
            _exports.Add(new NbdExport(export, firsts.Watch(device), $"{disk.Name} of {name}"));
            names.Add(export);
            uris.Add(new ServedDisk(disk.Index, $"nbd+unix:///{Uri.EscapeDataString(export)}?socket={_socket}"));
        }
        return new Served(key, disks, names, uris, firsts);
    }

    /// <summary>Not to be stopped half way: what is no longer known here but still open would be opened once more.</summary>
    private async Task WithdrawAsync(string name, Served served)
    {
        lock (_gate) _served.Remove(name);
        foreach (var export in served.Names) _exports.Remove(export);
        try
        {
            foreach (var export in served.Names) await _nbd.CloseConnectionsAsync(export, CancellationToken.None).ConfigureAwait(false);
        }
        finally
        {
            await served.Disks.DisposeAsync().ConfigureAwait(false);
        }
    }
}
