using SiteRecovery.DataPlane.Storage;
using SiteRecovery.DataPlane.Transport;
using SiteRecovery.Simulation.World;

namespace SiteRecovery.Simulation.Agents;

/// <summary>A disk that hangs keeps its own machine's orders unconfirmed, and no other machine's.</summary>
public sealed class HangingDiskTests : IDisposable
{
    private readonly SimDisk _disk = new();
    private readonly ManualResetEventSlim _goesOn = new(), _hangs = new();

    [Theory]
    [InlineData("fence")]
    [InlineData("release")]
    [InlineData("protect")]
    public async Task Whoever_orders_something_of_it_hears_so_and_others_are_obeyed(string order)
    {
        await using var agent = new AgentOnDisk(_disk);
        await agent.Machines.StartAsync();
        await agent.ObeyedAsync(AgentOnDisk.Protection());
        using (var other = _disk.Open("/disks/b.img", FileOpening.Create)) other.SetLength(AgentOnDisk.DiskBytes);
        await agent.ObeyedAsync(AgentOnDisk.Protection(disk: "/disks/b.img", machine: "db2"));
        await using var guest = await agent.OpenGuestAsync();
        _disk.After = io =>
        {
            if (io.Kind != IoKind.Write || io.Path != AgentOnDisk.DiskPath) return;
            _hangs.Set();
            _goesOn.Wait(TimeSpan.FromSeconds(60));
        };
        var written = guest.WriteAsync(0, new byte[4096], forceUnitAccess: false, CancellationToken.None);
        await agent.UntilAsync(() => _hangs.IsSet);

        AgentMessage ordered = order switch
        {
            "fence" => new FenceMachine("1", AgentOnDisk.Machine, 2, StopMachine: false),
            "release" => new ReleaseMachine("1", AgentOnDisk.Machine, 1),
            _ => AgentOnDisk.Protection(2) with { Protection = 1 },
        };
        var told = agent.TellAsync(ordered);
        await agent.UntilAsync(() => told.IsCompleted);
        Assert.Contains("has not ended for 5 s", (await told).Error, StringComparison.Ordinal);
        Assert.Equal(order == "fence", agent.Machines.Find(AgentOnDisk.Machine)!.Capture.IsFenced);
        await agent.ObeyedAsync(new FenceMachine("2", "db2", 2, StopMachine: false));

        _goesOn.Set();
        await written.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing | ConfigureAwaitOptions.ContinueOnCapturedContext);
        var again = agent.TellAsync(ordered);
        await agent.UntilAsync(() => again.IsCompleted);
        Assert.Null((await again).Error);
    }

    public void Dispose()
    {
        _goesOn.Dispose();
        _hangs.Dispose();
    }
}
