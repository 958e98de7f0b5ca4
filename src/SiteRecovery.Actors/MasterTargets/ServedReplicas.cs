using System.Text.Json;
using SiteRecovery.DataPlane.Storage;
using SiteRecovery.Domain.History;
using SiteRecovery.Domain.Results;

namespace SiteRecovery.Actors.MasterTargets;

/// <summary>
/// Which replicas this master target serves, on its disk: a process that was killed serves them again by itself, since the machines that run on them wait for their disks and the
/// configuration server may be in a site that is dark. As an agent does with the disks it served; what was fenced stays so, in its own state.
/// </summary>
/// <param name="folder">One file a machine.</param>
public sealed class ServedReplicas(string folder, IFileSystem files)
{
    private static readonly JsonSerializerOptions Json = new(JsonSerializerDefaults.Web);
    private readonly Guid _boot = HostBoot.IdOf(files);

    /// <param name="Boot">In which it was served: after a boot the machine does not run, and whoever starts it says so.</param>
    private sealed record Kept(Guid Boot, ServeReplica Order);

    /// <summary>Those that were served when the process before ended.</summary>
    public IReadOnlyList<MachineId> Machines() => [.. files.List(folder).Where(path => path.EndsWith(".json", StringComparison.Ordinal))
        .Select(path => Path.GetFileNameWithoutExtension(path)).Where(MachineId.IsValid).Select(name => new MachineId(name))];

    /// <summary>The order by which it was served; null: it was not, or in another life of the host, or that is not known any more.</summary>
    public ServeReplica? OrderOf(MachineId machine) =>
        files.TryReadAll(PathOf(machine)) is { } bytes && Parse(machine, bytes) is { } kept && kept.Boot == _boot && _boot != Guid.Empty ? kept.Order : null;

    /// <summary>In which layer it was served last, in whichever life of the host; null: it was not, or has ended since then. False: something says it that cannot be read.</summary>
    public (Epoch? Layer, bool IsKnown) LayerOf(MachineId machine)
    {
        try
        {
            return files.TryReadAll(PathOf(machine)) is not { } bytes ? (null, true) : Parse(machine, bytes) is { } kept ? (kept.Order.Layer, true) : (null, false);
        }
        catch (IOException)
        {
            return (null, false);
        }
    }

    /// <summary>Null: it is damaged.</summary>
    private static Kept? Parse(MachineId machine, byte[] bytes)
    {
        try
        {
            return JsonSerializer.Deserialize<Kept>(SealedJson.Open(bytes), Json) is { Order: { Point: not null, Policy: not null } order } kept && order.Machine == machine ? kept : null;
        }
        catch (Exception damaged) when (damaged is JsonException or InvalidDataException)
        {
            return null;
        }
    }

    public void Keep(ServeReplica order)
    {
        var bytes = SealedJson.Seal(JsonSerializer.SerializeToUtf8Bytes(new Kept(_boot, order), Json));
        if (files.TryReadAll(PathOf(order.Machine)) is { } now && now.AsSpan().SequenceEqual(bytes)) return;
        files.CreateDirectory(folder);
        files.Replace(PathOf(order.Machine), bytes);
    }

    public void Forget(MachineId machine)
    {
        if (files.Exists(PathOf(machine))) files.Delete(PathOf(machine));
    }

    /// <summary>The file that says it.</summary>
    public string PathOf(MachineId machine) => Path.Combine(folder, machine.Value + ".json");
}
