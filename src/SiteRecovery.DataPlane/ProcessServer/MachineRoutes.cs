using System.Collections.Immutable;
using System.Text.Json;
using System.Text.Json.Serialization;
using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.DataPlane.Storage;
using SiteRecovery.DataPlane.Transport;
using SiteRecovery.Domain.History;

namespace SiteRecovery.DataPlane.ProcessServer;

/// <summary>Whose stream a machine's is, and where it goes on to.</summary>
/// <param name="Agent">Who may bring the stream: an agent, or the node that serves the replica.</param>
/// <param name="Compression">"zstd", "lz4" or "none".</param>
/// <param name="TargetHost">Null while the master target's address is not known.</param>
/// <param name="Epoch">The newest in which the machine was to be replicated by here; 0: an earlier version did not write it down.</param>
public sealed record MachineRoute(string Agent, string Compression, string? TargetHost, int TargetPort, bool FromNode = false, int Epoch = 0);

/// <summary>
/// The routes of a process server's machines, in one small file, so that a process server that starts with no cluster in reach
/// goes on where it was.
/// </summary>
public sealed class MachineRoutes
{
    private ImmutableDictionary<string, MachineRoute> _routes = ImmutableDictionary.Create<string, MachineRoute>(StringComparer.Ordinal);
    private volatile bool _isUnread; // the disk does not give the file, for now or for good
    private readonly Lock _saving = new();
    private readonly string _path;
    private readonly IFileSystem _files;

    public MachineRoutes(string path, IFileSystem files)
    {
        (_path, _files) = (path, files);
        Load();
    }

    public IReadOnlyCollection<MachineId> Machines => [.. Routes().Keys.Select(m => new MachineId(m))];

    public MachineRoute? Find(MachineId machine) => Routes().GetValueOrDefault(machine.Value);

    /// <summary>It is so already, durably: <see cref="Set"/> would change nothing. Waits for no disk.</summary>
    public bool Holds(MachineId machine, MachineRoute route) => Volatile.Read(ref _routes).GetValueOrDefault(machine.Value) is { } kept && kept == After(kept, route);

    /// <summary>Durable when it returns. An unknown address does not replace a known one.</summary>
    /// <exception cref="IOException">It cannot be saved, and is as it was.</exception>
    public void Set(MachineId machine, MachineRoute route)
    {
        lock (_saving)
            if (!Holds(machine, route)) Save(Routes().SetItem(machine.Value, After(Find(machine), route)));
    }

    private static MachineRoute After(MachineRoute? former, MachineRoute route)
    {
        if (former is null) return route;
        if (route.TargetHost is null) route = route with { TargetHost = former.TargetHost, TargetPort = former.TargetPort };
        // However late an order comes: that a later one was here is not forgotten.
        return former.Epoch > route.Epoch ? route with { Epoch = former.Epoch } : route;
    }

    /// <summary>A route of a later epoch than <paramref name="upTo"/> is another protection's, and stays.</summary>
    /// <exception cref="IOException">It cannot be saved, and is as it was.</exception>
    public void Remove(MachineId machine, Epoch upTo)
    {
        lock (_saving)
            if (Find(machine) is { } route && route.Epoch <= upTo.Value) Save(_routes.Remove(machine.Value));
    }

    /// <summary>Null lets a stream in; a text is why not.</summary>
    public string? Authorise(Peer? peer, StreamOpening opening)
    {
        if (Find(opening.Machine) is not { } route) return $"this process server does not know the machine {opening.Machine} yet";
        return peer?.Role == (route.FromNode ? PeerRole.Node : PeerRole.Agent) && peer.Name == route.Agent ? null : $"{opening.Machine} is not replicated by {peer?.Name ?? "an unknown peer"}";
    }

    public PayloadCompression CompressionOf(StreamOpening opening) => Find(opening.Machine)?.Compression switch
    {
        "zstd" => PayloadCompression.Zstd,
        "lz4" => PayloadCompression.Lz4,
        _ => PayloadCompression.None,
    };

    private ImmutableDictionary<string, MachineRoute> Routes()
    {
        if (_isUnread)
            lock (_saving)
                if (_isUnread) Load();
        return Volatile.Read(ref _routes);
    }

    /// <summary>A file that cannot be read must not keep all that is served here from starting: it may be there in a moment, and until then, or until the next route is saved, it is as good as none.</summary>
    private void Load()
    {
        try
        {
            Volatile.Write(ref _routes, (Kept() ?? []).ToImmutableDictionary(StringComparer.Ordinal));
            _isUnread = false;
        }
        catch (IOException)
        {
            _isUnread = true;
        }
    }

    // A damaged file is as good as none: the cluster tells every route again, and until then streams wait at the agents.
    private Dictionary<string, MachineRoute>? Kept()
    {
        if (_files.TryReadAll(_path) is not { } bytes) return null;
        try
        {
            var kept = JsonSerializer.Deserialize(bytes, RoutesJson.Default.DictionaryStringMachineRoute);
            return kept is null || kept.Values.All(r => r is { Agent: not null, Compression: not null, TargetPort: >= 0 and <= ushort.MaxValue }) ? kept : throw new JsonException("a route lacks something");
        }
        catch (JsonException)
        {
            _files.Rename(_path, _path + ".damaged");
            return null;
        }
    }

    private void Save(ImmutableDictionary<string, MachineRoute> routes)
    {
        _files.Replace(_path, JsonSerializer.SerializeToUtf8Bytes(new Dictionary<string, MachineRoute>(routes), RoutesJson.Default.DictionaryStringMachineRoute));
        Volatile.Write(ref _routes, routes);
        _isUnread = false;
    }
}

[JsonSourceGenerationOptions(WriteIndented = true, PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase)]
[JsonSerializable(typeof(Dictionary<string, MachineRoute>))]
internal sealed partial class RoutesJson : JsonSerializerContext;
