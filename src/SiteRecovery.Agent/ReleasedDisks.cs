using System.Text.Json;
using System.Text.Json.Serialization;
using SiteRecovery.DataPlane.Nbd;
using SiteRecovery.DataPlane.Storage;
using SiteRecovery.DataPlane.Transport;

namespace SiteRecovery.Agent;

/// <summary>A disk whose protection has ended while a guest had it open.</summary>
public sealed record ReleasedDisk(string ExportName, string Path)
{
    /// <summary>It is, or stands in the way of, a disk of this machine.</summary>
    public bool Concerns(ProtectMachine machine) => machine.Disks.Any(d => d.Path == Path || ExportName == AgentMachine.ExportName(machine.Machine, d.Name));
}

/// <summary>
/// Disks that are served on without capture: a guest must not lose its disk because its protection ends. A disk is let go when
/// nobody has had it open for a while, or when it is protected anew.
/// </summary>
public sealed class ReleasedDisks(AgentHost host)
{
    private readonly string _file = Path.Combine(host.Folder, "released.json");

    /// <summary>Longer than a guest takes to connect again.</summary>
    public static TimeSpan Patience { get; } = TimeSpan.FromMinutes(10);

    private sealed record Serving(FileDevice Device, IDisposable Lock, long LastOpen); // a timestamp: a clock that is set right ends nothing

    private readonly Dictionary<ReleasedDisk, Serving> _serving = [];
    private HashSet<ReleasedDisk> _noted = []; // what the file says or, where that is not certain, may say: whatever is served, and more
    private readonly Dictionary<ReleasedDisk, string> _saidOf = []; // why it is not served
    private bool _isCertain;

    /// <summary>It is known what an earlier process served.</summary>
    public bool IsResumed { get; private set; }

    /// <summary>Something is noted and not served.</summary>
    public bool AnyUnserved => _noted.Count > _serving.Count;

    /// <summary>What an earlier process served is served again. The result is what was damaged.</summary>
    /// <param name="isProtected">Says of a disk that it is served with capture, or will be.</param>
    /// <exception cref="IOException">It cannot be read, or set aside, which disks these are: to be tried again.</exception>
    public string? Resume(Func<ReleasedDisk, bool> isProtected)
    {
        var (kept, damage) = Kept();
        (_noted, IsResumed) = ([.. kept], true);
        ServeNoted(isProtected);
        return damage;
    }

    /// <summary>Whatever is noted, and neither served nor protected, is served where it can be. To be called again now and then: storage may come up later.</summary>
    public void ServeNoted(Func<ReleasedDisk, bool> isProtected)
    {
        foreach (var disk in _noted.Where(d => !_serving.ContainsKey(d)).ToArray())
        {
            if (TryServe(disk, isProtected) is not { } problem) _saidOf.Remove(disk);
            else if (_saidOf.GetValueOrDefault(disk) != problem) host.Log.Say($"{disk.ExportName}: its protection has ended, and it is not served: {_saidOf[disk] = problem}; tried again now and then");
        }
    }

    private (ReleasedDisk[] Kept, string? Damage) Kept()
    {
        // One that is there need not be durable yet.
        _isCertain = !host.Files.Exists(_file);
        if (host.Files.TryReadAll(_file) is not { } bytes) return ([], null);
        try
        {
            var kept = JsonSerializer.Deserialize(bytes, ReleasedJson.Default.ReleasedDiskArray) ?? [];
            return Array.TrueForAll(kept, d => d is { ExportName: not null, Path: not null }) ? (kept, null) : throw new JsonException("a disk has no name or no path");
        }
        catch (JsonException damaged)
        {
            host.Files.Rename(_file, _file + ".damaged");
            return ([], $"{_file} was damaged ({damaged.Message}) and is set aside as {Path.GetFileName(_file)}.damaged: disks whose protection ended while a guest had them open are not served any longer; protect them anew, or let the guests open them without the agent");
        }
    }

    public bool Any => _serving.Count > 0;

    public bool Has(string path) => Of(path).Any();

    public IEnumerable<ReleasedDisk> Of(string path) => _serving.Keys.Where(d => d.Path == path);

