using System.Globalization;
using System.Xml;
using System.Xml.Linq;

namespace SiteRecovery.DataPlane.Hypervisors;

/// <summary>Libvirt's domain XML, read into a machine definition. DomainXml.Build.cs writes it.</summary>
internal static partial class DomainXml
{
    private static readonly XNamespace Ours = "https://siterecovery.invalid/replica/1";

    /// <exception cref="InvalidDataException">It is no description of a machine.</exception>
    internal static MachineDefinition Parse(string xml) => Read(xml, DefinitionOf);

    /// <summary>The consoles of a running machine.</summary>
    /// <exception cref="InvalidDataException">It is no description of a machine.</exception>
    internal static IReadOnlyList<MachineConsole> Consoles(string xml) => Read(xml, ConsolesOf);

    /// <summary>A document type is not read: its entities could make a few lines into gigabytes.</summary>
    private static T Read<T>(string xml, Func<XElement, T> read)
    {
        try
        {
            using var reader = XmlReader.Create(new StringReader(xml), new XmlReaderSettings { DtdProcessing = DtdProcessing.Prohibit, IgnoreWhitespace = true });
            return read(XElement.Load(reader));
        }
        catch (Exception damaged) when (damaged is XmlException or FormatException or OverflowException or InvalidOperationException)
        {
            throw new InvalidDataException($"the description of the machine cannot be read: {damaged.Message}", damaged);
        }
    }

    private static MachineDefinition DefinitionOf(XElement domain)
    {
        var os = domain.Element("os");
        var devices = domain.Element("devices");
        var disks = (devices?.Elements("disk") ?? []).Select(DiskOf).ToArray();
        return new MachineDefinition
        {
            Name = (string?)domain.Element("name") ?? "",
            Id = (string?)domain.Element("uuid"),
            ReplicaOf = (string?)domain.Element("metadata")?.Element(Ours + "replica")?.Attribute("of"),
            Architecture = (string?)os?.Element("type")?.Attribute("arch") ?? "x86_64",
            MachineType = (string?)os?.Element("type")?.Attribute("machine") ?? "pc",
            Firmware = FirmwareOf(os),
            Kernel = (string?)os?.Element("kernel") is { Length: > 0 } kernel ? new DirectKernel(kernel, (string?)os.Element("initrd"), (string?)os.Element("cmdline")) : null,
            CpuCount = (int?)domain.Element("vcpu") ?? 1,
            CpuTopology = TopologyOf(domain.Element("cpu")?.Element("topology")),
            CpuModel = CpuModelOf(domain.Element("cpu")),
            MemoryBytes = BytesOf(domain.Element("memory")),
            ClockIsLocalTime = (string?)domain.Element("clock")?.Attribute("offset") == "localtime",
            ScsiController = devices?.Elements("controller").Where(c => (string?)c.Attribute("type") == "scsi").Select(c => (string?)c.Attribute("model")).FirstOrDefault(),
            Disks = [.. disks.Where(d => d.Serial != MachineDefinition.SeedSerial)],
            Seed = disks.FirstOrDefault(d => d.Serial == MachineDefinition.SeedSerial)?.Source,
            Nics = [.. (devices?.Elements("interface") ?? []).Select(NicOf)],
        };
    }

    private static List<MachineConsole> ConsolesOf(XElement domain)
    {
        var devices = domain.Element("devices");
        var consoles = new List<MachineConsole>();
        foreach (var graphics in devices?.Elements("graphics") ?? [])
        {
            var kind = (string?)graphics.Attribute("type") ?? "";
            var socket = (string?)graphics.Attribute("socket") ?? graphics.Elements("listen").Select(l => (string?)l.Attribute("socket")).FirstOrDefault(s => s is not null);
            if (socket is not null) consoles.Add(new MachineConsole(kind, "unix:" + socket));
            else if ((int?)graphics.Attribute("port") is > 0 and var port)
                consoles.Add(new MachineConsole(kind, string.Create(CultureInfo.InvariantCulture, $"{kind}://{(string?)graphics.Attribute("listen") ?? "127.0.0.1"}:{port}")));
        }
        foreach (var source in (devices?.Elements("serial") ?? []).Select(s => s.Element("source")).OfType<XElement>())
        {
            if ((string?)source.Attribute("path") is not { } path) continue;
            consoles.Add(new MachineConsole("serial", (source.Attribute("mode") is null ? "pty:" : "unix:") + path));
        }
        return consoles;
    }

