using SiteRecovery.DataPlane.Hypervisors;
using SiteRecovery.DataPlane.Transport;
using SiteRecovery.Simulation.World;

namespace SiteRecovery.Simulation.Agents;

/// <summary>A machine that is to be stopped whenever it runs behind its fence.</summary>
public sealed class StopFencedTests
{
    private const string Note = AgentOnDisk.Folder + "/stop-fenced";
    private static readonly FenceMachine Fence = new("fence", AgentOnDisk.Machine, 2, StopMachine: true);
    private readonly SimDisk _disk = new();

    [Fact]
    public async Task That_it_is_to_be_stopped_is_known_wherever_the_fence_is_cut_short()
    {
        var fenced = 0;
        await using var agent = await ProtectedAsync();
        var killed = new List<SimDisk>();
        _disk.After = _ => killed.Add(_disk.Kill());
        await agent.ObeyedAsync(Fence);
        _disk.After = null;
        foreach (var left in killed)
        {
            await using var next = new AgentOnDisk(left);
            await next.Machines.StartAsync();
            if (!next.Machines.Find(AgentOnDisk.Machine)!.Capture.IsFenced) continue;
            fenced++;
            Assert.True(left.Exists(Note));
        }
        Assert.True(fenced > 0);
    }

    [Fact]
    public async Task Of_one_that_is_not_open_it_is_known_when_it_is()
    {
        await (await ProtectedAsync()).DisposeAsync();
        _disk.Delete(AgentOnDisk.DiskPath);
        await using var agent = new AgentOnDisk(_disk, isMissing: true);
        await agent.Machines.StartAsync();
        await agent.ObeyedAsync(Fence);
        Assert.True(_disk.Exists(Note));
    }

    [Fact]
    public async Task A_note_that_cannot_be_written_keeps_no_machine_from_its_fence()
    {
        await using var agent = await ProtectedAsync();
        _disk.Faults = io => io.Kind == IoKind.Create && io.Path.StartsWith(Note, StringComparison.Ordinal) ? Fault.Error : Fault.None;
        Assert.NotNull((await agent.TellAsync(Fence)).Error);
        Assert.True(agent.Machines.Find(AgentOnDisk.Machine)!.Capture.IsFenced);
    }

    private async Task<AgentOnDisk> ProtectedAsync(IHypervisor? hypervisor = null)
    {
        var agent = new AgentOnDisk(_disk, hypervisor: hypervisor);
        await agent.Machines.StartAsync();
        await agent.ObeyedAsync(AgentOnDisk.Protection());
        return agent;
    }
}
