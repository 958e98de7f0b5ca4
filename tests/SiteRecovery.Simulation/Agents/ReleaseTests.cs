using SiteRecovery.DataPlane.Transport;
using SiteRecovery.Simulation.World;

namespace SiteRecovery.Simulation.Agents;

/// <summary>Wherever the release of a machine is cut short, nobody writes to a source that was fenced, and no running guest loses its disk.</summary>
public sealed class ReleaseTests
{
    private readonly SimDisk _disk = new();

    [Fact]
    public async Task A_guest_has_its_disk_wherever_the_release_is_cut_short()
    {
        await using var agent = new AgentOnDisk(_disk);
        await agent.Machines.StartAsync();
        await agent.ObeyedAsync(AgentOnDisk.Protection());
        await using (await agent.OpenGuestAsync())
        {
            var killed = new List<SimDisk>();
            _disk.After = _ => killed.Add(_disk.Kill());
            await agent.ObeyedAsync(new ReleaseMachine("release", AgentOnDisk.Machine, 1));
            _disk.After = null;
            Assert.True(killed.Count > 3);
            foreach (var left in killed)
            {
                await using var next = new AgentOnDisk(left);
                await next.Machines.StartAsync();
                Assert.Equal([AgentOnDisk.Export], next.Exports.Names);
            }
        }
    }

    /// <summary>A host whose clock does not run without power has it set behind its boot, while its guests are about to connect.</summary>
    [Fact]
    public async Task A_clock_that_is_set_takes_no_disk_from_its_guest()
    {
        var clock = new SimClock();
        SimDisk left;
        await using (var agent = new AgentOnDisk(_disk))
        {
            await agent.Machines.StartAsync();
            await agent.ObeyedAsync(AgentOnDisk.Protection());
            await using var guest = await agent.OpenGuestAsync();
            await agent.ObeyedAsync(new ReleaseMachine("release", AgentOnDisk.Machine, 1));
            left = _disk.Kill();
        }
        await using var next = new AgentOnDisk(left, clock);
        await next.Machines.StartAsync();
        clock.Jump(TimeSpan.FromDays(5));
        await next.Machines.StatusAsync(CancellationToken.None);
        Assert.Equal([AgentOnDisk.Export], next.Exports.Names);
        clock.Spend(TimeSpan.FromMinutes(11));
        await next.Machines.StatusAsync(CancellationToken.None);
        Assert.Empty(next.Exports.Names);
    }

    [Theory]
    [InlineData(true, 1, true)]
    [InlineData(true, 3, false)]
    [InlineData(false, 1, false)] // of a disk that is protected for the first time nobody was cut off
    public async Task A_guest_that_has_not_connected_again_has_its_disk(bool startedAnew, int minutesOpen, bool isServed)
    {
        var (disk, clock) = (_disk, new SimClock());
        if (startedAnew)
        {
            await using var killed = new AgentOnDisk(disk);
            await killed.Machines.StartAsync();
            await killed.ObeyedAsync(AgentOnDisk.Protection());
            disk = disk.Kill();
        }
        await using var agent = new AgentOnDisk(disk, clock);
        await agent.Machines.StartAsync();
        if (!startedAnew) await agent.ObeyedAsync(AgentOnDisk.Protection());
        await agent.UntilAsync(() => clock.Elapsed > TimeSpan.FromMinutes(minutesOpen));
        await agent.ObeyedAsync(new ReleaseMachine("release", AgentOnDisk.Machine, 1));
        Assert.Equal(isServed, agent.Exports.Names.Contains(AgentOnDisk.Export));
    }

