using System.Net.Http.Json;
using System.Text.Json.Nodes;
using SiteRecovery.DataPlane.Hypervisors;
using SiteRecovery.DataPlane.Storage;
using SiteRecovery.EndToEnd.Hypervisors;

namespace SiteRecovery.EndToEnd.InProcess;

/// <summary>The agent's host runs the protected machine in a hypervisor that the agent knows: real QEMU, with a guest that hears its power button or does not.</summary>
[Trait("Category", "Slow"), Collection(OnTwoSites.Name)]
public sealed class SourceHostTests : IAsyncLifetime
{
    private static readonly string[] Acknowledge = ["machineStops", "sourceReachable", "sourceUnreachable", "olderPoint", "replicaWritesLost"];
    private readonly TwoSites _sites;
    private readonly QemuHypervisor _host;
    private string? _started;

    public SourceHostTests(TwoSites sites) =>
        (_sites, _host) = (sites, new QemuHypervisor(sites.At("host1"), new QemuOptions { Accelerators = "tcg" }, RealFileSystem.Instance, TimeProvider.System));

    [Fact]
    public async Task A_planned_failover_stops_the_machine_and_its_cancellation_starts_it_again()
    {
        await RunningAsync("host-moved", hearsButton: true);
        var job = await _sites.ActAsync("host-moved", "planned-failover", new { acknowledge = Acknowledge });
        Assert.Equal("succeeded", (string)job["status"]!);
        Assert.Equal(("succeeded", "the machine was shut down through its hypervisor"), StepOf(job, "stop-source"));
        Assert.Equal(MachineState.Stopped, await StateAsync("host-moved"));
        await _sites.ActAsync("host-moved", "cancel-failover", new { acknowledge = Acknowledge });
        await _sites.UntilAsync(async () => await StateAsync("host-moved") == MachineState.Running);
    }

    [Fact]
    public async Task A_guest_that_does_not_hear_its_button_runs_on_and_the_failover_is_rolled_back()
    {
        await RunningAsync("host-deaf", hearsButton: false);
        var job = await _sites.ActAsync("host-deaf", "planned-failover", new { acknowledge = Acknowledge, patience = "5s" });
        Assert.NotEqual("succeeded", (string)job["status"]!);
        Assert.Contains("power button", StepOf(job, "stop-source").Detail, StringComparison.Ordinal);
        Assert.Equal(("cancelled", "cancelled"), (StepOf(job, "stop-source").Status, StepOf(job, "drain-source").Status));
        await _sites.UntilStateAsync("host-deaf", "Protected");
        Assert.Equal(MachineState.Running, await StateAsync("host-deaf"));
        // The agent would start it again: it watches for a guest that obeys late.
        using (var disabled = await _sites.Http.DeleteAsync("/api/v1/machines/host-deaf?acknowledge=pointsRemoved", _sites.Stop)) disabled.EnsureSuccessStatusCode();
        await _sites.UntilAsync(() => Task.FromResult(!Directory.Exists(_sites.At("agent/machines/host-deaf"))));
    }

    [Theory]
    [InlineData("host-fenced", true)]
    [InlineData("host-refused", false)]
    public async Task A_fenced_machine_is_stopped_where_the_policy_says_so(string machine, bool stops)
    {
        using (var policy = await _sites.Http.PutAsJsonAsync($"/api/v1/policies/{machine}", new { stopFencedMachine = stops }, _sites.Stop)) policy.EnsureSuccessStatusCode();
        await RunningAsync(machine, hearsButton: false, machine);
        await _sites.ActAsync(machine, "unplanned-failover", new { point = "latest", acknowledge = Acknowledge });
        await _sites.UntilAsync(async () => (bool?)(await _sites.MachineAsync(machine))["sourceFenced"] == true);
        if (stops) await _sites.UntilAsync(async () => await StateAsync(machine) == MachineState.Stopped);
        else Assert.Equal(MachineState.Running, await StateAsync(machine));
    }

    private async Task RunningAsync(string machine, bool hearsButton, string policy = "default")
    {
        var path = _sites.At(machine + ".raw");
        BootDisk.Write(path, hearsButton);
        using (var answer = await _sites.ProtectAsync(machine, path, policy)) answer.EnsureSuccessStatusCode();
        await _sites.UntilStateAsync(machine, "Protected");
        await _host.DefineAsync(new MachineDefinition
        {
            Name = machine, MachineType = "pc", CpuCount = 1, MemoryBytes = 32L << 20,
            Disks = [new MachineDisk { Target = "vda", Bus = "virtio", Source = (string)(await _sites.MachineAsync(machine))["disks"]![0]!["captureUri"]! }],
        }, _sites.Stop);
        await _host.StartAsync(machine, _sites.Stop);
        _started = machine;
        // The guest writes its second sector once it runs.
        await _sites.UntilAsync(() => Task.FromResult(SecondSector(path) != 0));
        await _sites.UntilAsync(async () => (DateTimeOffset?)(await _sites.MachineAsync(machine))["newestPoint"]?["at"] is not null);
    }

    private static (string Status, string? Detail) StepOf(JsonNode job, string step) =>
        job["steps"]!.AsArray().Single(s => (string)s!["name"]! == step)! is var found ? ((string)found["status"]!, (string?)found["detail"]) : default;

    private static int SecondSector(string path)
    {
        using var file = new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite);
        file.Position = 512;
        return file.ReadByte();
    }

    private async Task<MachineState> StateAsync(string machine) => (await _host.FindAsync(machine, _sites.Stop))!.State;

    public Task InitializeAsync() => Task.CompletedTask;

    public async Task DisposeAsync()
    {
        if (_started is not null) await _host.DestroyAsync(_started, CancellationToken.None);
        await _host.DisposeAsync();
    }
}
