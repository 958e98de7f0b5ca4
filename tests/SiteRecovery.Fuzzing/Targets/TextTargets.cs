using System.Text;
using System.Xml;
using SiteRecovery.Cli;
using SiteRecovery.DataPlane.Hypervisors;
using SiteRecovery.Node.Settings;

namespace SiteRecovery.Fuzzing.Targets;

internal abstract class TextTarget(params string[] words) : FuzzTarget
{
    internal override bool IsText => true;
    internal override int InputBytesMax => 8 << 10;
    internal override IReadOnlyList<byte[]> Words { get; } = [.. words.Select(Encoding.UTF8.GetBytes)];

    internal override void Run(byte[] input) => Run(Encoding.UTF8.GetString(input));

    protected abstract void Run(string text);
}

/// <summary>HOCON of --config, with what is said of each key.</summary>
internal sealed class SettingsTarget() : TextTarget("siterecovery", ".", "{", "}", "=", ":", "+=", "include ", "\"\"\"", "\"", "\\u", "#", "//", "[", "]", ",", "ports", "node", "roles", "10GiB", "5s", "null", "\n", "true")
{
    internal override string Name => "settings";

    internal override IEnumerable<byte[]> Seeds()
    {
        foreach (var file in Directory.GetFiles(Path.Combine(AppContext.BaseDirectory, "hocon"), "*.conf", SearchOption.AllDirectories).Order(StringComparer.Ordinal)) yield return File.ReadAllBytes(file);
        yield return "siterecovery { node { name = \"n\", site = s, roles = [console, process-server] }, ports.http = 8480, cluster.stable-after = 20s }"u8.ToArray();
    }

    internal override bool Expects(Exception refusal) => refusal is SettingsException;

    internal override long AllocatedMax(int inputBytes) => 64L << 20; // each key is looked up in what was parsed

    protected override void Run(string text) => SettingsLoader.Parse(text, "a file");
}

/// <summary>What libvirt says of a machine, some of which the machine's owner has written.</summary>
internal sealed class DomainXmlTarget() : TextTarget("<disk ", "<source ", "<target ", "<interface ", "<memory unit='", "<vcpu>", "<!DOCTYPE a [<!ENTITY b 'c'>]>", "&b;", "&#0;", "<![CDATA[", "]]>", "<!--", "-1", "99999999999999999999", "xmlns=''", "<boot order='", "/>", "</domain>")
{
    internal override string Name => "domain-xml";

    /// <summary>System.Xml.Linq keeps every name that it has ever seen in one table, which doubles now and then: of the millions here, not of an input.</summary>
    internal override long AllocatedMax(int inputBytes) => (64L << 20) + 64L * inputBytes;

    internal override IEnumerable<byte[]> Seeds() =>
    [
        Encoding.UTF8.GetBytes("""
            <domain type='kvm'><name>db1</name><uuid>4dea22b3-1d52-d8f3-2516-782e98ab3fa0</uuid><memory unit='MiB'>2048</memory><vcpu placement='static'>4</vcpu>
            <os><type arch='x86_64' machine='pc-q35-9.2'>hvm</type><loader readonly='yes' secure='yes' type='pflash'>/code.fd</loader><nvram template='/vars.fd'>/db1.fd</nvram></os>
            <cpu mode='host-passthrough'><topology sockets='1' dies='1' cores='2' threads='2'/></cpu><clock offset='localtime'/>
            <devices><disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='/db1.qcow2'/><target dev='vda' bus='virtio'/><serial>system</serial><boot order='1'/></disk>
            <disk type='network' device='disk'><driver name='qemu' type='raw'/><source protocol='nbd' name='e'><host transport='unix' socket='/s'/></source><target dev='sda' bus='scsi'/></disk>
            <controller type='scsi' index='0' model='virtio-scsi'/><interface type='bridge'><mac address='52:54:00:6d:90:03'/><source bridge='br0'/><model type='e1000e'/></interface>
            <serial type='pty'><source path='/dev/pts/1'/></serial><graphics type='vnc' port='5900' listen='127.0.0.1'/></devices></domain>
            """),
    ];

    /// <summary>What the owner of an odd machine sees of it is its error.</summary>
    internal override bool Expects(Exception refusal) => refusal is HypervisorException or InvalidDataException;

    protected override void Run(string text)
    {
        var machine = DomainXml.Parse(text);
        DomainXml.Consoles(text);
        MachineDefinition.FromJson(machine.ToJson());
    }
}

/// <summary>A machine's definition as it travels, and a page of machines.</summary>
internal sealed class MachineJsonTarget() : TextTarget([.. JsonWords.Of("disks", "nics", "firmware", "format", "machines", "target", "bus", "kind", "more").Select(Encoding.UTF8.GetString)])
{
    internal override string Name => "machine-json";

    internal override IEnumerable<byte[]> Seeds()
    {
        var machine = new MachineDefinition
        {
            Name = "db1", MachineType = "pc", CpuCount = 2, MemoryBytes = 2L << 30, CpuTopology = new CpuTopology(1, 2, 2), Firmware = new MachineFirmware(FirmwareKind.Uefi),
            Disks = [new MachineDisk { Target = "vda", Bus = "virtio", Source = "/d", BootOrder = 1 }], Nics = [new MachineNic { Mac = "52:54:00:6d:90:02", Addresses = ["10.0.0.5/24"] }],
        };
        yield return machine.ToJson();
        yield return Encoding.UTF8.GetBytes(HostMachinePage.Of([new HypervisorMachine(machine, MachineState.Running)], new DiskDiscovery("/s", _ => null, new MemoryFiles()), 0, 10).ToJson());
    }

    protected override void Run(string text)
    {
        try
        {
            MachineDefinition.FromJson(Encoding.UTF8.GetBytes(text)).ToJson();
        }
        catch (InvalidDataException)
        {
            // Then it may be the other one.
        }
        HostMachinePage.FromJson(text).ToJson();
    }
}

/// <summary>srctl's command line, a word a line: read, and refused or not; nothing is carried out.</summary>
internal sealed class ArgumentsTarget() : TextTarget("machine\n", "failover\n", "planned-failover\n", "--point\n", "--output\njson\n", "--", "-", "@", "@/etc/hostname\n", "=", "[", "]", "[suggest]\n", "vault\nset\n", "store\nverify\n", "--retention\n", "24h\n", "--tier\n", "1h:7d\n", "\n", "--yes\n")
{
    private readonly System.CommandLine.RootCommand _root = CommandTree.CreateRoot();

    internal override string Name => "srctl";
    internal override int InputBytesMax => 1 << 10;

    internal override IEnumerable<byte[]> Seeds() => new[]
    {
        "machine\nlist\n--output\njson", "machine\nplanned-failover\ndb1\n--yes", "policy\nset\ngold\n--rpo\n15s", "recovery-point\nlist\ndb1", "store\nverify\n/stores/db1", "job\nwatch\nj1", "vault\nset\nv\n--source\na\n--target\nb", "--help",
    }.Select(Encoding.UTF8.GetBytes);

    internal override long AllocatedMax(int inputBytes) => 16L << 20;

    protected override void Run(string text)
    {
        var parsed = CommandTree.Parse(_root, text.Split('\n'));
        foreach (var error in parsed.Errors) _ = error.Message;
    }
}
