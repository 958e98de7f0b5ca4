using System.Text;
using SiteRecovery.DataPlane.Hypervisors;
using SiteRecovery.Simulation.World;

namespace SiteRecovery.Simulation.Hypervisors;

/// <summary>A machine of QEMU's runs, and its host's disk does not give the file that says so.</summary>
public sealed class UnreadablePidTests
{
    private const string Name = "db1", Pid = $"/run/{Name}/qemu.pid";
    private readonly SimDisk _disk = new();

    public UnreadablePidTests()
    {
        foreach (var folder in (string[])["/proc/123", $"/run/{Name}"]) _disk.CreateDirectory(folder);
        _disk.Replace("/proc/123/cmdline", Encoding.UTF8.GetBytes($"qemu\0-pidfile\0{Pid}\0"));
        _disk.Replace(Pid, "123\n"u8);
        _disk.Replace($"/run/{Name}.machine.json", new MachineDefinition { Name = Name, ReplicaOf = "db", MachineType = "pc", CpuCount = 1, MemoryBytes = 1 << 20 }.ToJson());
    }

    /// <summary>Taken for stopped it would be forgotten, and run on; or be started once more.</summary>
    [Fact]
    public async Task It_is_not_taken_for_stopped()
    {
        await using var hypervisor = new QemuHypervisor("/run", new QemuOptions(), _disk, new SimClock());
        _disk.Faults = io => io.Kind == IoKind.Read && io.Path == Pid ? Fault.Error : Fault.None;
        await Assert.ThrowsAsync<IOException>(() => hypervisor.FindAsync(Name, default));
        await Assert.ThrowsAsync<IOException>(() => hypervisor.DestroyAsync(Name, default));
        await Assert.ThrowsAsync<IOException>(() => hypervisor.UndefineAsync(Name, default));
        await Assert.ThrowsAsync<IOException>(() => hypervisor.ShutDownAsync(Name, TimeSpan.FromSeconds(1), default));
        _disk.Faults = null;
        Assert.Equal(MachineState.Unknown, (await hypervisor.FindAsync(Name, default))?.State);
    }

    [Fact]
    public async Task One_whose_file_is_gone_has_stopped()
    {
        await using var hypervisor = new QemuHypervisor("/run", new QemuOptions(), _disk, new SimClock());
        _disk.Delete(Pid);
        Assert.Equal(MachineState.Stopped, (await hypervisor.FindAsync(Name, default))?.State);
    }
}
