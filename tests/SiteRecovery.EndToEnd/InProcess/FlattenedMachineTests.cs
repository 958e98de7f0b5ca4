using System.Net;
using System.Text.Json.Nodes;
using SiteRecovery.DataPlane.Nbd;
using SiteRecovery.Node.Demo;

namespace SiteRecovery.EndToEnd.InProcess;

/// <summary>After a commit the machine's disks become raw files of their own, so that its protection can end where it is.</summary>
[Collection(OnTwoSites.Name)]
public sealed class FlattenedMachineTests(TwoSites sites)
{
    private static readonly string[] Acknowledge = ["machineStops", "sourceReachable", "olderPoint", "replicaWritesLost", "pointsRemoved", "replicaReleased"];
    private const int DiskBytes = 32 << 20, Block = 4096;

    [Fact]
    public async Task Flattened_while_it_is_written_to_it_goes_home_by_its_changes_alone_and_stays_as_raw_files_when_its_protection_ends()
    {
        var disk = new byte[DiskBytes];
        new Random(1).NextBytes(disk.AsSpan(0, DiskBytes / 2));
        var source = sites.At("flat1.raw");
        await File.WriteAllBytesAsync(source, disk, sites.Stop);
        using (var accepted = await sites.ProtectAsync("flat1", source)) Assert.True(accepted.IsSuccessStatusCode, await accepted.Content.ReadAsStringAsync(sites.Stop));
        await sites.UntilStateAsync("flat1", "Protected");
        await sites.UntilAsync(async () => (await sites.MachineAsync("flat1"))["newestPoint"] is not null);
        Assert.Equal("succeeded", (string)(await sites.ActAsync("flat1", "planned-failover", new { acknowledge = Acknowledge }))["status"]!);
        await WriteAsync(disk, 0, 4, 1);
        await sites.ActAsync("flat1", "commit");
        await WriteAsync(disk, 1000, 4, 2);

        var flatten = await sites.JobAsync((await sites.GetAsync("/api/v1/jobs?machine=flat1"))["items"]!.AsArray().First(j => (string)j!["action"]! == "flatten")!);

        Assert.Equal("succeeded", (string)flatten["status"]!);
        Assert.Null((await sites.MachineAsync("flat1"))["flattening"]);
        await WriteAsync(disk, 2000, 4, 3);
        Assert.Equal(disk, await File.ReadAllBytesAsync(Directory.GetFiles(sites.At("secondary"), "disk-0.data", SearchOption.AllDirectories).Single(f => f.Contains("/flat1/", StringComparison.Ordinal)), sites.Stop));

        var reverse = await sites.ActAsync("flat1", "reverse-replicate");
        Assert.Equal("succeeded", (string)reverse["status"]!);
        Assert.InRange((long)(await sites.MachineAsync("flat1"))["replication"]!["bytesSent"]!, 12 * Block, 24 * Block);

        using (var unasked = await sites.Http.DeleteAsync("/api/v1/machines/flat1", sites.Stop)) Assert.Equal(HttpStatusCode.UnprocessableEntity, unasked.StatusCode);
        var guest = await NbdAddress.Parse(await UriAsync()).OpenAsync(sites.Stop);
        using var ended = await sites.Http.DeleteAsync($"/api/v1/machines/flat1?acknowledge={string.Join("&acknowledge=", Acknowledge)}", sites.Stop);
        var job = JsonNode.Parse(await ended.Content.ReadAsStringAsync(sites.Stop))!;
        await sites.UntilAsync(async () => ((string?)(await sites.GetAsync($"/api/v1/jobs/{job["id"]}"))["steps"]![0]!["detail"])?.Contains("Shut it down", StringComparison.Ordinal) == true);
        disk.AsSpan(3000 * Block, Block).Fill(4);
        await guest.WriteAsync(3000L * Block, disk.AsMemory(3000 * Block, Block), true, sites.Stop);
        await guest.DisposeAsync();

        job = await sites.JobAsync(job);
        Assert.Equal("succeeded", (string)job["status"]!);
        var folder = ((string)job["steps"]!.AsArray().Single(s => (string)s!["name"]! == "release-replica")!["detail"]!).Split(' ')[^1];
        Assert.Equal(disk, await File.ReadAllBytesAsync(Path.Combine(folder, "disk-0.raw"), sites.Stop));
        foreach (var site in new[] { "primary", "secondary" })
            Assert.DoesNotContain(Directory.GetDirectories(sites.At(site), "flat1*", SearchOption.AllDirectories), f => f.Contains("/stores/", StringComparison.Ordinal));
        Assert.Equal("Unprotected", (string)(await sites.MachineAsync("flat1"))["state"]!);
        // The old disk is nobody's base any more, and the machine may be protected anew from it.
        using var again = await sites.ProtectAsync("flat1", source);
        Assert.True(again.IsSuccessStatusCode, await again.Content.ReadAsStringAsync(sites.Stop));
        await sites.UntilStateAsync("flat1", "Protected");
    }

    private async Task<string> UriAsync()
    {
        string? uri = null;
        await sites.UntilAsync(async () => (uri = (string?)(await sites.GetAsync("/api/v1/machines/flat1/exports"))["items"]!.AsArray().FirstOrDefault()?["uri"]) is not null);
        return uri!;
    }

    private async Task WriteAsync(byte[] model, int block, int blocks, byte value)
    {
        await using var disk = await NbdAddress.Parse(await UriAsync()).OpenAsync(sites.Stop);
        model.AsSpan(block * Block, blocks * Block).Fill(value);
        await disk.WriteAsync((long)block * Block, model.AsMemory(block * Block, blocks * Block), true, sites.Stop);
    }
}
