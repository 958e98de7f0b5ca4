using System.Text.Json;
using System.Text.Json.Serialization;

namespace SiteRecovery.DataPlane.Hypervisors;

/// <summary>
/// A machine without its hypervisor: enough to build it again on another host. Travels with the recovery points as JSON; HYPERVISORS.md has the
/// fields. A field is added, never changed; a reader skips what it does not know.
/// </summary>
public sealed record MachineDefinition
{
    public const int FormatNewest = 1;

    public int Format { get; init; } = FormatNewest;
    public required string Name { get; init; }
    /// <summary>The UUID that the guest sees as its own (SMBIOS).</summary>
    public string? Id { get; init; }
    /// <summary>Name of the machine that this one was made from; null for a machine of the host's owner.</summary>
    public string? ReplicaOf { get; init; }
    public string Architecture { get; init; } = "x86_64";
    /// <summary>As QEMU names it: "pc-q35-7.2", "pc".</summary>
    public required string MachineType { get; init; }
    public MachineFirmware Firmware { get; init; } = new();
    /// <summary>Null where the machine boots from its disks.</summary>
    public DirectKernel? Kernel { get; init; }
    public required int CpuCount { get; init; }
    public CpuTopology? CpuTopology { get; init; }
    /// <summary>A model of QEMU's, "host-passthrough", "host-model" or "maximum"; null for the hypervisor's default.</summary>
    public string? CpuModel { get; init; }
    public required long MemoryBytes { get; init; }
    /// <summary>The hardware clock shows local time, as Windows wants it.</summary>
    public bool ClockIsLocalTime { get; init; }
    /// <summary>Model of the controller of the disks on bus "scsi".</summary>
    public string? ScsiController { get; init; }
    public IReadOnlyList<MachineDisk> Disks { get; init; } = [];
    public IReadOnlyList<MachineNic> Nics { get; init; } = [];
    /// <summary>Path on this host of an image that tells the guest of a replica its addresses; null for none.</summary>
    public string? Seed { get; init; }

    /// <summary>The seed as a disk: read-only, in the first free place of the bus that the guest boots from, so that it surely has its driver.</summary>
    [JsonIgnore]
    internal MachineDisk? SeedDisk
    {
        get
        {
            if (Seed is null) return null;
            var bus = Disks.FirstOrDefault(d => d.Device == DiskDevice.Disk)?.Bus ?? "virtio";
            var places = bus switch { "virtio" => "vd", "ide" => "hd", _ => "sd" };
            // Libvirt makes the place on a bus of the last letter alone.
            var target = Enumerable.Range('a', 26).Where(letter => Disks.All(d => !d.Target.EndsWith((char)letter))).Select(letter => places + (char)letter).FirstOrDefault()
                ?? throw new HypervisorException(HypervisorProblem.Unfit, $"{Name} has no place left for a disk on the bus {bus}");
            // QEMU has no read-only hard disk there.
            var device = bus is "ide" or "sata" ? DiskDevice.CdRom : DiskDevice.Disk;
            return new MachineDisk { Target = target, Bus = bus, Device = device, Source = Seed, IsReadOnly = true, Serial = SeedSerial };
        }
    }

    /// <summary>By which the seed is known among the disks.</summary>
    internal const string SeedSerial = "siterecovery-seed";

    public byte[] ToJson() => JsonSerializer.SerializeToUtf8Bytes(this, MachineJson.Default.MachineDefinition);

    /// <exception cref="InvalidDataException">It is no machine definition, or one of a newer format.</exception>
    public static MachineDefinition FromJson(ReadOnlySpan<byte> json)
    {
        try
        {
            var machine = JsonSerializer.Deserialize(json, MachineJson.Default.MachineDefinition) ?? throw new InvalidDataException("the machine definition is empty");
            return machine.Format <= FormatNewest ? machine
                : throw new InvalidDataException($"the machine definition has format {machine.Format}, and this version knows {FormatNewest} at most");
        }
        catch (JsonException damaged)
        {
            throw new InvalidDataException($"the machine definition is damaged: {damaged.Message}", damaged);
        }
    }
}

[JsonConverter(typeof(JsonStringEnumConverter<FirmwareKind>))]
public enum FirmwareKind
{
    [JsonStringEnumMemberName("bios")] Bios,
    [JsonStringEnumMemberName("uefi")] Uefi,
}

/// <param name="Loader">Path of the firmware's code on the host it was read from.</param>
/// <param name="Variables">Path of the machine's own variables there.</param>
/// <param name="VariablesTemplate">What these variables began as.</param>
public sealed record MachineFirmware(FirmwareKind Kind = FirmwareKind.Bios, bool SecureBoot = false, string? Loader = null, string? Variables = null, string? VariablesTemplate = null);

/// <summary>Paths on the host.</summary>
public sealed record DirectKernel(string Kernel, string? InitialRamDisk = null, string? CommandLine = null);

public sealed record CpuTopology(int Sockets, int Cores, int Threads);

[JsonConverter(typeof(JsonStringEnumConverter<DiskDevice>))]
public enum DiskDevice
{
    [JsonStringEnumMemberName("disk")] Disk,
    [JsonStringEnumMemberName("cdrom")] CdRom,
    [JsonStringEnumMemberName("floppy")] Floppy,
}

public sealed record MachineDisk
{
    /// <summary>The name of the place: "vda", "sdb".</summary>
    public required string Target { get; init; }
    /// <summary>"virtio", "scsi", "sata", "ide" or "usb".</summary>
    public required string Bus { get; init; }
    public DiskDevice Device { get; init; }
    /// <summary>An absolute path, an NBD URI ("nbd+unix:///export?socket=path", "nbd://host:port/export"), another URI that names the storage, or null: nothing is in it.</summary>
    public string? Source { get; init; }
    /// <summary>"raw" or "qcow2".</summary>
    public string Format { get; init; } = "raw";
    /// <summary>As the guest sees it; null where the hypervisor does not tell.</summary>
    public long? SizeBytes { get; init; }
    public bool IsReadOnly { get; init; }
    /// <summary>1 is tried first; null is not tried where another disk has a number.</summary>
    public int? BootOrder { get; init; }
    public string? Serial { get; init; }

    /// <summary>The NBD export that it is; null: it is none, or in a spelling that we do not know.</summary>
    public string? ExportName() => Source is null ? null : NbdAddress.ExportOf(Source);
}

public sealed record MachineNic
{
    /// <summary>Six bytes in hexadecimal, separated by colons, in lower case.</summary>
    public required string Mac { get; init; }
    /// <summary>"network:NAME" (libvirt's), "bridge:NAME", "direct:HOST-INTERFACE", "user"; null for a cable that is plugged in nowhere.</summary>
    public string? Network { get; init; }
    /// <summary>"virtio", "e1000e", …; null for the hypervisor's default.</summary>
    public string? Model { get; init; }
    /// <summary>What the guest has on it, "10.0.0.5/24"; nobody asks the guest: null where nobody said.</summary>
    public IReadOnlyList<string>? Addresses { get; init; }
    public IReadOnlyList<string>? Gateways { get; init; }
    public IReadOnlyList<string>? Dns { get; init; }
    /// <summary>Domains that short names are looked up in.</summary>
    public IReadOnlyList<string>? Search { get; init; }
}

[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase, DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull,
    UseStringEnumConverter = true, WriteIndented = true)]
[JsonSerializable(typeof(MachineDefinition))]
internal sealed partial class MachineJson : JsonSerializerContext;
