using System.Text.Json.Nodes;
using SiteRecovery.DataPlane.Hypervisors;
using SiteRecovery.DataPlane.Storage;
using SiteRecovery.EndToEnd.Guests;
using SiteRecovery.EndToEnd.Hypervisors;
using SiteRecovery.Node.Demo;
using Xunit.Abstractions;

namespace SiteRecovery.EndToEnd.Processes;

/// <summary>
/// A planned failover has stopped the machine, and its agent dies before it has frozen the disks: what nobody but its own note remembers is that the machine is down because of us.
/// </summary>
[Trait("Category", "Slow"), Collection("Sites")]
public sealed class KilledBeforeFreezeTests : IAsyncLifetime
{
    private const string Machine = SitesUnderTest.Machine;
    private readonly CancellationTokenSource _limit = new(TimeSpan.FromMinutes(5));
    private readonly ITestOutputHelper _output;
    private readonly SitesUnderTest _sites;
    private readonly QemuHypervisor _host;
    private string _captureUri = "";

    public KilledBeforeFreezeTests(ITestOutputHelper output)
    {
        _output = output;
        _sites = new SitesUnderTest("", _limit.Token,
            new(SitesUnderTest.Secondary, SitesUnderTest.Secondary, "configuration-server, process-server, master-target"),
            new(SitesUnderTest.Primary, SitesUnderTest.Primary, "process-server, master-target"));
        _sites.AgentArguments = ["--hypervisor", _sites.At("host"), "--qemu-accelerators", "tcg"];
        _host = new QemuHypervisor(_sites.At("host"), new QemuOptions { Accelerators = "tcg" }, RealFileSystem.Instance, TimeProvider.System);
    }

    [Fact]
    public async Task An_agent_that_dies_between_the_stop_of_its_machine_and_the_freeze_loses_neither_machine_nor_data()
    {
        await _sites.JoinAsync();
        await RunAsync();

        // Back too late: the failover was rolled back meanwhile, and the machine is down until the agent is there again.
        var job = await BeginAndKillAsync("8s");
        job = await EndAsync(job);
        Assert.Equal("failed", (string?)job["status"]);
        Assert.Contains("is started again, as soon as its agent hears of it", (string?)job["error"], StringComparison.Ordinal);
        await _sites.UntilAsync("the missing agent to be a reason", async () => await _sites.LookAsync() is { State: "Protected" } seen && seen.Reasons.Contains("agentDisconnected"));
        Assert.Equal(MachineState.Stopped, await StateAsync());
        _sites.Start(SitesUnderTest.Agent);
        await _sites.UntilAsync("the machine to be started again", async () => await StateAsync() == MachineState.Running);
        await _sites.RecoveredAsync();
        _output.WriteLine($"too late: {job["error"]}");

        // Back in time: the failover goes on where it was.
        job = await BeginAndKillAsync("60s");
        _sites.Start(SitesUnderTest.Agent);
        job = await EndAsync(job);
        Assert.True((string?)job["status"] == "succeeded", job.ToJsonString());
        _output.WriteLine($"in time: {string.Join("; ", job["steps"]!.AsArray().Select(s => $"{s!["name"]}: {s["detail"]}"))}");
        Assert.Equal("the machine was shut down through its hypervisor", (string?)job["steps"]!.AsArray().Single(s => (string?)s!["name"] == "stop-source")!["detail"]);
        Assert.Equal(await File.ReadAllBytesAsync(_sites.At("boot.raw"), _limit.Token), await ReplicaAsync());
        Assert.Equal(MachineState.Stopped, await StateAsync());

        // And its own note still brings the machine back.
        await _sites.Admin.FinishAsync(await _sites.Admin.PostAsync($"/api/v1/machines/{Machine}/cancel-failover", new { acknowledge = new[] { "replicaWritesLost", "sourceUnreachable" } }, _limit.Token), _limit.Token);
        await _sites.UntilAsync("the machine to run at home", async () => await StateAsync() == MachineState.Running);
        await _sites.RecoveredAsync();
    }

