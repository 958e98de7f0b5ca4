using SiteRecovery.DataPlane.Hypervisors;

namespace SiteRecovery.EndToEnd.Hypervisors;

/// <summary>A real libvirt with real QEMU guests.</summary>
[Trait("Category", "Slow"), Collection("Guests")]
public sealed class LibvirtHypervisorTests(LibvirtDaemon daemon) : RunningGuestContract, IClassFixture<LibvirtDaemon>
{
    /// <summary>"qemu": /dev/kvm may open and still not run a stock guest.</summary>
    protected override IHypervisor Open() => new LibvirtHypervisor(daemon.Uri, TimeProvider.System, "qemu");

    protected override async Task<string> TracesAsync() =>
        $"{await daemon.VirshAsync("list", "--all")}\n{await daemon.VirshAsync("net-list", "--all")}\n{await daemon.VirshAsync("pool-list", "--all")}\n{daemon.Files()}";

    protected override Task ForgetSourceAsync() => daemon.VirshAsync("undefine", SourceName);

    protected override string ToHost(string address) => daemon.ToHost(address);

    [Fact]
    public async Task What_libvirts_own_program_defines_is_discovered()
    {
        var path = Path.Combine(Folder, "virsh.qcow2");
        await Guests.HostProgram.RunAsync("qemu-img", ["create", "-q", "-f", "qcow2", path, "3M"]);
        await File.WriteAllTextAsync(Path.Combine(Folder, "virsh.xml"), $"""
            <domain type='qemu'>
              <name>sr-virsh</name><memory unit='MiB'>32</memory><vcpu>1</vcpu>
              <os><type arch='x86_64' machine='q35'>hvm</type></os>
              <devices>
                <disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='{path}'/><target dev='sda' bus='sata'/></disk>
                <disk type='file' device='cdrom'><target dev='sdb' bus='sata'/></disk>
              </devices>
            </domain>
            """);
        await daemon.VirshAsync("define", Path.Combine(Folder, "virsh.xml"));
        try
        {
            await daemon.VirshAsync("start", "sr-virsh");
            var found = await FoundAsync("sr-virsh");
            Assert.Equal(MachineState.Running, found.State);
            Assert.Equal(["sda sata disk qcow2 3145728", "sdb sata cdrom raw "], found.Definition.Disks.Select(d => $"{d.Target} {d.Bus} {d.Device.ToString().ToLowerInvariant()} {d.Format} {d.SizeBytes}"));
            Assert.Equal(path, found.Definition.Disks[0].Source);
            await daemon.VirshAsync("suspend", "sr-virsh");
            Assert.Equal(MachineState.Paused, (await FoundAsync("sr-virsh")).State);
            await RefusedAsync(HypervisorProblem.Conflict, () => Hypervisor.UndefineAsync("sr-virsh", Stop));
        }
        finally
        {
            await daemon.VirshAsync("destroy", "sr-virsh");
            await daemon.VirshAsync("undefine", "sr-virsh");
        }
    }

    [Fact]
    public async Task A_card_without_a_network_has_its_link_down_when_the_guest_runs()
    {
        await using var disk = BootDisk.Serve(Folder, "replica", hearsButton: true);
        await Hypervisor.DefineAsync(PlanOn(disk).Make(Source), Stop);
        await StartAsync(disk);
        var mac = (await FoundAsync(ReplicaName)).Definition.Nics.Single().Mac;
        Assert.Contains("down", await daemon.VirshAsync("domif-getlink", ReplicaName, mac), StringComparison.Ordinal);
        await Hypervisor.DestroyAsync(ReplicaName, Stop);
    }

    [Fact]
    public async Task What_libvirt_refuses_is_told_in_its_own_words()
    {
        var plan = new ReplicaPlan
        {
            Name = ReplicaName, Purpose = ReplicaPurpose.Test, Disks = new Dictionary<string, string> { ["vda"] = "nbd://127.0.0.1:1/x" },
            Networks = new Dictionary<string, string?> { [ReplicaPlan.AnyNetwork] = "network:of-nobody" },
        };
        await Hypervisor.DefineAsync(plan.Make(Source), Stop);
        var refusal = await RefusedAsync(HypervisorProblem.Refused, () => Hypervisor.StartAsync(ReplicaName, Stop));
        Assert.Contains("no network with matching name 'of-nobody'", refusal.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_libvirt_that_is_not_there_is_unavailable_and_the_remedy_is_told()
    {
        await using var nobody = new LibvirtHypervisor($"qemu+unix:///system?socket={Folder}/nobody", TimeProvider.System);
        var refusal = await RefusedAsync(HypervisorProblem.Unavailable, () => nobody.ListAsync(Stop));
        Assert.Contains("No such file", refusal.Message, StringComparison.Ordinal);
        Assert.NotNull(refusal.Remedy);
    }
}