    private static MachineFirmware FirmwareOf(XElement? os)
    {
        var loader = os?.Element("loader");
        var isUefi = (string?)os?.Attribute("firmware") == "efi" || (string?)loader?.Attribute("type") == "pflash";
        if (!isUefi) return new MachineFirmware();
        var variables = os!.Element("nvram");
        var secure = (string?)loader?.Attribute("secure") == "yes"
            || os.Element("firmware")?.Elements("feature").Any(f => (string?)f.Attribute("name") == "secure-boot" && (string?)f.Attribute("enabled") == "yes") == true;
        return new MachineFirmware(FirmwareKind.Uefi, secure, NotEmpty(loader?.Value), NotEmpty(variables?.Value), (string?)variables?.Attribute("template"));
    }

    private static CpuTopology? TopologyOf(XElement? topology) => topology is null ? null
        : new CpuTopology((int?)topology.Attribute("sockets") ?? 1, ((int?)topology.Attribute("cores") ?? 1) * ((int?)topology.Attribute("dies") ?? 1), (int?)topology.Attribute("threads") ?? 1);

    private static string? CpuModelOf(XElement? cpu) => (string?)cpu?.Attribute("mode") is { } mode and not "custom" ? mode : NotEmpty(cpu?.Element("model")?.Value);

    private static long BytesOf(XElement? memory) => memory is null ? 0 : (long)memory * ((string?)memory.Attribute("unit") switch
    {
        "b" or "bytes" => 1,
        "KB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "M" or "MiB" => 1L << 20,
        "G" or "GiB" => 1L << 30,
        "T" or "TiB" => 1L << 40,
        _ => 1L << 10,
    });

    private static MachineDisk DiskOf(XElement disk) => new()
    {
        Target = (string?)disk.Element("target")?.Attribute("dev") ?? "",
        Bus = (string?)disk.Element("target")?.Attribute("bus") ?? "virtio",
        Device = (string?)disk.Attribute("device") switch { "cdrom" => DiskDevice.CdRom, "floppy" => DiskDevice.Floppy, _ => DiskDevice.Disk },
        Source = SourceOf((string?)disk.Attribute("type"), disk.Element("source")),
        Format = (string?)disk.Element("driver")?.Attribute("type") ?? "raw",
        IsReadOnly = disk.Element("readonly") is not null,
        BootOrder = (int?)disk.Element("boot")?.Attribute("order"),
        Serial = NotEmpty(disk.Element("serial")?.Value),
    };

    private static string? SourceOf(string? type, XElement? source)
    {
        string? At(string name) => (string?)source?.Attribute(name);
        if (source is null) return null;
        return type switch
        {
            "file" => At("file"),
            "block" => At("dev"),
            "volume" => $"volume:{At("pool")}/{At("volume")}",
            "network" when At("protocol") == "nbd" => NbdOf(source),
            "network" => $"{At("protocol")}:{At("name")}",
            _ => At("file") ?? At("dev") ?? At("dir") ?? At("name"),
        };
    }

    private static string NbdOf(XElement source)
    {
        var host = source.Element("host");
        return new NbdAddress((string?)source.Attribute("name") ?? "", (string?)host?.Attribute("socket"), (string?)host?.Attribute("name") ?? "localhost", (int?)host?.Attribute("port") ?? 10809).ToString();
    }

    private static MachineNic NicOf(XElement nic)
    {
        var source = nic.Element("source");
        return new MachineNic
        {
            Mac = ((string?)nic.Element("mac")?.Attribute("address") ?? "").ToLowerInvariant(),
            Network = (string?)nic.Attribute("type") switch
            {
                "null" => null,
                "user" when (string?)nic.Element("link")?.Attribute("state") == "down" => null, // as Build writes it
                "network" => "network:" + (string?)source?.Attribute("network"),
                "bridge" => "bridge:" + (string?)source?.Attribute("bridge"),
                "direct" => "direct:" + (string?)source?.Attribute("dev"),
                { } other => other,
                null => null,
            },
            Model = (string?)nic.Element("model")?.Attribute("type"),
        };
    }

    private static string? NotEmpty(string? text) => string.IsNullOrEmpty(text) ? null : text;
}
