using System.Globalization;
using System.Text.Json.Nodes;

namespace SiteRecovery.DataPlane.Hypervisors;

/// <summary>A machine as QEMU's command line. Pure; the golden texts of its tests show what comes out.</summary>
internal static class QemuArguments
{
    private const int IdePlaces = 4;
    private const string AhciId = "ahci0", ScsiId = "scsi0", UsbId = "usb0";

    /// <param name="machineType">One that this QEMU has.</param>
    /// <param name="loader">The UEFI code on this host; null for the BIOS.</param>
    internal static IReadOnlyList<string> Of(MachineDefinition machine, QemuOptions options, QemuFiles files, string machineType, string? loader)
    {
        var arguments = new List<string>();
        void Add(string key, string value) => arguments.AddRange([key, value]);

        Add("-name", $"{Escaped(machine.Name)},process={Escaped(machine.Name)}");
        if (machine.Id is { } id) Add("-uuid", id);
        arguments.AddRange(["-no-user-config", "-nodefaults", "-daemonize"]);
        Add("-pidfile", files.Pid);
        Add("-qmp", $"unix:{Escaped(files.Monitor)},server=on,wait=off");
        Add("-machine", MachineOf(machine, options, machineType, loader is not null));
        if (CpuOf(machine.CpuModel) is { } cpu) Add("-cpu", cpu);
        Add("-smp", SmpOf(machine));
        Add("-m", string.Create(CultureInfo.InvariantCulture, $"{(machine.MemoryBytes + 1023) / 1024}k"));
        Add("-rtc", machine.ClockIsLocalTime ? "base=localtime" : "base=utc");
        if (machine.Kernel is { } kernel) AddKernel(Add, kernel);
        if (loader is not null) AddFirmware(Add, machine.Firmware, files, loader);
        AddControllers(Add, machine);
        AddDisks(Add, machine, options);
        AddNics(Add, machine);
        // Behind the cards: before them it would take a slot of the bus, and their names in the guest would change with their slots.
        if (machine.SeedDisk is { } seed) AddDisk(Add, seed, machine.Disks.Count, machine.Disks.Count(d => d.Bus == seed.Bus), null, options);
        Add("-serial", $"unix:{Escaped(files.Serial)},server=on,wait=off");
        Add("-display", "none");
        Add("-vga", "std");
        Add("-vnc", $"unix:{Escaped(files.Display)}");
        return arguments;
    }

    private static string MachineOf(MachineDefinition machine, QemuOptions options, string type, bool uefi) =>
        $"{type},accel={options.Accelerators}{(uefi ? ",pflash0=uefi-code,pflash1=uefi-variables" : "")}{(uefi && machine.Firmware.SecureBoot ? ",smm=on" : "")}";

    /// <summary>What says "as the host" is, for this host, the most it can do: that also runs where there is no KVM.</summary>
    private static string? CpuOf(string? model) => model is null ? null : model is "host-passthrough" or "host-model" or "maximum" ? "max" : Escaped(model);

    private static string SmpOf(MachineDefinition machine) => machine.CpuTopology is { } t
        ? string.Create(CultureInfo.InvariantCulture, $"cpus={machine.CpuCount},maxcpus={Math.Max(machine.CpuCount, t.Sockets * t.Cores * t.Threads)},sockets={t.Sockets},cores={t.Cores},threads={t.Threads}")
        : string.Create(CultureInfo.InvariantCulture, $"cpus={machine.CpuCount}");

    private static void AddKernel(Action<string, string> add, DirectKernel kernel)
    {
        add("-kernel", kernel.Kernel);
        if (kernel.InitialRamDisk is { } disk) add("-initrd", disk);
        if (kernel.CommandLine is { } line) add("-append", line);
    }

    private static void AddFirmware(Action<string, string> add, MachineFirmware firmware, QemuFiles files, string loader)
    {
        add("-blockdev", new JsonObject { ["driver"] = "file", ["node-name"] = "uefi-code", ["filename"] = loader, ["read-only"] = true }.ToJsonString());
        add("-blockdev", new JsonObject { ["driver"] = "file", ["node-name"] = "uefi-variables", ["filename"] = files.Variables }.ToJsonString());
        if (firmware.SecureBoot) add("-global", "driver=cfi.pflash01,property=secure,value=on");
    }

    private static void AddControllers(Action<string, string> add, MachineDefinition machine)
    {
        if (machine.Disks.Any(d => d.Bus == "scsi")) add("-device", $"{ScsiOf(machine.ScsiController)},id={ScsiId}");
        if (machine.Disks.Any(d => d.Bus == "sata")) add("-device", $"ich9-ahci,id={AhciId}");
        if (machine.Disks.Any(d => d.Bus == "usb")) add("-device", $"qemu-xhci,id={UsbId}");
    }

    private static string ScsiOf(string? model) => model switch
    {
        null or "virtio-scsi" or "virtio-transitional" or "virtio-non-transitional" or "auto" => "virtio-scsi-pci",
        "lsilogic" => "lsi53c895a",
        "lsisas1068" => "mptsas1068",
        "lsisas1078" => "megasas",
        "vmpvscsi" => "pvscsi",
        _ => throw new HypervisorException(HypervisorProblem.Unfit, $"QEMU is not known to have the SCSI controller {model}"),
    };

    private static void AddDisks(Action<string, string> add, MachineDefinition machine, QemuOptions options)
    {
        var anyOrder = machine.Disks.Any(d => d.BootOrder is not null);
        var places = new Dictionary<string, int>(StringComparer.Ordinal);
        foreach (var (index, disk) in machine.Disks.Index())
        {
            if (disk.Source is null && disk.Device == DiskDevice.Disk) throw new HypervisorException(HypervisorProblem.Unfit, $"the disk {disk.Target} of {machine.Name} has no source");
            var place = places[disk.Bus] = places.GetValueOrDefault(disk.Bus, -1) + 1;
            AddDisk(add, disk, index, place, anyOrder ? disk.BootOrder : index + 1, options);
        }
    }

