using SiteRecovery.DataPlane.Transport;
using SiteRecovery.Simulation.World;

namespace SiteRecovery.Simulation.Agents;

/// <summary>A disk that was noted as released and is protected all the same comes back as nobody's: once its machine is fenced and released, no agent serves it beside a replica.</summary>
public sealed class StaleReleasedTests
{
    private static readonly ReleaseMachine Release = new("release", AgentOnDisk.Machine, 1);
    private SimDisk _disk = new();

    [Fact]
    public Task Not_where_the_release_that_noted_it_was_killed() => NobodysAfterAsync(async agent =>
    {
        SimDisk? killed = null;
        _disk.After = io => killed = io.Path == "/agent" && killed is null ? _disk.Kill() : killed;
        await agent.ObeyedAsync(Release);
        _disk = Assert.IsType<SimDisk>(killed);
    });

    [Fact]
    public Task Not_where_its_protection_anew_could_not_be_noted() => NobodysAfterAsync(async agent =>
    {
        await agent.ObeyedAsync(Release);
        _disk.Faults = io => io.Kind == IoKind.Create && io.Path.Contains("released.json", StringComparison.Ordinal) ? Fault.Error : Fault.None;
        await agent.ObeyedAsync(AgentOnDisk.Protection(2));
        _disk.Faults = null;
    });

    [Fact]
    public Task Not_where_it_could_not_be_served_before_it_was_protected_anew() => NobodysAfterAsync(async agent =>
    {
        await agent.ObeyedAsync(Release);
        _disk = _disk.Kill();
        await using var next = new AgentOnDisk(_disk);
        next.TakeElsewhere();
        await next.Machines.StartAsync();
        next.LetGoElsewhere();
        await next.ObeyedAsync(AgentOnDisk.Protection(2));
        // Nothing is left for a release to find.
        Assert.Equal("[]", System.Text.Encoding.UTF8.GetString(_disk.TryReadAll("/agent/released.json")!));
    });

    [Fact]
    public async Task Not_where_the_release_took_the_assignment_and_came_to_nothing_before_the_fence()
    {
        await ProtectedAsync(async agent =>
        {
            var renamed = false;
            _disk.Faults = io =>
            {
                var fails = renamed && io.Kind == IoKind.FlushFolder && io.Path == AgentOnDisk.Folder;
                renamed |= io.Kind == IoKind.Rename && io.Path.EndsWith("assignment.json", StringComparison.Ordinal);
                return fails ? Fault.Error : Fault.None;
            };
            Assert.NotNull((await agent.TellAsync(Release)).Error);
            _disk.Faults = null;
            await agent.ObeyedAsync(new FenceMachine("fence", AgentOnDisk.Machine, 2, StopMachine: false));
            _disk = _disk.Kill();
        });
        await using var next = new AgentOnDisk(_disk);
        await next.Machines.StartAsync();
        Assert.Empty(next.Exports.Names);
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task Not_where_its_folder_is_deleted_because_nobody_knows_its_disks_any_more(bool isFence)
    {
        await BeganToReleaseAsync();
        _disk.Replace(AgentOnDisk.Folder + "/assignment.json", "{"u8);
        await using (var agent = new AgentOnDisk(_disk))
        {
            await agent.Machines.StartAsync();
            Assert.Empty(agent.Exports.Names);
            AgentMessage order = isFence ? new FenceMachine("1", AgentOnDisk.Machine, 2, StopMachine: false) : new ReleaseMachine("1", AgentOnDisk.Machine, 2, Fence: true);
            Assert.Contains("and repeat", (await agent.TellAsync(order)).Error, StringComparison.Ordinal);
        }
        foreach (var file in _disk.List(AgentOnDisk.Folder)) _disk.Delete(file);
        _disk.DeleteFolder(AgentOnDisk.Folder);
        await using var next = new AgentOnDisk(_disk);
        await next.Machines.StartAsync();
        Assert.Empty(next.Exports.Names);
    }

    [Fact]
    public async Task A_release_that_cannot_take_the_note_back_is_refused()
    {
        await BeganToReleaseAsync();
        foreach (var isOpen in (bool[])[true, false])
        {
            await using var agent = new AgentOnDisk(_disk);
            if (!isOpen) agent.TakeElsewhere();
            await agent.Machines.StartAsync();
            if (!isOpen) agent.LetGoElsewhere();
            _disk.Faults = io => io.Kind == IoKind.Create && io.Path.Contains("released.json", StringComparison.Ordinal) ? Fault.Error : Fault.None;
            Assert.NotNull((await agent.TellAsync(new ReleaseMachine("release", AgentOnDisk.Machine, 2, Fence: true))).Error);
            _disk.Faults = null;
            Assert.True(_disk.Exists(AgentOnDisk.Folder + "/assignment.json"));
        }
    }

    /// <summary>Of a machine that is open, and of one that is not.</summary>
    private async Task NobodysAfterAsync(Func<AgentOnDisk, Task> leaves)
    {
        await ProtectedAsync(leaves);
        var left = _disk;
        foreach (var isOpen in (bool[])[true, false])
        {
            _disk = left.Kill();
            await using (var agent = new AgentOnDisk(_disk))
            {
                if (!isOpen) agent.TakeElsewhere();
                await agent.Machines.StartAsync();
                if (!isOpen) agent.LetGoElsewhere();
                await agent.ObeyedAsync(new FenceMachine("fence", AgentOnDisk.Machine, 3, StopMachine: true));
                await agent.ObeyedAsync(new ReleaseMachine("gone", AgentOnDisk.Machine, 3));
            }
            await using var next = new AgentOnDisk(_disk);
            await next.Machines.StartAsync();
            Assert.Empty(next.Exports.Names);
        }
    }

    private Task BeganToReleaseAsync() => ProtectedAsync(async agent =>
    {
        // It is noted, and no more than that.
        _disk.Faults = io => io.Kind == IoKind.Rename && io.Path.EndsWith("assignment.json", StringComparison.Ordinal) ? Fault.Error : Fault.None;
        Assert.NotNull((await agent.TellAsync(Release)).Error);
        _disk.Faults = null;
    });

    private async Task ProtectedAsync(Func<AgentOnDisk, Task> then)
    {
        var agent = new AgentOnDisk(_disk);
        await agent.Machines.StartAsync();
        await agent.ObeyedAsync(AgentOnDisk.Protection());
        await using (await agent.OpenGuestAsync()) await then(agent);
        await agent.DisposeAsync();
    }
}
