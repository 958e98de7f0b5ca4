using System.Security.Cryptography;
using System.Text;

namespace SiteRecovery.DataPlane.Hypervisors;

/// <summary>Test: beside the machine it is made from. Failover: in its place.</summary>
public enum ReplicaPurpose { Test, Failover }

/// <summary>How a machine becomes its replica. Pure: the same plan gives the same replica, so that defining it again changes nothing.</summary>
public sealed record ReplicaPlan
{
    /// <summary>The key that stands for every network not named.</summary>
    public const string AnyNetwork = "*";

    public required string Name { get; init; }
    public required ReplicaPurpose Purpose { get; init; }
    /// <summary>Place of the disk ("vda") → NBD URI of our export.</summary>
    public required IReadOnlyDictionary<string, string> Disks { get; init; }
    /// <summary>Places of disks that are not protected, and that the replica goes without.</summary>
    public IReadOnlyCollection<string> DisksLeftOut { get; init; } = [];
    /// <summary>Network of the source → network here, null for none. A network that is not in it is none: a test must never reach production by oversight.</summary>
    public IReadOnlyDictionary<string, string?> Networks { get; init; } = new Dictionary<string, string?>();

    /// <exception cref="HypervisorException">A disk of the machine is neither served nor left out, or one that is served is not the machine's.</exception>
    public MachineDefinition Make(MachineDefinition source)
    {
        var disks = source.Disks.Where(d => d.Device == DiskDevice.Disk).ToArray();
        if (Disks.Keys.FirstOrDefault(target => disks.All(d => d.Target != target)) is { } foreign)
            throw new HypervisorException(HypervisorProblem.Unfit, $"the machine {source.Name} has no disk {foreign}");
        return source with
        {
            Name = Name,
            ReplicaOf = source.Name,
            Seed = null,
            Id = Derived("id", 16, bytes =>
            {
                bytes[6] = (byte)(bytes[6] & 0x0F | 0x80); // version 8: derived in a way of our own
                bytes[8] = (byte)(bytes[8] & 0x3F | 0x80);
                return new Guid(bytes, bigEndian: true).ToString();
            }),
            // Its variables are made anew here: those of the source are with the source.
            Firmware = source.Firmware with { Variables = null },
            Disks = [.. disks.Where(d => !DisksLeftOut.Contains(d.Target)).Select(d => d with { Source = ServedAt(source, d), Format = "raw" })],
            Nics = [.. source.Nics.Select((nic, index) => nic with { Network = MappedFrom(nic.Network), Mac = MacOf(nic, index) })],
        };
    }

    private string ServedAt(MachineDefinition source, MachineDisk disk) => Disks.TryGetValue(disk.Target, out var uri) ? NbdAddress.Parse(uri).ToString()
        : throw new HypervisorException(HypervisorProblem.Unfit, $"the disk {disk.Target} of {source.Name} is not protected, so its replica would be without it",
            "Protect the disk, or leave it out by name");

    private string? MappedFrom(string? network) =>
        network is null ? null : Networks.TryGetValue(network, out var mapped) || Networks.TryGetValue(AnyNetwork, out mapped) ? mapped : null;

    private string MacOf(MachineNic nic, int index) => Purpose == ReplicaPurpose.Failover ? nic.Mac
        : Derived($"mac {index} {nic.Mac}", 3, bytes => $"52:54:00:{bytes[0]:x2}:{bytes[1]:x2}:{bytes[2]:x2}");

    private string Derived(string what, int count, Func<byte[], string> write) => write(SHA256.HashData(Encoding.UTF8.GetBytes($"{Name}\n{what}"))[..count]);
}
