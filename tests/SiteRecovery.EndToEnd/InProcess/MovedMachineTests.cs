using System.Net.Http.Json;
using System.Text.Json.Nodes;
using SiteRecovery.DataPlane.Nbd;
using SiteRecovery.Node.Demo;

namespace SiteRecovery.EndToEnd.InProcess;

/// <summary>A machine is moved to the other site and back, with a writer on whichever disk is its own at the moment.</summary>
[Collection(OnTwoSites.Name)]
public sealed class MovedMachineTests(TwoSites sites)
{
    private static readonly string[] Acknowledge = ["machineStops", "sourceReachable", "sourceUnreachable", "olderPoint", "replicaWritesLost"];
    private const int DiskBytes = 16 << 20, Block = 4096;

    [Fact]
    public async Task There_and_back_again_with_nothing_lost_and_only_the_changes_sent()
    {
        var disk = new byte[DiskBytes];
        await ProtectedAsync("moved1");
        await WriteAsync("moved1", disk, 0, 64, 1);
        for (byte round = 0; round < 4; round++)
        {
            var planned = await sites.ActAsync("moved1", "planned-failover", new { acknowledge = Acknowledge });
            Assert.Equal("succeeded", (string)planned["status"]!);
            var verified = planned["steps"]!.AsArray().Single(s => (string)s!["name"]! == "verify-target")!;
            Assert.Contains("nothing is lost", (string)verified["detail"]!, StringComparison.Ordinal);
            await EqualAsync("moved1", disk);
            await sites.ActAsync("moved1", "commit");
            await WriteAsync("moved1", disk, 100 + 10 * round, 8, (byte)(10 + round));

            var reverse = await sites.ActAsync("moved1", "reverse-replicate");
            Assert.Equal("succeeded", (string)reverse["status"]!);
            var machine = await sites.MachineAsync("moved1");
            Assert.Equal(("Protected", round % 2 == 0 ? "secondary->primary" : "primary->secondary"), ((string)machine["state"]!, (string)machine["direction"]!));
            Assert.InRange((long)machine["replication"]!["bytesSent"]!, 1, 12 * Block * 6 / 5);
            await WriteAsync("moved1", disk, 200 + 10 * round, 8, (byte)(20 + round));
            await PointAsync("moved1");
        }
        await EqualAsync("moved1", disk);
    }

    [Fact]
    public async Task What_the_old_source_wrote_beyond_the_fork_is_taken_back_and_kept_as_a_point()
    {
        var disk = new byte[DiskBytes];
        await ProtectedAsync("tail1");
        await WriteAsync("tail1", disk, 0, 32, 1);
        var point = await PointAsync("tail1");
        var beyond = (byte[])disk.Clone();
        await WriteAsync("tail1", beyond, 16, 32, 2);
        await PointAsync("tail1");

        await sites.ActAsync("tail1", "unplanned-failover", new { point, acknowledge = Acknowledge });
        await EqualAsync("tail1", disk);
        await sites.UntilAsync(async () => (bool?)(await sites.MachineAsync("tail1"))["sourceFenced"] == true);
        await sites.ActAsync("tail1", "commit");
        await WriteAsync("tail1", disk, 40, 8, 3);
        var reverse = await sites.ActAsync("tail1", "reverse-replicate");

        Assert.Equal("succeeded", (string)reverse["status"]!);
        Assert.Contains("beyond the fork", Detail(reverse, "take-back-tail"), StringComparison.Ordinal);
        var kept = Detail(reverse, "continue-store").Split(' ')[^1];
        // The disk of the old source, as a test failover at its own site shows it.
        await sites.ActAsync("tail1", "test-failover", new { point = kept });
        await EqualAsync("tail1", beyond, test: true);
        await sites.ActAsync("tail1", "test-failover-cleanup");
        // And the replica of the new one there.
        await sites.ActAsync("tail1", "test-failover", new { point = "latest" });
        await EqualAsync("tail1", disk, test: true);
        await sites.ActAsync("tail1", "test-failover-cleanup");
    }

    /// <summary>The changed point is one of the replica's own epoch, in which the source has never written.</summary>
    [Fact]
    public async Task A_tail_is_taken_back_also_after_the_point_was_changed()
    {
        var disk = new byte[DiskBytes];
        await ProtectedAsync("change1");
        await WriteAsync("change1", disk, 0, 32, 1);
        var point = await PointAsync("change1");
        await WriteAsync("change1", (byte[])disk.Clone(), 16, 32, 2);
        await PointAsync("change1");
        // By then the old source knows no more which writes those were: they are durable at the target, beyond the fork.
        var forgotten = TimeProvider.System.GetUtcNow().AddSeconds(3);
        await sites.UntilAsync(async () => (DateTimeOffset?)(await sites.MachineAsync("change1"))["newestPoint"]?["at"] > forgotten);
        await sites.ActAsync("change1", "unplanned-failover", new { point, acknowledge = Acknowledge });
        await sites.ActAsync("change1", "change-recovery-point", new { point = "latest", acknowledge = Acknowledge });
        await EqualAsync("change1", disk);
        await sites.UntilAsync(async () => (bool?)(await sites.MachineAsync("change1"))["sourceFenced"] == true);
        await sites.ActAsync("change1", "commit");
        await sites.ActAsync("change1", "reverse-replicate");

        var home = await sites.ActAsync("change1", "planned-failover", new { acknowledge = Acknowledge });

        Assert.Equal("succeeded", (string)home["status"]!);
        await EqualAsync("change1", disk);
    }