    public bool IsNoted(ReleasedDisk disk) => _noted.Contains(disk);

    /// <summary>
    /// Of a machine's disks the next process serves those that are open, if this one does not get that far, and no others: what an earlier release that came to nothing has left would come back beside a replica. Durable when it returns.
    /// </summary>
    /// <exception cref="IOException">It cannot be written down, or what was before is not known yet and must not be written over.</exception>
    public void Note(Func<ReleasedDisk, bool> isOfMachine, IEnumerable<ReleasedDisk> open)
    {
        if (!IsResumed) throw new IOException($"{_file} could not be read when the agent started");
        Save(_noted.Where(d => _serving.ContainsKey(d) || !isOfMachine(d)).Union(open));
    }

    /// <summary>Now and then: lets go of what nobody has had open for long.</summary>
    public async Task TidyAsync()
    {
        var now = host.Time.GetTimestamp();
        foreach (var (disk, serving) in _serving.ToArray())
        {
            if (host.Nbd.ConnectionsOf(disk.ExportName) > 0) _serving[disk] = serving with { LastOpen = now };
            else if (host.Time.GetElapsedTime(serving.LastOpen, now) > Patience)
            {
                Save(_noted.Where(d => d != disk));
                await LetGoAsync(disk);
            }
        }
    }

    public async ValueTask DisposeAsync()
    {
        foreach (var serving in _serving.Values)
        {
            await serving.Device.DisposeAsync();
            serving.Lock.Dispose();
        }
    }

    /// <summary>Null, or why it is neither served nor protected.</summary>
    private string? TryServe(ReleasedDisk disk, Func<ReleasedDisk, bool> isProtected)
    {
        IDisposable? held = null;
        try
        {
            if (isProtected(disk)) return null;
            if (host.Exports.Names.Contains(disk.ExportName)) return $"another disk is served as {disk.ExportName}";
            held = host.TakeDisk(disk.Path);
            if (held is null) return $"the disk {disk.Path} is in use by another program";
            var device = new FileDevice(host.Files.Open(disk.Path, FileOpening.ReadWrite), readOnly: false);
            host.Exports.Add(new NbdExport(disk.ExportName, device, "no longer protected"));
            _serving[disk] = new Serving(device, held, host.Time.GetTimestamp());
            return null;
        }
        // Or a path that can be none of a file's.
        catch (Exception problem) when (problem is IOException or UnauthorizedAccessException or ArgumentException)
        {
            held?.Dispose();
            return problem.Message;
        }
    }

    /// <summary>Whoever has it open connects again, to whatever serves it then. The next process serves it on, until <see cref="TryForget"/>.</summary>
    public async Task LetGoAsync(ReleasedDisk disk)
    {
        if (!_serving.Remove(disk, out var serving)) return;
        try
        {
            host.Exports.Remove(disk.ExportName);
            await host.Nbd.CloseConnectionsAsync(disk.ExportName, CancellationToken.None);
            await serving.Device.DisposeAsync();
        }
        finally
        {
            // It would be said to be another program's until this one ends.
            serving.Lock.Dispose();
        }
    }

    /// <summary>They are protected anew, or fenced. Null, or why that is not written down.</summary>
    public string? TryForget(Func<ReleasedDisk, bool> isOfMachine)
    {
        try
        {
            if (_noted.Any(isOfMachine)) Note(isOfMachine, []);
            return null;
        }
        catch (Exception unsaved) when (unsaved is IOException or UnauthorizedAccessException)
        {
            return unsaved.Message;
        }
    }

    private void Save(IEnumerable<ReleasedDisk> disks)
    {
        var wanted = disks.ToHashSet();
        if (_isCertain && wanted.SetEquals(_noted)) return;
        (_noted, _isCertain) = ([.. _noted, .. wanted], false);
        host.Files.Replace(_file, JsonSerializer.SerializeToUtf8Bytes([.. wanted], ReleasedJson.Default.ReleasedDiskArray));
        (_noted, _isCertain) = (wanted, true);
    }
}

[JsonSerializable(typeof(ReleasedDisk[]))]
internal sealed partial class ReleasedJson : JsonSerializerContext;