    /// <summary>A machine that hears no button: when it ends is ours to say.</summary>
    private async Task RunAsync()
    {
        var path = _sites.At("boot.raw");
        BootDisk.Write(path, hearsButton: false);
        await using (var disk = File.OpenWrite(path))
        {
            disk.Position = 4096;
            var content = new byte[BootDisk.SizeBytes - disk.Position];
            new Random(3).NextBytes(content);
            await disk.WriteAsync(content, _limit.Token);
        }
        await _sites.Admin.PostAsync("/api/v1/machines", new { name = Machine, vault = "vault-1", policy = "default", source = new { agent = "agent-1", disks = new[] { new { id = "vda", path } } } }, _limit.Token);
        await _sites.UntilAsync("the disk to be served", async () => (_captureUri = (await _sites.LookAsync())?.CaptureUri ?? "").Length > 0);
        await _host.DefineAsync(new MachineDefinition
        {
            Name = Machine, MachineType = "pc", CpuCount = 1, MemoryBytes = 32L << 20, Disks = [new MachineDisk { Target = "vda", Bus = "virtio", Source = _captureUri }],
        }, _limit.Token);
        await _host.StartAsync(Machine, _limit.Token);
        await _sites.RecoveredAsync();
    }

    /// <summary>The agent stands still while its machine ends, and never goes on.</summary>
    private async Task<JsonNode> BeginAndKillAsync(string patience)
    {
        var folder = _sites.At($"agent-data/machines/{Machine}");
        Assert.False(File.Exists(Path.Combine(folder, "machine-stopped")));
        var job = await _sites.Admin.PostAsync($"/api/v1/machines/{Machine}/planned-failover", new { patience, acknowledge = new[] { "machineStops" } }, _limit.Token);
        await _sites.UntilAsync("the button to be pressed", () => Task.FromResult(File.Exists(Path.Combine(folder, "machine-stopped"))));
        await HostProgram.RunAsync("kill", ["-STOP", $"{_sites.ProcessIdOf(SitesUnderTest.Agent)}"]);
        await _host.DestroyAsync(Machine, _limit.Token);
        _sites.Kill(SitesUnderTest.Agent);
        Assert.False((bool?)JsonNode.Parse(await File.ReadAllTextAsync(Path.Combine(folder, "capture.json"), _limit.Token))!["Frozen"]);
        Assert.Equal(MachineState.Stopped, await StateAsync());
        return job;
    }

    private async Task<JsonNode> EndAsync(JsonNode job)
    {
        await _sites.UntilAsync("the job to end", async () =>
            (job = await _sites.Admin.GetAsync($"/api/v1/jobs/{job["id"]}", _limit.Token))["status"]!.GetValue<string>() is "succeeded" or "succeededWithWarnings" or "failed" or "cancelled", () => job.ToJsonString());
        return job;
    }

    private async Task<byte[]> ReplicaAsync()
    {
        var exports = await _sites.Admin.GetAsync($"/api/v1/machines/{Machine}/exports", _limit.Token);
        await using var replica = await NbdAddress.Parse((string)exports["items"]![0]!["uri"]!).OpenAsync(_limit.Token);
        var content = new byte[replica.SizeBytes];
        await replica.ReadAsync(0, content, _limit.Token);
        return content;
    }

    private async Task<MachineState> StateAsync() => (await _host.FindAsync(Machine, _limit.Token))!.State;

    public Task InitializeAsync() => Task.CompletedTask;

    public async Task DisposeAsync()
    {
        // A process that is stopped is killed all the same.
        if (await _host.FindAsync(Machine, CancellationToken.None) is not null) await _host.DestroyAsync(Machine, CancellationToken.None);
        await _host.DisposeAsync();
        await _sites.DisposeAsync();
        _limit.Dispose();
    }
}
