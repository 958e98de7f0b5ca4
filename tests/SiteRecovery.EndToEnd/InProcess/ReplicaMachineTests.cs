using System.Net.Http.Json;
using System.Net.Sockets;
using System.Text.Json.Nodes;
using SiteRecovery.EndToEnd.Guests;
using Xunit.Abstractions;

namespace SiteRecovery.EndToEnd.InProcess;

/// <summary>The replica is a running machine, built from what was told of it when it was protected.</summary>
[Collection(OnTwoSites.Name), Trait("Category", "Slow")]
public sealed class ReplicaMachineTests(TwoSites sites, ITestOutputHelper output)
{
    private const string Machine = "vm1";
    private static readonly string[] Acknowledge = ["machineStops", "sourceReachable", "sourceUnreachable", "olderPoint", "replicaWritesLost"];

    [Fact]
    public async Task A_test_failover_and_a_failover_run_the_machine_and_leave_nothing_behind()
    {
        await GuestDisk.CreateAsync(sites.At("vm1.raw"), 48 << 20);
        var image = await GuestImage.BuiltAsync();
        using (var protect = await sites.Http.PostAsJsonAsync("/api/v1/machines", new
        {
            name = Machine, vault = "main", policy = "default", source = new { agent = "host1", disks = new[] { new { id = "vda", path = sites.At("vm1.raw") } } },
            definition = new
            {
                name = Machine, machineType = "pc", cpuCount = 1, memoryBytes = GuestMachine.MemoryMiB * (1L << 20),
                kernel = new { kernel = image.Kernel, initialRamDisk = image.InitialRamDisk, commandLine = GuestMachine.KernelLine },
                disks = new[] { new { target = "vda", bus = "virtio" } },
                nics = new[] { new { mac = "52:54:00:01:02:03", network = "bridge:lan" } },
            },
        }, sites.Stop)) Assert.True(protect.IsSuccessStatusCode, await protect.Content.ReadAsStringAsync(sites.Stop));
        await sites.UntilStateAsync(Machine, "Protected");
        var records = await RecordsAsync(40);

        var drill = await sites.ActAsync(Machine, "test-failover", new { point = await PointAsync() });
        var test = (await sites.MachineAsync(Machine))["tests"]![0]!;
        Assert.Equal($"point {test["pointId"]}; the test machine runs; {test["console"]}", (string)drill["steps"]!.AsArray().Single(s => (string)s!["name"]! == "serve-test")!["detail"]!);
        Assert.True(await ReadyAsync((string)test["console"]!) >= records);
        await TimedAsync("test failover", drill, epoch: false);
        await sites.ActAsync(Machine, "test-failover-cleanup");
        Assert.Empty(Machines("secondary"));

        var job = await sites.ActAsync(Machine, "unplanned-failover", new { point = "latest", acknowledge = Acknowledge });
        Assert.Contains("runs", (string)job["steps"]!.AsArray().Single(s => (string)s!["name"]! == "serve-replica")!["detail"]!, StringComparison.Ordinal);
        Assert.True(await ReadyAsync((string)(await sites.MachineAsync(Machine))["console"]!) >= records);
        Assert.Equal([Machine], Machines("secondary"));
        await TimedAsync("unplanned failover", job, epoch: true);

        // The guest of this test knows no power button: it is left running, and is where it was.
        await sites.UntilAsync(async () => (bool?)(await sites.MachineAsync(Machine))["sourceFenced"] == true);
        await sites.ActAsync(Machine, "commit");
        await sites.ActAsync(Machine, "reverse-replicate");
        var planned = await sites.ActAsync(Machine, "planned-failover", new { patience = "5s", acknowledge = Acknowledge });
        Assert.Equal("failed", (string)planned["status"]!);
        Assert.Contains("power button", (string?)planned["error"], StringComparison.Ordinal);
        Assert.Equal(("Protected", "secondary"), ((string)(await sites.MachineAsync(Machine))["state"]!, (string)(await sites.MachineAsync(Machine))["activeSite"]!));
        Assert.True(await AcknowledgesAsync((string)(await sites.MachineAsync(Machine))["console"]!));

        // A failover home does not wait for it: the replica that was left is destroyed, and the one at home runs.
        await sites.ActAsync(Machine, "unplanned-failover", new { point = await PointAsync(), acknowledge = Acknowledge });
        Assert.True(await ReadyAsync((string)(await sites.MachineAsync(Machine))["console"]!) >= records);
        await sites.UntilAsync(() => Task.FromResult(Machines("secondary").Length == 0));
        Assert.Equal([Machine], Machines("primary"));
        await sites.ActAsync(Machine, "cancel-failover", new { acknowledge = Acknowledge });
        await sites.UntilAsync(() => Task.FromResult(Machines("primary").Length == 0 && Machines("secondary").Length == 1));
    }

