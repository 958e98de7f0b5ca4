using System.Globalization;
using System.Xml.Linq;

namespace SiteRecovery.DataPlane.Hypervisors;

internal static partial class DomainXml
{
    /// <summary>For how long, in seconds, a guest's requests wait for an export that went away.</summary>
    private const int ReconnectDelaySeconds = 60;

    /// <exception cref="HypervisorException">The host cannot have such a machine.</exception>
    internal static string Build(MachineDefinition machine, LibvirtHost host)
    {
        var type = MachineTypes.Nearest(machine.MachineType, host.MachineTypes);
        if (type is null && host.MachineTypes.Count > 0)
            throw new HypervisorException(HypervisorProblem.Unfit, $"the host has no machine like {machine.MachineType}, which {machine.Name} is");
        return new XElement("domain", new XAttribute("type", host.DomainType),
            new XElement("name", machine.Name),
            machine.Id is { } id ? new XElement("uuid", id) : null,
            machine.ReplicaOf is { } of ? new XElement("metadata", new XElement(Ours + "replica", new XAttribute(XNamespace.Xmlns + "siterecovery", Ours.NamespaceName), new XAttribute("of", of))) : null,
            new XElement("memory", new XAttribute("unit", "KiB"), (machine.MemoryBytes + 1023) / 1024),
            new XElement("vcpu", machine.CpuCount),
            Os(machine, host, type),
            new XElement("features", new XElement("acpi"), new XElement("apic"), machine.Firmware.SecureBoot ? new XElement("smm", new XAttribute("state", "on")) : null),
            Cpu(machine, host),
            new XElement("clock", new XAttribute("offset", machine.ClockIsLocalTime ? "localtime" : "utc")),
            new XElement("on_poweroff", "destroy"), new XElement("on_reboot", "restart"), new XElement("on_crash", "destroy"),
            new XElement("devices",
                machine.Disks.Any(d => d.Bus == "scsi")
                    ? new XElement("controller", new XAttribute("type", "scsi"), new XAttribute("index", 0), new XAttribute("model", machine.ScsiController ?? "virtio-scsi"))
                    : null,
                machine.Disks.Concat(machine.SeedDisk is { } seed ? [seed] : []).Select(Disk),
                machine.Nics.Select(Nic),
                new XElement("serial", new XAttribute("type", "pty")),
                // On a socket of libvirt's own folder: no port that anybody can reach.
                host.DomainType == "test" ? null : new XElement("graphics", new XAttribute("type", "vnc"), new XElement("listen", new XAttribute("type", "socket"))),
                host.DomainType == "test" ? null : new XElement("video", new XElement("model", new XAttribute("type", "vga"))))).ToString();
    }

    private static XElement Os(MachineDefinition machine, LibvirtHost host, string? type) => new("os",
        // Which code and variables there are for it is this host's to choose.
        machine.Firmware.Kind == FirmwareKind.Uefi ? new XAttribute("firmware", "efi") : null,
        new XElement("type", new XAttribute("arch", host.Architecture), type is null ? null : new XAttribute("machine", type), host.OsType),
        machine.Firmware.Kind == FirmwareKind.Uefi
            ? new XElement("firmware", ((string[])["secure-boot", "enrolled-keys"]).Select(f => new XElement("feature",
                new XAttribute("enabled", machine.Firmware.SecureBoot ? "yes" : "no"), new XAttribute("name", f))))
            : null,
        machine.Kernel is { } kernel
            ? new object?[]
            {
                new XElement("kernel", kernel.Kernel),
                kernel.InitialRamDisk is { } disk ? new XElement("initrd", disk) : null,
                kernel.CommandLine is { } line ? new XElement("cmdline", line) : null,
            }
            : machine.Disks.Any(d => d.BootOrder is not null) ? null : new XElement("boot", new XAttribute("dev", "hd")));