    [Fact]
    public async Task A_guest_that_was_cut_off_by_a_release_that_came_to_nothing_has_its_disk()
    {
        var clock = new SimClock();
        await using var agent = new AgentOnDisk(_disk, clock);
        await agent.Machines.StartAsync();
        await agent.ObeyedAsync(AgentOnDisk.Protection());
        await agent.UntilAsync(() => clock.Elapsed > TimeSpan.FromMinutes(3));
        _disk.Faults = io => io.Kind == IoKind.Rename && io.Path.EndsWith("assignment.json", StringComparison.Ordinal) ? Fault.Error : Fault.None;
        await using (await agent.OpenGuestAsync()) Assert.NotNull((await agent.TellAsync(new ReleaseMachine("release", AgentOnDisk.Machine, 1))).Error);
        _disk.Faults = null;
        await agent.ObeyedAsync(new ReleaseMachine("release", AgentOnDisk.Machine, 1));
        Assert.Equal([AgentOnDisk.Export], agent.Exports.Names);
    }

    [Fact]
    public async Task What_is_left_of_a_fenced_machine_is_never_taken_for_a_source()
    {
        await using var agent = new AgentOnDisk(_disk);
        await agent.Machines.StartAsync();
        await agent.ObeyedAsync(AgentOnDisk.Protection());
        await agent.ObeyedAsync(new FenceMachine("fence", AgentOnDisk.Machine, 2, StopMachine: false));
        var left = new List<SimDisk>();
        _disk.Faults = io =>
        {
            // Of a folder's files any may go first.
            if (io.Kind is IoKind.Delete or IoKind.DeleteFolder && io.Path.StartsWith(AgentOnDisk.Folder, StringComparison.Ordinal)) left.AddRange(Enumerable.Range(0, 8).Select(_disk.LosePower));
            return Fault.None;
        };
        await agent.ObeyedAsync(new ReleaseMachine("release", AgentOnDisk.Machine, 2));
        Assert.NotEmpty(left);
        Assert.All(left, d => Assert.False(d.Exists(AgentOnDisk.Folder + "/assignment.json")));
        // What was answered stays so.
        Assert.All(Enumerable.Range(0, 8).Select(_disk.LosePower), d => Assert.False(d.FolderExists(AgentOnDisk.Folder)));
    }

    [Fact]
    public async Task A_disk_of_a_protected_machine_is_not_served_without_capture()
    {
        await using (var before = new AgentOnDisk(_disk))
        {
            await before.Machines.StartAsync();
            await before.ObeyedAsync(AgentOnDisk.Protection());
            await using var guest = await before.OpenGuestAsync();
            // The list of the released is written, and no more than that.
            _disk.Faults = io => io.Kind == IoKind.Rename && io.Path.EndsWith("assignment.json", StringComparison.Ordinal) ? Fault.Error : Fault.None;
            Assert.NotNull((await before.TellAsync(new ReleaseMachine("release", AgentOnDisk.Machine, 1))).Error);
            Assert.NotNull(before.Machines.Find(AgentOnDisk.Machine));
            Assert.Equal([AgentOnDisk.Export], before.Exports.Names);
        }
        _disk.Faults = io => io.Kind == IoKind.Read && io.Path.StartsWith(AgentOnDisk.Folder, StringComparison.Ordinal) ? Fault.Error : Fault.None;
        await using var agent = new AgentOnDisk(_disk);
        await agent.Machines.StartAsync();
        Assert.Empty(agent.Exports.Names);
        _disk.Faults = null;
        await agent.UntilAsync(() => agent.Machines.Find(AgentOnDisk.Machine) is not null);
    }

