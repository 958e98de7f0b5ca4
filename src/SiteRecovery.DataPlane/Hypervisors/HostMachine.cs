using System.Text.Json;
using System.Text.Json.Serialization;

namespace SiteRecovery.DataPlane.Hypervisors;

/// <summary>A machine of an agent's host, and whether it can be protected.</summary>
/// <param name="State">"stopped", "running", "paused" or "unknown".</param>
/// <param name="Disks">In the machine's order; media are not among them.</param>
/// <param name="Definition">Null where it is too large to be told.</param>
/// <param name="Problem">Why the definition is not told.</param>
public sealed record HostMachine(string Name, string State, IReadOnlyList<HostDisk> Disks, MachineDefinition? Definition, string? Problem = null)
{
    /// <summary>What a message of the cluster carries, with room for what is around it.</summary>
    public const int BytesMax = 64 << 10;

    public static HostMachine Of(HypervisorMachine machine, DiskDiscovery disks) => new(
        machine.Name, machine.State.ToString().ToLowerInvariant(), [.. machine.Definition.Disks.Where(d => d.Device == DiskDevice.Disk).Select(disks.Judge)], machine.Definition);

    internal HostMachine Bounded()
    {
        var bytes = BytesOf(this);
        return bytes <= BytesMax ? this : new HostMachine(Name.Length <= NameLengthMax ? Name : Name[..NameLengthMax], State, [], null,
            $"its definition has {bytes} bytes, and at most {BytesMax} can be told: protect its disks by their paths");
    }

    internal static int BytesOf(HostMachine machine) => JsonSerializer.SerializeToUtf8Bytes(machine, HostMachineJson.Default.HostMachine).Length;

    private const int NameLengthMax = 200;
}

/// <param name="Source">Path on the host, or what else the machine's disk is.</param>
/// <param name="SizeBytes">Null where it is not known.</param>
/// <param name="Problem">Why it cannot be captured; null: it can.</param>
public sealed record HostDisk(string Target, string? Source, long? SizeBytes, string? Problem = null, string? Remedy = null);

/// <param name="More">There are machines after these.</param>
public sealed record HostMachinePage(IReadOnlyList<HostMachine> Machines, bool More)
{
    /// <summary>As many of the machines after <paramref name="skip"/> as can be told at once: one at least, where there is any.</summary>
    public static HostMachinePage Of(IReadOnlyList<HypervisorMachine> all, DiskDiscovery disks, int skip, int limit)
    {
        var (told, bytes) = (new List<HostMachine>(), 0);
        foreach (var machine in all.Skip(skip).Take(limit).Select(m => HostMachine.Of(m, disks).Bounded()))
        {
            bytes += HostMachine.BytesOf(machine);
            if (told.Count > 0 && bytes > HostMachine.BytesMax) break;
            told.Add(machine);
        }
        return new(told, skip + told.Count < all.Count);
    }

    public string ToJson() => JsonSerializer.Serialize(this, HostMachineJson.Default.HostMachinePage);

    /// <exception cref="InvalidDataException">It is no page of machines.</exception>
    public static HostMachinePage FromJson(string json)
    {
        try
        {
            return JsonSerializer.Deserialize(json, HostMachineJson.Default.HostMachinePage) ?? throw new InvalidDataException("the list of machines is empty");
        }
        catch (JsonException damaged)
        {
            throw new InvalidDataException($"the list of machines is damaged: {damaged.Message}", damaged);
        }
    }
}

[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase, DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull)]
[JsonSerializable(typeof(HostMachinePage))]
internal sealed partial class HostMachineJson : JsonSerializerContext;