    [Fact]
    public async Task A_definition_that_does_not_fit_the_disks_is_refused()
    {
        var path = sites.NewDisk("misfit1.raw");
        object Body(string target) => new
        {
            name = "misfit1", vault = "main", source = new { agent = "host1", disks = new[] { new { id = "vda", path } } },
            definition = new { name = "misfit1", machineType = "pc", cpuCount = 1, memoryBytes = 1 << 27, disks = new[] { new { target, bus = "virtio" }, new { target = "vdc", bus = "virtio" } } },
        };
        Assert.Contains("no disk 'vda'", (string)(await TwoSites.ProblemAsync(await sites.Http.PostAsJsonAsync("/api/v1/machines", Body("vdb"), sites.Stop), 400, "invalid"))["detail"]!, StringComparison.Ordinal);
        Assert.Contains("'vdc'", (string)(await TwoSites.ProblemAsync(await sites.Http.PostAsJsonAsync("/api/v1/machines", Body("vda"), sites.Stop), 400, "invalid"))["detail"]!, StringComparison.Ordinal);
    }

    /// <summary>From the command to a booted kernel, as the job says it.</summary>
    private async Task TimedAsync(string what, JsonNode job, bool epoch) =>
        output.WriteLine($"{what}: {(await JobTimes.UntilGuestUpAsync(() => sites.GetAsync($"/api/v1/jobs/{job["id"]}"), sites.Stop)).InOrder(epoch, machine: true)}");

    private string[] Machines(string site) => [.. Directory.GetFiles(sites.At(site + "/machines"), "*.machine.json").Select(p => Path.GetFileName(p).Split('.')[0])];

    private async Task<long> RecordsAsync(int count)
    {
        await using var guest = await GuestMachine.StartAsync((string)(await sites.MachineAsync(Machine))["disks"]![0]!["captureUri"]!);
        await guest.ReadyAsync(sites.Stop);
        await guest.AcknowledgedAsync(count, sites.Stop);
        await guest.KillAsync();
        Assert.Null(guest.Problem);
        return guest.Acknowledged;
    }

    private async Task<string> PointAsync()
    {
        using var taken = await sites.Http.PostAsJsonAsync($"/api/v1/machines/{Machine}/recovery-points", new { label = "here" }, sites.Stop);
        var id = (string)JsonNode.Parse(await taken.Content.ReadAsStringAsync(sites.Stop))!["id"]!;
        await sites.UntilAsync(async () => (await sites.GetAsync($"/api/v1/machines/{Machine}/recovery-points"))["items"]!.AsArray().Any(p => (string)p!["id"]! == id));
        return id;
    }

    /// <summary>How many records the guest that has just started has found.</summary>
    private Task<long> ReadyAsync(string consoles) => HearAsync(consoles, line => line.StartsWith("READY ", StringComparison.Ordinal) ? long.Parse(line[6..]) : null);

    private async Task<bool> AcknowledgesAsync(string consoles) => await HearAsync(consoles, line => line.StartsWith("ACK ", StringComparison.Ordinal) ? 1 : null) == 1;

    private async Task<long> HearAsync(string consoles, Func<string, long?> wanted)
    {
        var path = consoles.Split(", ").Single(c => c.StartsWith("serial unix:", StringComparison.Ordinal))["serial unix:".Length..];
        using var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        await socket.ConnectAsync(new UnixDomainSocketEndPoint(path), sites.Stop);
        using var reader = new StreamReader(new NetworkStream(socket));
        while (await reader.ReadLineAsync(sites.Stop) is { } line)
            if (wanted(line.Trim()) is { } found) return found;
        throw new IOException("the machine ended");
    }
}
