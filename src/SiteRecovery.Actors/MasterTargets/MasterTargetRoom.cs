using System.Net;
using SiteRecovery.DataPlane.Capture;
using SiteRecovery.DataPlane.Export;
using SiteRecovery.DataPlane.Keys;
using SiteRecovery.DataPlane.MasterTarget;
using SiteRecovery.DataPlane.ProcessServer;
using SiteRecovery.DataPlane.Retention;
using SiteRecovery.DataPlane.Storage;
using SiteRecovery.DataPlane.Transport;
using SiteRecovery.Domain.History;

namespace SiteRecovery.Actors.MasterTargets;

/// <summary>
/// The master target's part of the data plane, put together: data channel → stores, stores → exports. It belongs to the process
/// and not to the actor system, so that streams and replicas go on while the node leaves and rejoins its cluster.
/// </summary>
public sealed class MasterTargetRoom : IAsyncDisposable
{
    /// <summary>What hypervisors that run their machines as another user reach in its folder.</summary>
    public const string SocketName = "exports.sock", SeedsName = "seeds";
    private readonly ChannelListener? _listener;
    private readonly string _root;
    private readonly ReplicaHosting? _hosting;

    /// <param name="hosting">Null: replicas are disks alone.</param>
    /// <param name="keys">Null: no store can be encrypted.</param>
    /// <param name="socketGroup">Who may open replicas' disks beside this process's user; null: nobody.</param>
    public MasterTargetRoom(
        string folder, IPEndPoint listen, PeerIdentity identity, IFileSystem files, TimeProvider time, ReplicaHosting? hosting = null, KeyWrappings? keys = null, string? socketGroup = null)
        : this(folder, routes => new Upstreams(routes, identity, new ChannelOptions { Time = time }), files, time, hosting, new StoreOptions { Keys = keys }, socketGroup)
    {
        var options = new ChannelOptions { Time = time };
        // Agents speak to process servers; only nodes bring batches here, from their spools and from replicas that they serve. No one else comes past the handshake.
        var server = new ChannelServer(Stores, options, (peer, _) => peer is { Role: PeerRole.Node } ? null : "only nodes of the cluster send to a master target");
        _listener = new ChannelListener(listen, identity.ForServer(PeerRole.Node), options, (stream, peer, stop) => server.RunAsync(stream, peer, stop), (_, _) => Task.CompletedTask);
    }

    /// <summary>Without a listener: whoever makes it brings streams to its stores.</summary>
    internal MasterTargetRoom(string folder, Func<MachineRoutes, Upstreams> upstreams, IFileSystem files, TimeProvider time, ReplicaHosting? hosting = null, StoreOptions? options = null, string? socketGroup = null)
    {
        (_root, Files, Time, _hosting) = (Path.Combine(folder, "stores"), files, time, hosting);
        files.CreateDirectory(_root);
        Stores = new StoreReceiver(_root, files, time, streamsCreateStores: false, options);
        Machines = new ReplicaHost(hosting, Stores.FolderOf, Path.Combine(folder, SeedsName), files, time);
        Served = new ServedReplicas(Path.Combine(folder, "served"), files);
        Exports = new ReplicaExports(Path.Combine(folder, SocketName), time, socketGroup);
        Routes = new MachineRoutes(Path.Combine(folder, "routes.json"), files);
        Upstreams = upstreams(Routes);
    }

    /// <summary>Where it listens; null: nowhere.</summary>
    public IPEndPoint? Endpoint => _listener?.Endpoint;
    public StoreReceiver Stores { get; }
    public ReplicaExports Exports { get; }
    public ReplicaHost Machines { get; }
    public ServedReplicas Served { get; }

    /// <summary>Where the streams of replicas go that are served here.</summary>
    public MachineRoutes Routes { get; }
    public Upstreams Upstreams { get; }

    /// <summary>Tests that this process was told to remove. An order to serve one that comes later was overtaken; none outlives the process that it was sent to.</summary>
    internal RecentNames RemovedTests { get; } = new(1000);

    /// <summary>One piece of work at a time for each machine, whichever actor has begun it: an actor system ends without waiting for what it had under way.</summary>
    public Turns<MachineId> Turns { get; } = new();
    public IFileSystem Files { get; }
    public TimeProvider Time { get; }

    /// <summary>How long after a round of the scrub over a store the next one begins.</summary>
    public TimeSpan ScrubPause { get; init; } = TimeSpan.FromMinutes(1);

    /// <summary>What waits in memory of a replica's writes until they are sent; beyond it they are tracked, and sent later.</summary>
    public int ReplicaBufferBytes { get; init; } = CaptureOptions.BufferBytesDefault;

    public long FreeBytes => Files.FreeBytes(_root);

    /// <summary>Where the copy-on-write layer of a replica lies: one of an epoch, or one of a test.</summary>
    public string LayerFolderOf(MachineId machine, string layer) => Path.Combine(Stores.FolderOf(machine), "replica", layer);

    /// <summary>Where the layer's disks lie as raw files once the replica is a machine of its own: their owner's, never removed.</summary>
    public string ReleasedFolderOf(MachineId machine, string layer) => Path.GetFullPath(Path.Combine(_root, "..", "released", machine.Value, layer));

    /// <summary>Takes a layer out of the way without losing what can still be read of it: the one that was put aside before goes, and this one with its store. Durable when it returns.</summary>
    /// <returns>Where it lies.</returns>
    public string PutAside(MachineId machine, string layer)
    {
        var (from, to) = (LayerFolderOf(machine, layer), Path.GetFullPath(Path.Combine(Stores.FolderOf(machine), "aside", layer)));
        var (replicas, aside) = (Path.GetDirectoryName(from)!, Path.GetDirectoryName(to)!);
        Files.DeleteFolder(aside);
        Files.CreateDirectory(aside);
        Files.Rename(from, to);
        Files.FlushFolder(aside);
        Files.FlushFolder(replicas);
        return to;
    }

    /// <summary>Durable when it returns: what was said to be gone does not come back with the power.</summary>
    public void DeleteLayer(MachineId machine, string layer)
    {
        var folder = LayerFolderOf(machine, layer);
        Files.DeleteFolder(folder);
        if (Path.GetDirectoryName(folder) is { } layers && Files.FolderExists(layers)) Files.FlushFolder(layers);
    }

    public void Start()
    {
        Exports.Start();
        _listener?.Start();
    }

    public async ValueTask DisposeAsync()
    {
        await Turns.WhenIdleAsync();
        if (_listener is not null) await _listener.DisposeAsync();
        await Machines.DisposeAsync();
        if (_hosting is { } hosting) await hosting.Hypervisor.DisposeAsync(); // its machines run on
        await Exports.DisposeAsync();
        await Upstreams.DisposeAsync();
        await Stores.DisposeAsync();
    }
}