    [Fact]
    public async Task A_machine_that_is_not_open_is_fenced_before_it_is_released_and_whoever_refuses_that_refuses_the_release()
    {
        await using (var before = new AgentOnDisk(_disk))
        {
            await before.Machines.StartAsync();
            await before.ObeyedAsync(AgentOnDisk.Protection());
        }
        var release = new ReleaseMachine("release", AgentOnDisk.Machine, 1, Fence: true);
        await using var agent = new AgentOnDisk(_disk);
        agent.TakeElsewhere();
        await agent.Machines.StartAsync();
        Assert.Contains("in use by another program", (await agent.TellAsync(release)).Error, StringComparison.Ordinal);
        Assert.True(_disk.Exists(AgentOnDisk.Folder + "/assignment.json"));
        agent.LetGoElsewhere();
        var killed = new List<SimDisk>();
        _disk.After = _ => killed.Add(_disk.Kill());
        await agent.ObeyedAsync(release);
        _disk.After = null;
        killed.Add(_disk);
        foreach (var left in killed)
        {
            // As it is told again where the answer was lost.
            await using var next = new AgentOnDisk(left);
            next.TakeElsewhere();
            await next.Machines.StartAsync();
            next.LetGoElsewhere();
            await next.ObeyedAsync(release);
            Assert.False(left.FolderExists(AgentOnDisk.Folder));
        }
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    public async Task The_mark_of_a_release_that_came_to_nothing_goes_behind_the_assignment(int epoch)
    {
        const string mark = AgentOnDisk.Folder + "/released", assignment = AgentOnDisk.Folder + "/assignment.json";
        await using var agent = new AgentOnDisk(_disk);
        await agent.Machines.StartAsync();
        await agent.ObeyedAsync(AgentOnDisk.Protection());
        var renamed = false;
        _disk.Faults = io =>
        {
            var fails = renamed && io.Kind == IoKind.FlushFolder && io.Path == AgentOnDisk.Folder;
            renamed |= io.Kind == IoKind.Rename && io.Path == assignment;
            return fails ? Fault.Error : Fault.None;
        };
        Assert.NotNull((await agent.TellAsync(new ReleaseMachine("release", AgentOnDisk.Machine, 1))).Error);
        Assert.True(_disk.Exists(mark));
        _disk.Faults = null;
        var left = new List<SimDisk>();
        _disk.After = _ => left.AddRange(Enumerable.Range(0, 4).Select(_disk.LosePower));
        await agent.ObeyedAsync(AgentOnDisk.Protection(epoch));
        _disk.After = null;
        Assert.False(_disk.Exists(mark));
        Assert.All(left, d => Assert.True(d.Exists(mark) || d.Exists(assignment)));
    }

    [Theory]
    [InlineData(null)]
    [InlineData("released")]
    public async Task A_fence_writes_nothing_where_nothing_is_kept_and_its_release_is_not_refused_for_that(string? mark)
    {
        await using var agent = new AgentOnDisk(_disk);
        _disk.CreateDirectory(AgentOnDisk.Folder);
        if (mark is not null) _disk.Replace($"{AgentOnDisk.Folder}/{mark}", []);
        await agent.Machines.StartAsync();
        Assert.Contains("keeps nothing of machine db1", (await agent.TellAsync(new FenceMachine("fence", AgentOnDisk.Machine, 2, StopMachine: true))).Error, StringComparison.Ordinal);
        Assert.Equal(mark is null ? 0 : 1, _disk.List(AgentOnDisk.Folder).Count);
        await agent.ObeyedAsync(new ReleaseMachine("release", AgentOnDisk.Machine, 2, Fence: true));
        Assert.False(_disk.FolderExists(AgentOnDisk.Folder));
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Where_nobody_knows_its_disks_any_more_the_refusal_says_the_way_out(bool isDamaged)
    {
        await using (var before = new AgentOnDisk(_disk))
        {
            await before.Machines.StartAsync();
            await before.ObeyedAsync(AgentOnDisk.Protection());
        }
        if (isDamaged) _disk.Replace(AgentOnDisk.Folder + "/assignment.json", "{"u8);
        else _disk.Delete(AgentOnDisk.Folder + "/assignment.json");
        var release = new ReleaseMachine("release", AgentOnDisk.Machine, 2, Fence: true);
        await using var agent = new AgentOnDisk(_disk);
        await agent.Machines.StartAsync();
        Assert.Contains($"delete {AgentOnDisk.Folder} on this host and repeat", (await agent.TellAsync(release)).Error, StringComparison.Ordinal);
        foreach (var file in _disk.List(AgentOnDisk.Folder)) _disk.Delete(file);
        _disk.DeleteFolder(AgentOnDisk.Folder);
        await agent.ObeyedAsync(release);
    }
}
