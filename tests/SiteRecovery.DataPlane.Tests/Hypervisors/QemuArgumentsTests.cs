using SiteRecovery.DataPlane.Hypervisors;

namespace SiteRecovery.DataPlane.Tests.Hypervisors;

public sealed class QemuArgumentsTests
{
    private static readonly QemuFiles Files = QemuFiles.Of("/m", "db1-test");

    [Fact]
    public void A_replica_is_started_from_its_exports() => Assert.Equal(Everything, Text(Machines.Test.Make(Machines.Everything), "/fw/code.fd"));

    [Fact]
    public void A_direct_kernel_is_given_to_QEMU()
    {
        var text = Text(Machines.Everything with { Disks = [], Nics = [], Kernel = new DirectKernel("/k", "/i", "console=ttyS0 a,b"), Firmware = new MachineFirmware() }, null);
        Assert.Contains("-kernel /k\n-initrd /i\n-append console=ttyS0 a,b\n", text, StringComparison.Ordinal);
        Assert.DoesNotContain("pflash", text, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("ide", "ide-hd,bus=ide.0,unit=0,drive=disk0,bootindex=1|ide-hd,bus=ide.0,unit=1,drive=disk1,bootindex=2|ide-hd,bus=ide.1,unit=0,drive=disk2,bootindex=3")]
    [InlineData("sata", "ich9-ahci,id=ahci0|ide-hd,bus=ahci0.0,drive=disk0,bootindex=1|ide-hd,bus=ahci0.1,drive=disk1,bootindex=2|ide-hd,bus=ahci0.2,drive=disk2,bootindex=3")]
    [InlineData("usb", "qemu-xhci,id=usb0|usb-storage,bus=usb0.0,drive=disk0,bootindex=1|usb-storage,bus=usb0.0,drive=disk1,bootindex=2|usb-storage,bus=usb0.0,drive=disk2,bootindex=3")]
    public void Each_bus_gives_its_disks_their_places(string bus, string devices)
    {
        var disks = ((string[])["a", "b", "c"]).Select(t => new MachineDisk { Target = t, Bus = bus, Source = "/" + t }).ToArray();
        var arguments = Of(Machines.Everything with { Disks = disks, Nics = [], Firmware = new MachineFirmware() }, null);
        Assert.Equal(devices.Split('|'), arguments.Where((_, i) => i > 0 && arguments[i - 1] == "-device"));
    }

    [Fact]
    public void A_comma_in_a_name_ends_no_option()
    {
        var hostile = Machines.Everything with { CpuModel = "max,x=y", Disks = [Machines.Everything.Disks[0] with { Serial = "a,drive=other" }], Nics = [new MachineNic { Mac = "aa,netdev=b", Network = "bridge:br0,helper=/bin/sh" }] };
        var text = Text(hostile, null);
        Assert.Contains("max,,x=y", text, StringComparison.Ordinal);
        Assert.Contains("serial=a,,drive=other", text, StringComparison.Ordinal);
        Assert.Contains("br=br0,,helper=/bin/sh", text, StringComparison.Ordinal);
        Assert.Contains("mac=aa,,netdev=b", text, StringComparison.Ordinal);
    }

    [Fact]
    public void What_QEMU_cannot_be_given_is_refused_by_name()
    {
        var vmdk = Machines.Everything with { Disks = [Machines.Everything.Disks[0] with { Format = "vmdk" }] };
        Assert.Contains("vda has the format vmdk", Assert.Throws<HypervisorException>(() => Of(vmdk, null)).Message, StringComparison.Ordinal);
        var network = Machines.Everything with { Nics = [Machines.Everything.Nics[0]] };
        Assert.Contains("network:default is not one that QEMU alone can join", Assert.Throws<HypervisorException>(() => Of(network, null)).Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("")]
    [InlineData("../db1")]
    [InlineData("-rf")]
    [InlineData("a b")]
    public void A_name_that_is_no_folders_is_refused(string name) => Assert.Throws<HypervisorException>(() => QemuFiles.Of("/m", name));

    private static IReadOnlyList<string> Of(MachineDefinition machine, string? loader) => QemuArguments.Of(machine, new QemuOptions(), Files, "q35", loader);

    /// <summary>One option a line.</summary>
    private static string Text(MachineDefinition machine, string? loader) =>
        string.Concat(Of(machine, loader).Select((a, i) => i == 0 ? a : a.StartsWith('-') ? "\n" + a : " " + a));

    private const string Everything = """
        -name db1-test,process=db1-test
        -uuid 74f1ec72-542e-8ec4-82a4-2f27478462ca
        -no-user-config
        -nodefaults
        -daemonize
        -pidfile /m/db1-test/qemu.pid
        -qmp unix:/m/db1-test/qmp.sock,server=on,wait=off
        -machine q35,accel=kvm:tcg,pflash0=uefi-code,pflash1=uefi-variables,smm=on
        -cpu max
        -smp cpus=4,maxcpus=4,sockets=1,cores=2,threads=2
        -m 2097152k
        -rtc base=localtime
        -blockdev {"driver":"file","node-name":"uefi-code","filename":"/fw/code.fd","read-only":true}
        -blockdev {"driver":"file","node-name":"uefi-variables","filename":"/m/db1-test/uefi-variables.fd"}
        -global driver=cfi.pflash01,property=secure,value=on
        -device virtio-scsi-pci,id=scsi0
        -blockdev {"driver":"nbd","server":{"type":"unix","path":"/run/sr/exports.sock"},"export":"db1.vda","reconnect-delay":60,"node-name":"disk0","discard":"unmap"}
        -device virtio-blk-pci,drive=disk0,bootindex=1,serial=system
        -blockdev {"driver":"nbd","server":{"type":"inet","host":"replica.example","port":"10810"},"export":"db1.sda","reconnect-delay":60,"node-name":"disk1","discard":"unmap"}
        -device scsi-hd,bus=scsi0.0,drive=disk1
        -netdev hubport,id=net0,hubid=0
        -device virtio-net-pci,netdev=net0,mac=52:54:00:0a:a3:4a,romfile=
        -netdev hubport,id=net1,hubid=1
        -device e1000e,netdev=net1,mac=52:54:00:a4:13:bb,romfile=
        -serial unix:/m/db1-test/serial.sock,server=on,wait=off
        -display none
        -vga std
        -vnc unix:/m/db1-test/vnc.sock
        """;
}