    [Fact]
    public async Task A_cancelled_failover_gives_the_machine_back_to_its_source_by_a_delta()
    {
        var disk = new byte[DiskBytes];
        await ProtectedAsync("cancel1");
        await WriteAsync("cancel1", disk, 0, 512, 1);
        await PointAsync("cancel1");
        await sites.ActAsync("cancel1", "unplanned-failover", new { point = "latest", acknowledge = Acknowledge });
        var replica = (byte[])disk.Clone();
        await WriteAsync("cancel1", replica, 8, 8, 9);
        await sites.UntilAsync(async () => (bool?)(await sites.MachineAsync("cancel1"))["sourceFenced"] == true);

        var cancel = await sites.ActAsync("cancel1", "cancel-failover", new { acknowledge = Acknowledge });

        Assert.Equal("succeeded", (string)cancel["status"]!);
        await sites.UntilStateAsync("cancel1", "Protected");
        var kept = Detail(cancel, "continue-store").Split(' ')[^1];
        await EqualAsync("cancel1", disk);
        await WriteAsync("cancel1", disk, 20, 8, 4);
        await PointAsync("cancel1");
        Assert.InRange((long)(await sites.MachineAsync("cancel1"))["replication"]!["bytesSent"]!, 1, 1 << 20);
        await sites.ActAsync("cancel1", "test-failover", new { point = kept });
        await EqualAsync("cancel1", replica, test: true);
        await sites.ActAsync("cancel1", "test-failover-cleanup");
        await sites.ActAsync("cancel1", "test-failover", new { point = "latest" });
        await EqualAsync("cancel1", disk, test: true);
        await sites.ActAsync("cancel1", "test-failover-cleanup");
    }

    [Fact]
    public async Task A_machine_that_will_not_stop_is_not_moved_and_runs_on()
    {
        var disk = new byte[DiskBytes];
        await ProtectedAsync("stays1");
        await using var guest = await NbdAddress.Parse(await UriAsync("stays1")).OpenAsync(sites.Stop);
        var job = await sites.ActAsync("stays1", "planned-failover", new { patience = "5s", acknowledge = Acknowledge });

        Assert.Equal("failed", (string)job["status"]!);
        Assert.Contains("still has its disks open", (string)job["error"]!, StringComparison.Ordinal);
        Assert.Equal(("Protected", "primary"), ((string)(await sites.MachineAsync("stays1"))["state"]!, (string)(await sites.MachineAsync("stays1"))["activeSite"]!));
        await guest.WriteAsync(0, new byte[Block], true, sites.Stop);
        await WriteAsync("stays1", disk, 0, 4, 1);
        await PointAsync("stays1");
    }

    private async Task ProtectedAsync(string machine)
    {
        using var accepted = await sites.ProtectAsync(machine, sites.NewDisk(machine + ".raw", DiskBytes));
        Assert.True(accepted.IsSuccessStatusCode, await accepted.Content.ReadAsStringAsync(sites.Stop));
        await sites.UntilStateAsync(machine, "Protected");
        await sites.UntilAsync(async () => (await sites.MachineAsync(machine))["newestPoint"] is not null);
    }

    /// <summary>A point with all that has been written.</summary>
    private async Task<string> PointAsync(string machine)
    {
        var id = "";
        await sites.UntilAsync(async () =>
        {
            using var taken = await sites.Http.PostAsJsonAsync($"/api/v1/machines/{machine}/recovery-points", new { label = "here" }, sites.Stop);
            if (taken.IsSuccessStatusCode) id = (string)JsonNode.Parse(await taken.Content.ReadAsStringAsync(sites.Stop))!["id"]!;
            return taken.IsSuccessStatusCode;
        });
        await sites.UntilAsync(async () => (await sites.GetAsync($"/api/v1/machines/{machine}/recovery-points"))["items"]!.AsArray().Any(p => (string)p!["id"]! == id));
        return id;
    }

    private static string Detail(JsonNode job, string step) => (string?)job["steps"]!.AsArray().Single(s => (string)s!["name"]! == step)!["detail"] ?? "";

    /// <summary>Where the machine's own disk is now: of its replica where that runs, else where it is captured.</summary>
    private async Task<string> UriAsync(string machine, bool test = false)
    {
        string? uri = null;
        await sites.UntilAsync(async () =>
        {
            var exports = (await sites.GetAsync($"/api/v1/machines/{machine}/exports"))["items"]!.AsArray();
            uri = (string?)exports.FirstOrDefault(e => e!["test"] is not null == test)?["uri"];
            return (uri ??= test ? null : (string?)(await sites.MachineAsync(machine))["disks"]![0]!["captureUri"]) is not null;
        });
        return uri!;
    }

    private async Task WriteAsync(string machine, byte[] model, int block, int blocks, byte value)
    {
        await using var disk = await NbdAddress.Parse(await UriAsync(machine)).OpenAsync(sites.Stop);
        model.AsSpan(block * Block, blocks * Block).Fill(value);
        for (var i = block; i < block + blocks; i++) await disk.WriteAsync((long)i * Block, model.AsMemory(i * Block, Block), i == block + blocks - 1, sites.Stop);
    }

    private async Task EqualAsync(string machine, byte[] model, bool test = false)
    {
        await using var disk = await NbdAddress.Parse(await UriAsync(machine, test)).OpenAsync(sites.Stop);
        var found = new byte[DiskBytes];
        for (var at = 0; at < DiskBytes; at += 1 << 20) await disk.ReadAsync(at, found.AsMemory(at, 1 << 20), sites.Stop);
        Assert.Equal(-1, found.AsSpan().CommonPrefixLength(model) is var same && same == DiskBytes ? -1 : same);
    }
}