    private static XElement? Cpu(MachineDefinition machine, LibvirtHost host)
    {
        if (machine.CpuModel is null && machine.CpuTopology is null) return null;
        var topology = machine.CpuTopology is { } t
            ? new XElement("topology", new XAttribute("sockets", t.Sockets), new XAttribute("cores", t.Cores), new XAttribute("threads", t.Threads))
            : null;
        return machine.CpuModel switch
        {
            null => new XElement("cpu", topology),
            // Without KVM the host's own processor cannot be had.
            "host-passthrough" or "host-model" or "maximum" => new XElement("cpu", new XAttribute("mode", host.DomainType == "kvm" ? machine.CpuModel : "maximum"), topology),
            var model => new XElement("cpu", new XAttribute("mode", "custom"), new XAttribute("match", "exact"), new XAttribute("check", "none"),
                new XElement("model", new XAttribute("fallback", "allow"), model), topology),
        };
    }

    private static XElement Disk(MachineDisk disk)
    {
        var (type, source) = disk.Source switch
        {
            null => ("file", null),
            var nbd when NbdAddress.IsNbd(nbd) => ("network", NbdSource(NbdAddress.Parse(nbd))),
            var device when device.StartsWith("/dev/", StringComparison.Ordinal) => ("block", new XElement("source", new XAttribute("dev", device))),
            var path when path.StartsWith('/') => ("file", new XElement("source", new XAttribute("file", path))),
            var other => throw new HypervisorException(HypervisorProblem.Unfit, $"the disk {disk.Target} lies at {other}, and libvirt is only given files, block devices and NBD exports"),
        };
        return new XElement("disk", new XAttribute("type", type), new XAttribute("device", disk.Device.ToString().ToLowerInvariant()),
            new XElement("driver", new XAttribute("name", "qemu"), new XAttribute("type", disk.Format), new XAttribute("discard", "unmap"),
                // Libvirt 9.0 knows no <reconnect> and drops it: a machine that is stopped is continued, and an error that its guest was given is not taken back.
                type == "network" ? new XAttribute("error_policy", "stop") : null),
            source,
            new XElement("target", new XAttribute("dev", disk.Target), new XAttribute("bus", disk.Bus)),
            disk.IsReadOnly ? new XElement("readonly") : null,
            disk.Serial is { } serial ? new XElement("serial", serial) : null,
            disk.BootOrder is { } order ? new XElement("boot", new XAttribute("order", order)) : null);
    }

    private static XElement NbdSource(NbdAddress address) => new("source", new XAttribute("protocol", "nbd"), new XAttribute("name", address.Export),
        address.Socket is { } socket
            ? new XElement("host", new XAttribute("transport", "unix"), new XAttribute("socket", socket))
            : new XElement("host", new XAttribute("name", address.Host!), new XAttribute("port", address.Port.ToString(CultureInfo.InvariantCulture))),
        new XElement("reconnect", new XAttribute("delay", ReconnectDelaySeconds)));

    private static XElement Nic(MachineNic nic)
    {
        var (type, attribute, value) = nic.Network?.Split(':', 2) switch
        {
            // Libvirt has type='null' for it, and its daemon (9.0) crashes when such a machine starts. A link that is down passes nothing either way.
            null => ("user", null, null),
            ["user"] => ("user", null, null),
            ["network", { Length: > 0 } name] => ("network", "network", name),
            ["bridge", { Length: > 0 } name] => ("bridge", "bridge", name),
            ["direct", { Length: > 0 } name] => ("direct", "dev", name),
            _ => throw new HypervisorException(HypervisorProblem.Unfit, $"the network {nic.Network} is not one that a replica can join", "Map it to network:NAME, bridge:NAME, direct:INTERFACE, to user, or to none"),
        };
        return new XElement("interface", new XAttribute("type", type),
            new XElement("mac", new XAttribute("address", nic.Mac)),
            attribute is null ? null : new XElement("source", new XAttribute(attribute, value!)),
            nic.Model is { } model ? new XElement("model", new XAttribute("type", model)) : null,
            nic.Network is null ? new XElement("link", new XAttribute("state", "down")) : null);
    }
}
