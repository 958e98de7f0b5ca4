using System.Text;
using SiteRecovery.DataPlane.Hypervisors;

namespace SiteRecovery.DataPlane.Tests.Hypervisors;

public sealed class DomainXmlTests
{
    private static readonly LibvirtHost Kvm = new("kvm", "hvm", "x86_64", ["pc", "q35", "pc-q35-7.2"]);

    /// <summary>As virsh dumpxml prints it, shortened.</summary>
    private const string Source = """
        <domain type='kvm'>
          <name>db1</name>
          <uuid>4dea22b3-1d52-d8f3-2516-782e98ab3fa0</uuid>
          <memory unit='MiB'>2048</memory>
          <currentMemory unit='MiB'>1024</currentMemory>
          <vcpu placement='static'>4</vcpu>
          <os>
            <type arch='x86_64' machine='pc-q35-9.2'>hvm</type>
            <loader readonly='yes' secure='yes' type='pflash'>/usr/share/OVMF/code.fd</loader>
            <nvram template='/usr/share/OVMF/vars.fd'>/var/lib/libvirt/qemu/nvram/db1_VARS.fd</nvram>
          </os>
          <cpu mode='host-passthrough' check='none'><topology sockets='1' dies='1' cores='2' threads='2'/></cpu>
          <clock offset='localtime'><timer name='rtc' tickpolicy='catchup'/></clock>
          <devices>
            <emulator>/usr/bin/qemu-system-x86_64</emulator>
            <disk type='file' device='disk'>
              <driver name='qemu' type='qcow2'/>
              <source file='/var/lib/libvirt/images/db1.qcow2'/>
              <target dev='vda' bus='virtio'/>
              <serial>system</serial>
              <boot order='1'/>
            </disk>
            <disk type='block' device='disk'>
              <driver name='qemu' type='raw' cache='none'/>
              <source dev='/dev/vg0/db1-data'/>
              <target dev='sda' bus='scsi'/>
            </disk>
            <disk type='file' device='cdrom'>
              <driver name='qemu' type='raw'/>
              <source file='/var/lib/libvirt/images/install.iso'/>
              <target dev='sdb' bus='sata'/>
              <readonly/>
            </disk>
            <controller type='scsi' index='0' model='virtio-scsi'/>
            <interface type='network'>
              <mac address='52:54:00:6D:90:02'/>
              <source network='default'/>
              <model type='virtio'/>
            </interface>
            <interface type='bridge'>
              <mac address='52:54:00:6d:90:03'/>
              <source bridge='br0'/>
              <model type='e1000e'/>
            </interface>
          </devices>
        </domain>
        """;

    [Fact]
    public void A_domain_is_read_with_all_that_its_replica_needs()
    {
        var read = DomainXml.Parse(Source);
        var sizes = Machines.Everything.Disks.Select(d => d.SizeBytes);
        Assert.Equal(Encoding.UTF8.GetString(Machines.Everything.ToJson()),
            Encoding.UTF8.GetString((read with { Disks = [.. read.Disks.Zip(sizes, (d, size) => d with { SizeBytes = size })] }).ToJson()));
    }

    [Fact]
    public void A_replica_is_written_with_its_exports_and_its_mark() => Assert.Equal(Replica, DomainXml.Build(Machines.Test.Make(Machines.Everything), Kvm));

    [Fact]
    public void What_is_written_is_read_as_it_was()
    {
        var replica = Machines.Test.Make(Machines.Everything) with { MachineType = "q35", Firmware = new MachineFirmware(FirmwareKind.Uefi, SecureBoot: true) };
        replica = replica with { Disks = [.. replica.Disks.Select(d => d with { SizeBytes = null })] };
        Assert.Equal(Encoding.UTF8.GetString(replica.ToJson()), Encoding.UTF8.GetString(DomainXml.Parse(DomainXml.Build(replica, Kvm)).ToJson()));
    }

