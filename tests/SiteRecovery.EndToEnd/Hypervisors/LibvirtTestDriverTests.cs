using SiteRecovery.Actors.MasterTargets;
using SiteRecovery.DataPlane.Hypervisors;
using SiteRecovery.DataPlane.Storage;
using SiteRecovery.Domain.History;

namespace SiteRecovery.EndToEnd.Hypervisors;

/// <summary>Libvirt's test driver: no daemon and no guest, but all of libvirt's library and its XML.</summary>
[Trait("Category", "Slow"), Collection("Guests")]
public sealed class LibvirtTestDriverTests : HypervisorContract
{
    protected override IHypervisor Open() => new LibvirtHypervisor("test:///default", TimeProvider.System);
    protected override string Network => "network:default";
    protected override bool RunsGuests => false;

    protected override async Task<string> TracesAsync() => string.Join('\n', (await Hypervisor.ListAsync(Stop)).Select(m => $"{m.Name} {m.State}"));

    /// <summary>The driver's machines end with its last connection.</summary>
    protected override Task ForgetSourceAsync() => Task.CompletedTask;

    [Fact]
    public async Task The_drivers_own_machine_is_discovered()
    {
        var found = await FoundAsync("test");
        Assert.Equal(MachineState.Running, found.State);
        Assert.Equal(("i686", 2, 8L << 30), (found.Definition.Architecture, found.Definition.CpuCount, found.Definition.MemoryBytes));
        Assert.Equal("vda virtio /guest/diskimage1", found.Definition.Disks.Select(d => $"{d.Target} {d.Bus} {d.Source}").Single());
        Assert.Equal("aa:bb:cc:dd:ee:ff network:default", found.Definition.Nics.Select(n => $"{n.Mac} {n.Network}").Single());
    }

    [Fact]
    public async Task The_hosts_own_machine_is_not_taken_for_a_replica_of_its_name()
    {
        var (machine, before) = (new MachineId("test"), await TracesAsync());
        await using var replicas = new ReplicaHost(new ReplicaHosting(Hypervisor, null), _ => Folder, Path.Combine(Folder, "seeds"), RealFileSystem.Instance, TimeProvider.System);
        replicas.Keep(machine, System.Text.Encoding.UTF8.GetString((Source with { Name = "test" }).ToJson()));
        await RefusedAsync(HypervisorProblem.Conflict, () => replicas.CheckAsync(machine, Stop));
        var refusal = await RefusedAsync(HypervisorProblem.Conflict, () => replicas.RunAsync(machine, "test", "test", ReplicaPurpose.Failover,
            new Dictionary<string, string> { ["vda"] = "nbd+unix:///test.vda?socket=/run/sr/exports.sock" }, null, mustRun: true, Stop));
        Assert.Contains("rename or undefine it", refusal.Message, StringComparison.Ordinal);
        await replicas.RemoveAsync("test", "test", Stop);
        Assert.Equal(before, await TracesAsync());
    }

    [Fact]
    public async Task A_disk_that_is_not_on_the_agents_host_cannot_be_captured()
    {
        var told = HostMachine.Of(await FoundAsync("test"), new DiskDiscovery("/run/sr/nbd.sock", _ => null, RealFileSystem.Instance));
        var disk = Assert.Single(told.Disks);
        Assert.Equal(("running", "vda", "/guest/diskimage1"), (told.State, disk.Target, disk.Source));
        Assert.Contains("does not exist on the agent's host", disk.Problem, StringComparison.Ordinal);
        Assert.NotEmpty(disk.Remedy!);
    }
}
