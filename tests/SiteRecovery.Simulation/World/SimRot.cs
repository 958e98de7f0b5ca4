using SiteRecovery.DataPlane.Keys;
using SiteRecovery.Domain.History;

namespace SiteRecovery.Simulation.World;

/// <summary>
/// What a host keeps of a machine's history turns into something else on the disk itself, or cannot be read any more until it is written anew; nobody is told. What has hashes is meant:
/// segments, their indexes and maps, base images, encrypted or not, and the keys. A disk of a guest, or what a replica's guest wrote, has none, as on any host. Of files that are made from each other one is hit: where the other is
/// lost too, nothing is left that could tell what was there.
/// </summary>
internal sealed class SimRot(SimSites sites, Random random)
{
    private readonly Dictionary<string, Epoch> _hosts = [];
    private readonly Dictionary<(string Host, string Of), string> _hit = [];

    /// <summary>Something has, somewhere.</summary>
    internal bool Was => _hosts.Count > 0;

    /// <summary>What a host has acknowledged may be there no more.</summary>
    internal bool WasAt(string host) => _hosts.ContainsKey(host);

    /// <summary>The same of what came in an epoch: what lies before it is read no more when the store is opened.</summary>
    internal bool WasAt(string host, Epoch epoch) => _hosts.TryGetValue(host, out var last) && epoch <= last;

    /// <summary>Bits flip, each anywhere in any of the files.</summary>
    internal void Flip(SimHost host, int times) => Befall(host, times, IsHashed, (path, offset) => host.Disk.Flip(path, offset, (byte)(1 << random.Next(8))));

    /// <summary>Sectors become unreadable.</summary>
    internal void Spoil(SimHost host, int times) => Befall(host, times, IsHashed, host.Disk.Spoil);

    /// <summary>The same befalls what was written to replicas that were failed over to. It has no hashes: whoever reads it is told, or shows it as any host would.</summary>
    internal void Scratch(SimHost host, int times) => Befall(host, times, IsOfReplica, host.Disk.Spoil);

    /// <summary>The same befalls what is kept of how far something had come: each is a bound, and may be lost.</summary>
    internal void Smudge(SimHost host, int times) => Befall(host, times, IsBound, (path, offset) =>
    {
        if (random.Next(2) == 0) host.Disk.Spoil(path, offset);
        else host.Disk.Flip(path, offset, (byte)(1 << random.Next(8)));
    });

    /// <summary>Sectors of what has no hashes, or which of its parts has none, become unreadable: what a replica's guest wrote and where it lies, what a capture has noted; and what is noted under a seal turns into something else.</summary>
    internal void Wear(SimHost host, int times) => Befall(host, times, IsWorn, (path, offset) =>
    {
        if (Path.GetExtension(path) is ".json" or ".copy" && random.Next(2) == 0) host.Disk.Flip(path, offset, (byte)(1 << random.Next(8)));
        else host.Disk.Spoil(path, offset);
    });

    private static bool IsWorn(string file) => Path.GetFileName(file) is "capture.json" or "capture.copy" || Path.GetExtension(file) is ".data" or ".bitmap" || (Path.GetExtension(file) == ".map" && !IsHashed(file));

    private static bool IsHashed(string file) => IsOfKeys(file)
        || (Path.GetExtension(file) is ".seg" or ".idx" or ".map" or ".raw" or ".sum" or ".aes" or ".tag" && Path.GetFileName(Path.GetDirectoryName(file)) is "log" or "base" or "spool");

    private static bool IsOfKeys(string file) => StoreKeys.FileNames.Contains(Path.GetFileName(file));

    /// <summary>Between the two writes of a store that is being made there is one.</summary>
    private static bool IsOnlyCopy(SimHost host, string file) => IsOfKeys(file) && StoreKeys.FileNames.Any(n => !host.Disk.Exists(Path.Combine(Path.GetDirectoryName(file)!, n)));

    /// <summary>One name for all files that are made from each other.</summary>
    private static string Of(string file) => IsOfKeys(file) ? Path.GetDirectoryName(file)! : Path.ChangeExtension(file, null);

    private static bool IsOfReplica(string file) => Path.GetExtension(file) is ".map" or ".data" && file.Contains("/replica/epoch-", StringComparison.Ordinal);

    private static bool IsBound(string file) => Path.GetFileName(file) is "SYNCED" or "durable" || file.EndsWith("~durable", StringComparison.Ordinal) || Path.GetExtension(file) == ".end";

    private void Befall(SimHost host, int times, Func<string, bool> isMeant, Action<string, long> what)
    {
        var files = host.Disk.Files().Where(f => isMeant(f) && host.Disk.LengthOf(f) > 0 && !IsOnlyCopy(host, f)).ToArray();
        if (files.Length == 0) return;
        _hosts[host.Name] = sites.Machines.Select(m => m.NewestEpoch).Max()!;
        for (; times > 0; times--)
        {
            var file = files[random.Next(files.Length)];
            if (!_hit.TryAdd((host.Name, Of(file)), file) && _hit[(host.Name, Of(file))] != file) continue;
            what(file, random.NextInt64(host.Disk.LengthOf(file)));
        }
    }
}
