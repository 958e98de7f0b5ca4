using SiteRecovery.Agent;
using SiteRecovery.DataPlane.Transport;
using SiteRecovery.Simulation.World;

namespace SiteRecovery.Simulation.Agents;

/// <summary>A disk whose protection has ended under a running guest, and that is protected again.</summary>
public sealed class ProtectedAnewTests
{
    private readonly SimDisk _disk = new();

    [Fact]
    public async Task A_disk_that_cannot_be_protected_anew_is_served_as_before()
    {
        await using var agent = await ReleasedAsync();
        await using var guest = await agent.OpenGuestAsync();
        // The capture cannot be written down.
        _disk.Faults = io => io.Kind == IoKind.Create && io.Path.StartsWith(AgentOnDisk.Folder, StringComparison.Ordinal) ? Fault.Error : Fault.None;
        Assert.NotNull((await agent.TellAsync(AgentOnDisk.Protection(2))).Error);
        await using (await agent.OpenGuestAsync())
        {
            // Whoever was cut off finds it again.
        }
        _disk.Faults = null;
        await agent.ObeyedAsync(AgentOnDisk.Protection(2));
        Assert.NotNull(agent.Machines.Find(AgentOnDisk.Machine));
    }

    [Fact]
    public async Task It_is_served_once_somebody_can_say_that_it_is_not_protected()
    {
        await using var agent = new AgentOnDisk(_disk);
        _disk.Replace("/agent/released.json", System.Text.Encoding.UTF8.GetBytes($$"""[{ "ExportName": "{{AgentOnDisk.Export}}", "Path": "{{AgentOnDisk.DiskPath}}" }]"""));
        var released = new ReleasedDisks(agent.Host);
        released.Resume(_ => throw new IOException("the folder of the machines cannot be read"));
        Assert.True(released.AnyUnserved);
        released.ServeNoted(_ => false);
        Assert.Equal([AgentOnDisk.Export], agent.Exports.Names);
        await released.DisposeAsync();
    }

    [Fact]
    public async Task A_released_disk_that_comes_up_late_is_served_when_it_does()
    {
        await (await ReleasedAsync()).DisposeAsync();
        await using var agent = new AgentOnDisk(_disk);
        agent.TakeElsewhere();
        await agent.Machines.StartAsync();
        Assert.Empty(agent.Exports.Names);
        // Another machine's release does not forget it.
        _disk.Replace("/disks/b.img", new byte[4096]);
        await agent.ObeyedAsync(AgentOnDisk.Protection(disk: "/disks/b.img", machine: "db2"));
        await agent.ObeyedAsync(new ReleaseMachine("release", "db2", 1));
        var begun = agent.Clock.Elapsed;
        await agent.UntilAsync(() => agent.Clock.Elapsed > begun + TimeSpan.FromSeconds(10));
        Assert.Single(agent.Log.ToString().Split('\n'), l => l.Contains("db1.vda: its protection has ended, and it is not served: the disk /disks/a.img is in use by another program", StringComparison.Ordinal));
        agent.LetGoElsewhere();
        await agent.UntilAsync(() => agent.Exports.Names.Contains(AgentOnDisk.Export));
    }

    [Fact]
    public async Task What_is_known_to_fail_does_not_cut_the_guest_off()
    {
        await using var agent = await ReleasedAsync();
        await using var guest = await agent.OpenGuestAsync();
        var wanted = AgentOnDisk.Protection(2);
        Assert.NotNull((await agent.TellAsync(wanted with { Disks = [wanted.Disks[0] with { SizeBytes = 512 }] })).Error);
        await guest.ReadAsync(0, new byte[512], CancellationToken.None);
    }

    [Fact]
    public async Task A_machine_that_cannot_be_opened_leaves_no_exports_behind()
    {
        await using var agent = await ReleasedAsync();
        foreach (var other in (string[])["/disks/b.img", "/disks/c.img"]) _disk.Replace(other, new byte[4096]);
        await using var guest = await agent.OpenGuestAsync();
        // Its second disk has the name of the released one, and is another.
        Assert.NotNull((await agent.TellAsync(AgentOnDisk.Protection(2) with { Disks = [new DiskAssignment(0, "boot", "/disks/b.img"), new DiskAssignment(1, "vda", "/disks/c.img")] })).Error);
        Assert.Equal([AgentOnDisk.Export], agent.Exports.Names);
        await guest.ReadAsync(0, new byte[512], CancellationToken.None);
    }

    [Fact]
    public async Task A_list_of_released_disks_that_cannot_be_written_keeps_no_disk_from_its_protection()
    {
        await using var agent = await ReleasedAsync();
        _disk.Faults = io => io.Kind == IoKind.Create && io.Path.Contains("released.json", StringComparison.Ordinal) ? Fault.Error : Fault.None;
        await agent.ObeyedAsync(AgentOnDisk.Protection(2));
        _disk.Faults = null;
        await using var next = new AgentOnDisk(_disk.Kill());
        await next.Machines.StartAsync();
        Assert.NotNull(next.Machines.Find(AgentOnDisk.Machine));
    }

    [Fact]
    public async Task Nor_off_a_machine_that_is_to_be_opened_anew()
    {
        await using var agent = new AgentOnDisk(_disk);
        await agent.Machines.StartAsync();
        await agent.ObeyedAsync(AgentOnDisk.Protection());
        await using var guest = await agent.OpenGuestAsync();
        var wanted = AgentOnDisk.Protection(2);
        Assert.NotNull((await agent.TellAsync(wanted with { Disks = [wanted.Disks[0] with { SizeBytes = 512 }] })).Error);
        await guest.ReadAsync(0, new byte[512], CancellationToken.None);
        Assert.Equal(1, agent.Machines.Find(AgentOnDisk.Machine)!.Epoch);
    }

    [Fact]
    public async Task Nor_does_a_full_folder()
    {
        await using var agent = new AgentOnDisk(_disk);
        await agent.Machines.StartAsync();
        await agent.ObeyedAsync(AgentOnDisk.Protection());
        await using var guest = await agent.OpenGuestAsync();
        _disk.CapacityBytes = _disk.UsedBytes;
        Assert.Contains("no space", (await agent.TellAsync(AgentOnDisk.Protection(2))).Error, StringComparison.OrdinalIgnoreCase);
        await guest.ReadAsync(0, new byte[512], CancellationToken.None);
        Assert.Equal(1, agent.Machines.Find(AgentOnDisk.Machine)!.Epoch);
        _disk.CapacityBytes = long.MaxValue;
        await agent.ObeyedAsync(AgentOnDisk.Protection(2));
        Assert.Equal(2, agent.Machines.Find(AgentOnDisk.Machine)!.Epoch);
        Assert.DoesNotContain(_disk.List(AgentOnDisk.Folder), f => Path.GetFileName(f).StartsWith("room", StringComparison.Ordinal));
    }

    private async Task<AgentOnDisk> ReleasedAsync()
    {
        var agent = new AgentOnDisk(_disk);
        await agent.Machines.StartAsync();
        await agent.ObeyedAsync(AgentOnDisk.Protection());
        await using var guest = await agent.OpenGuestAsync();
        await agent.ObeyedAsync(new ReleaseMachine("release", AgentOnDisk.Machine, 1));
        Assert.Equal([AgentOnDisk.Export], agent.Exports.Names);
        return agent;
    }
}
