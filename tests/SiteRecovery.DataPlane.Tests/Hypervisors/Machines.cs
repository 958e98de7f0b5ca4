using SiteRecovery.DataPlane.Hypervisors;

namespace SiteRecovery.DataPlane.Tests.Hypervisors;

/// <summary>The machine of these tests: one of everything that a definition can say.</summary>
internal static class Machines
{
    internal static readonly MachineDefinition Everything = new()
    {
        Name = "db1",
        Id = "4dea22b3-1d52-d8f3-2516-782e98ab3fa0",
        MachineType = "pc-q35-9.2",
        Firmware = new MachineFirmware(FirmwareKind.Uefi, SecureBoot: true, "/usr/share/OVMF/code.fd", "/var/lib/libvirt/qemu/nvram/db1_VARS.fd", "/usr/share/OVMF/vars.fd"),
        CpuCount = 4,
        CpuTopology = new CpuTopology(1, 2, 2),
        CpuModel = "host-passthrough",
        MemoryBytes = 2L << 30,
        ClockIsLocalTime = true,
        ScsiController = "virtio-scsi",
        Disks =
        [
            new MachineDisk { Target = "vda", Bus = "virtio", Source = "/var/lib/libvirt/images/db1.qcow2", Format = "qcow2", SizeBytes = 20L << 30, BootOrder = 1, Serial = "system" },
            new MachineDisk { Target = "sda", Bus = "scsi", Source = "/dev/vg0/db1-data", SizeBytes = 100L << 30 },
            new MachineDisk { Target = "sdb", Bus = "sata", Device = DiskDevice.CdRom, Source = "/var/lib/libvirt/images/install.iso", IsReadOnly = true },
        ],
        Nics =
        [
            new MachineNic { Mac = "52:54:00:6d:90:02", Network = "network:default", Model = "virtio" },
            new MachineNic { Mac = "52:54:00:6d:90:03", Network = "bridge:br0", Model = "e1000e" },
        ],
    };

    internal static readonly ReplicaPlan Test = new()
    {
        Name = "db1-test",
        Purpose = ReplicaPurpose.Test,
        Disks = new Dictionary<string, string> { ["vda"] = "nbd+unix:///db1.vda?socket=/run/sr/exports.sock", ["sda"] = "nbd://replica.example:10810/db1.sda" },
    };
}