    /// <param name="place">On its bus, from 0.</param>
    private static void AddDisk(Action<string, string> add, MachineDisk disk, int index, int place, int? boot, QemuOptions options)
    {
        if (disk.Bus == "ide" && place >= IdePlaces) throw new HypervisorException(HypervisorProblem.Unfit, $"there are {IdePlaces} places on the bus ide, and {disk.Target} is one too many");
        var node = string.Create(CultureInfo.InvariantCulture, $"disk{index}");
        if (disk.Source is { } source) add("-blockdev", BlockNode(disk, source, node, options).ToJsonString());
        add("-device", string.Join(',', ((string?[])
        [
            DeviceOf(disk, place),
            disk.Source is null ? null : $"drive={node}",
            boot is { } order ? string.Create(CultureInfo.InvariantCulture, $"bootindex={order}") : null,
            disk.Serial is { } serial ? $"serial={Escaped(serial)}" : null,
        ]).OfType<string>()));
    }

    private static string DeviceOf(MachineDisk disk, int place) => string.Create(CultureInfo.InvariantCulture, $"{(disk.Bus, disk.Device) switch
    {
        ("virtio", DiskDevice.Disk) => "virtio-blk-pci",
        ("scsi", DiskDevice.Disk) => $"scsi-hd,bus={ScsiId}.0",
        ("scsi", DiskDevice.CdRom) => $"scsi-cd,bus={ScsiId}.0",
        ("sata", DiskDevice.Disk) => $"ide-hd,bus={AhciId}.{place}",
        ("sata", DiskDevice.CdRom) => $"ide-cd,bus={AhciId}.{place}",
        ("ide", DiskDevice.Disk) => $"ide-hd,bus=ide.{place / 2},unit={place % 2}",
        ("ide", DiskDevice.CdRom) => $"ide-cd,bus=ide.{place / 2},unit={place % 2}",
        ("usb", DiskDevice.Disk) => $"usb-storage,bus={UsbId}.0",
        _ => throw new HypervisorException(HypervisorProblem.Unfit, $"a {disk.Device} on bus {disk.Bus} ({disk.Target}) cannot be given to QEMU"),
    }}");

    private static JsonObject BlockNode(MachineDisk disk, string source, string node, QemuOptions options)
    {
        var readOnly = disk.IsReadOnly || disk.Device == DiskDevice.CdRom;
        var protocol = NbdAddress.IsNbd(source) ? NbdNode(NbdAddress.Parse(source), options) : source.StartsWith('/')
            ? new JsonObject { ["driver"] = source.StartsWith("/dev/", StringComparison.Ordinal) ? "host_device" : "file", ["filename"] = source }
            : throw new HypervisorException(HypervisorProblem.Unfit, $"the disk {disk.Target} lies at {source}, and QEMU is only given files, block devices and NBD exports");
        if (disk.Format is not ("raw" or "qcow2")) throw new HypervisorException(HypervisorProblem.Unfit, $"the disk {disk.Target} has the format {disk.Format}, and only raw and qcow2 are known");
        var top = disk.Format == "raw" ? protocol : new JsonObject { ["driver"] = disk.Format, ["file"] = protocol };
        top["node-name"] = node;
        top["discard"] = "unmap";
        if (readOnly) top["read-only"] = true;
        return top;
    }

    private static JsonObject NbdNode(NbdAddress address, QemuOptions options) => new()
    {
        ["driver"] = "nbd",
        ["server"] = address.Socket is { } socket
            ? new JsonObject { ["type"] = "unix", ["path"] = socket }
            : new JsonObject { ["type"] = "inet", ["host"] = address.Host, ["port"] = address.Port.ToString(CultureInfo.InvariantCulture) },
        ["export"] = address.Export,
        ["reconnect-delay"] = (int)options.ReconnectDelay.TotalSeconds,
    };

    private static void AddNics(Action<string, string> add, MachineDefinition machine)
    {
        foreach (var (index, nic) in machine.Nics.Index())
        {
            var id = string.Create(CultureInfo.InvariantCulture, $"net{index}");
            add("-netdev", nic.Network?.Split(':', 2) switch
            {
                // A hub of its own: the guest sees a cable, and nothing is at its other end.
                null => string.Create(CultureInfo.InvariantCulture, $"hubport,id={id},hubid={index}"),
                ["user"] => $"user,id={id}",
                ["bridge", { Length: > 0 } bridge] => $"bridge,id={id},br={Escaped(bridge)}",
                _ => throw new HypervisorException(HypervisorProblem.Unfit, $"the network {nic.Network} is not one that QEMU alone can join", "Map it to bridge:NAME, to user, or to none"),
            });
            // No boot over the network: a replica boots from its disks, and the ROM is in a package that may be missing.
            add("-device", $"{ModelOf(nic.Model)},netdev={id},mac={Escaped(nic.Mac)},romfile=");
        }
    }

    private static string ModelOf(string? model) => model switch
    {
        null or "virtio" => "virtio-net-pci",
        "e1000" or "e1000e" or "rtl8139" or "vmxnet3" or "ne2k_pci" or "pcnet" => model,
        _ => throw new HypervisorException(HypervisorProblem.Unfit, $"QEMU is not known to have the network card {model}"),
    };

    /// <summary>A comma ends an option's value unless it stands twice.</summary>
    private static string Escaped(string value) => value.Replace(",", ",,", StringComparison.Ordinal);
}
