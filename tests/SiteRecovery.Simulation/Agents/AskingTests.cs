using SiteRecovery.DataPlane.Storage;
using SiteRecovery.Simulation.World;

namespace SiteRecovery.Simulation.Agents;

/// <summary>After a boot writes wait until somebody says where the machine runs; nobody's wait for ever.</summary>
public sealed class AskingTests
{
    private static readonly string[] Machines = ["db1", "db2", "db3"];

    [Fact]
    public async Task A_machine_whose_answer_cannot_be_kept_keeps_neither_its_own_writes_waiting_nor_the_others()
    {
        var booted = (await ProtectedAsync()).LosePower(1);
        booted.Delete("/disks/db3.img");
        await using var agent = new AgentOnDisk(booted);
        await agent.Machines.StartAsync();
        var writes = Machines[..2].Select(m => WriteAsync(agent, m)).ToArray();
        Assert.All(writes, w => Assert.False(w.IsCompleted));
        booted.Faults = io => io.Kind == IoKind.Create && io.Path.Contains("capture.json", StringComparison.Ordinal) ? Fault.Error : Fault.None;
        await agent.UntilAsync(() => writes.All(w => w.IsCompleted));
        await Task.WhenAll(writes);
        booted.Faults = null;
        // Its disk comes up after that.
        CreateDisk(booted, "db3");
        await agent.UntilAsync(() => agent.Machines.Find("db3") is not null);
        await WriteAsync(agent, "db3").WaitAsync(TimeSpan.FromSeconds(30));
    }

    [Fact]
    public async Task An_answer_that_could_not_be_kept_is_kept_when_it_is_given_again()
    {
        var booted = (await ProtectedAsync()).LosePower(1);
        await using var agent = new AgentOnDisk(booted);
        await agent.Machines.StartAsync();
        booted.Faults = io => io.Kind == IoKind.Create && io.Path.Contains("capture.json", StringComparison.Ordinal) ? Fault.Error : Fault.None;
        var told = AgentOnDisk.Protection(disk: "/disks/db1.img", machine: "db1");
        Assert.NotNull((await agent.TellAsync(told)).Error);
        booted.Faults = null;
        await agent.ObeyedAsync(told);
        await using var next = new AgentOnDisk(booted.Kill());
        await next.Machines.StartAsync();
        Assert.False(next.Machines.Find("db1")!.IsAsking);
    }

    private static async Task<SimDisk> ProtectedAsync()
    {
        var disk = new SimDisk();
        await using var agent = new AgentOnDisk(disk);
        await agent.Machines.StartAsync();
        foreach (var machine in Machines)
        {
            CreateDisk(disk, machine);
            await agent.ObeyedAsync(AgentOnDisk.Protection(disk: $"/disks/{machine}.img", machine: machine));
        }
        return disk;
    }

    private static void CreateDisk(SimDisk disk, string machine)
    {
        using var file = disk.Open($"/disks/{machine}.img", FileOpening.Create);
        file.SetLength(AgentOnDisk.DiskBytes);
        file.Flush();
        disk.FlushFolder("/disks");
    }

    private static Task WriteAsync(AgentOnDisk agent, string machine) => agent.Machines.Find(machine)!.Capture.Disks[0].WriteAsync(0, new byte[4096], false, CancellationToken.None).AsTask();
}
