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

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task A_release_that_comes_to_nothing_leaves_it_as_it_was(bool isOpen)
    {
        await (await ProtectedAsync()).DisposeAsync();
        await using var agent = new AgentOnDisk(_disk);
        if (!isOpen) agent.TakeElsewhere();
        await agent.Machines.StartAsync();
        if (!isOpen) agent.LetGoElsewhere();
        await agent.ObeyedAsync(Fence);
        _disk.Faults = io => io.Kind == IoKind.Rename && io.Path.EndsWith("assignment.json", StringComparison.Ordinal) ? Fault.Error : Fault.None;
        Assert.NotNull((await agent.TellAsync(new ReleaseMachine("release", AgentOnDisk.Machine, 2, Fence: true))).Error);
        _disk.Faults = null;
        Assert.True(_disk.Exists(Note));
    }

    [Fact]
    public async Task A_hypervisor_whose_answer_makes_no_sense_is_asked_again()
    {
        var host = new DamagedHost();
        await using var agent = await ProtectedAsync(host);
        await using var guest = await agent.OpenGuestAsync();
        await agent.ObeyedAsync(Fence);
        await agent.UntilAsync(() => host.Asked > 2);
        Assert.Contains("machine db1 is fenced and cannot be stopped: a damaged definition", agent.Log.ToString(), StringComparison.Ordinal);
    }

    private async Task<AgentOnDisk> ProtectedAsync(IHypervisor? hypervisor = null)
    {
        var agent = new AgentOnDisk(_disk, hypervisor: hypervisor);
        await agent.Machines.StartAsync();
        await agent.ObeyedAsync(AgentOnDisk.Protection());
        return agent;
    }

    /// <summary>One machine's definition is damaged, and with it the list of all.</summary>
    private sealed class DamagedHost : IHypervisor
    {
        private volatile int _asked;

        internal int Asked => _asked;

        public Task<IReadOnlyList<HypervisorMachine>> ListAsync(CancellationToken stop)
        {
            Interlocked.Increment(ref _asked);
            throw new InvalidDataException("a damaged definition");
        }

        public Task<HypervisorMachine?> FindAsync(string name, CancellationToken stop) => throw new NotSupportedException();
        public Task DefineAsync(MachineDefinition machine, CancellationToken stop) => throw new NotSupportedException();
        public Task StartAsync(string name, CancellationToken stop) => throw new NotSupportedException();
        public Task<StopOutcome> ShutDownAsync(string name, TimeSpan patience, CancellationToken stop) => throw new NotSupportedException();
        public Task DestroyAsync(string name, CancellationToken stop) => throw new NotSupportedException();
        public Task UndefineAsync(string name, CancellationToken stop) => throw new NotSupportedException();
        public Task<IReadOnlyList<MachineConsole>> ConsolesAsync(string name, CancellationToken stop) => throw new NotSupportedException();
        public Task<bool> ContinueAsync(string name, CancellationToken stop) => throw new NotSupportedException();
        public ValueTask DisposeAsync() => default;
    }
}