    [Fact]
    public void A_host_without_KVM_emulates_and_takes_the_most_it_can() =>
        Assert.Contains("<cpu mode=\"maximum\">", DomainXml.Build(Machines.Everything with { Disks = [] }, Kvm with { DomainType = "qemu" }), StringComparison.Ordinal);

    [Fact]
    public void A_storage_or_network_that_libvirt_cannot_be_given_is_refused_by_name()
    {
        var disk = Machines.Everything.Disks[0] with { Source = "rbd:pool/image" };
        Assert.Contains("the disk vda lies at rbd:pool/image", Assert.Throws<HypervisorException>(() => DomainXml.Build(Machines.Everything with { Disks = [disk] }, Kvm)).Message, StringComparison.Ordinal);
        var nic = Machines.Everything.Nics[0] with { Network = "vdpa" };
        Assert.Contains("the network vdpa", Assert.Throws<HypervisorException>(() => DomainXml.Build(Machines.Everything with { Nics = [nic] }, Kvm)).Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("<graphics type='vnc' port='5901' listen='127.0.0.1'/>", "vnc vnc://127.0.0.1:5901")]
    [InlineData("<graphics type='vnc'><listen type='socket' socket='/run/vnc.sock'/></graphics>", "vnc unix:/run/vnc.sock")]
    [InlineData("<graphics type='vnc' port='-1' autoport='yes'/><serial type='pty'><source path='/dev/pts/3'/></serial>", "serial pty:/dev/pts/3")]
    [InlineData("<serial type='unix'><source mode='bind' path='/run/s.sock'/></serial>", "serial unix:/run/s.sock")]
    public void A_console_is_an_address(string devices, string expected) =>
        Assert.Equal([expected], DomainXml.Consoles($"<domain><devices>{devices}</devices></domain>").Select(c => $"{c.Kind} {c.Address}"));

    private const string Replica = """
        <domain type="kvm">
          <name>db1-test</name>
          <uuid>74f1ec72-542e-8ec4-82a4-2f27478462ca</uuid>
          <metadata>
            <siterecovery:replica xmlns:siterecovery="https://siterecovery.invalid/replica/1" of="db1" />
          </metadata>
          <memory unit="KiB">2097152</memory>
          <vcpu>4</vcpu>
          <os firmware="efi">
            <type arch="x86_64" machine="q35">hvm</type>
            <firmware>
              <feature enabled="yes" name="secure-boot" />
              <feature enabled="yes" name="enrolled-keys" />
            </firmware>
          </os>
          <features>
            <acpi />
            <apic />
            <smm state="on" />
          </features>
          <cpu mode="host-passthrough">
            <topology sockets="1" cores="2" threads="2" />
          </cpu>
          <clock offset="localtime" />
          <on_poweroff>destroy</on_poweroff>
          <on_reboot>restart</on_reboot>
          <on_crash>destroy</on_crash>
          <devices>
            <controller type="scsi" index="0" model="virtio-scsi" />
            <disk type="network" device="disk">
              <driver name="qemu" type="raw" discard="unmap" error_policy="stop" />
              <source protocol="nbd" name="db1.vda">
                <host transport="unix" socket="/run/sr/exports.sock" />
                <reconnect delay="60" />
              </source>
              <target dev="vda" bus="virtio" />
              <serial>system</serial>
              <boot order="1" />
            </disk>
            <disk type="network" device="disk">
              <driver name="qemu" type="raw" discard="unmap" error_policy="stop" />
              <source protocol="nbd" name="db1.sda">
                <host name="replica.example" port="10810" />
                <reconnect delay="60" />
              </source>
              <target dev="sda" bus="scsi" />
            </disk>
            <interface type="user">
              <mac address="52:54:00:0a:a3:4a" />
              <model type="virtio" />
              <link state="down" />
            </interface>
            <interface type="user">
              <mac address="52:54:00:a4:13:bb" />
              <model type="e1000e" />
              <link state="down" />
            </interface>
            <serial type="pty" />
            <graphics type="vnc">
              <listen type="socket" />
            </graphics>
            <video>
              <model type="vga" />
            </video>
          </devices>
        </domain>
        """;
}
