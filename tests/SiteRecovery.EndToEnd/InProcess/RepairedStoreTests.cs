using System.Net.Http.Json;
using System.Text.Json.Nodes;

namespace SiteRecovery.EndToEnd.InProcess;

/// <summary>What the target's disk has lost of the newest state, the source sends again; what only older points show is said of them.</summary>
[Collection(OnTwoSites.Name)]
public sealed class RepairedStoreTests(TwoSites sites)
{
    private const int DiskBytes = 4 << 20, Block = 4096;

    [Fact]
    public async Task A_bit_that_rots_in_the_log_is_found_and_mended_from_the_source_and_the_points_that_show_it_are_marked()
    {
        using (var policy = await sites.Http.PutAsJsonAsync("/api/v1/policies/short", new { retention = new { window = "5m" } }, sites.Stop)) Assert.True(policy.IsSuccessStatusCode, await policy.Content.ReadAsStringAsync(sites.Stop));
        var disk = new byte[DiskBytes];
        using (var accepted = await sites.ProtectAsync("rot1", sites.NewDisk("rot1.raw", DiskBytes), policy: "short")) Assert.True(accepted.IsSuccessStatusCode, await accepted.Content.ReadAsStringAsync(sites.Stop));
        await sites.UntilStateAsync("rot1", "Protected");
        new Random(5).NextBytes(disk.AsSpan(100 * Block, Block));
        await WriteAsync(disk, 100);
        var shows = await sites.PointAsync("rot1");
        // At a later write, for what is mended is the state of the newest one.
        disk.AsSpan(300 * Block, Block).Fill(3);
        await WriteAsync(disk, 300);
        var log = Path.Combine(Directory.GetDirectories(sites.At("secondary"), "rot1", SearchOption.AllDirectories).Single(), "log");
        // Only a segment that is sealed is scrubbed; one is, when it is old enough and something follows.
        string? segment = null;
        await sites.UntilAsync(() => Task.FromResult((segment = Directory.GetFiles(log, "*.end").Select(f => Path.ChangeExtension(f, ".seg")).FirstOrDefault(f => File.ReadAllBytes(f).AsSpan().IndexOf(disk.AsSpan(100 * Block, Block)) >= 0)) is not null));

        using (var file = File.Open(segment!, FileMode.Open, FileAccess.ReadWrite, FileShare.ReadWrite | FileShare.Delete))
        {
            var at = File.ReadAllBytes(segment!).AsSpan().IndexOf(disk.AsSpan(100 * Block, Block)) + 1234;
            file.Position = at;
            file.WriteByte((byte)(disk[100 * Block + 1234] ^ 1));
        }

        JsonNode? repair = null;
        await sites.UntilAsync(async () => (repair = (await sites.GetAsync("/api/v1/jobs?machine=rot1"))["items"]!.AsArray().FirstOrDefault(j => ((string)j!["id"]!).Contains("auto-repair", StringComparison.Ordinal))) is not null);
        repair = await sites.JobAsync(repair!);
        Assert.Equal("succeeded", (string)repair["status"]!);
        await sites.UntilStateAsync("rot1", "Protected");
        await sites.UntilAsync(async () => (string)(await NotedAsync(shows))["verification"]! == "damaged");
        Assert.Contains("scrub", (string)(await NotedAsync(shows))["damage"]!, StringComparison.Ordinal);

        var mended = await sites.PointAsync("rot1");
        await sites.ActAsync("rot1", "test-failover", new { point = mended });
        Assert.Equal(disk, await sites.ReplicaAsync("rot1", DiskBytes));
        await sites.ActAsync("rot1", "test-failover-cleanup");
    }

    private Task WriteAsync(byte[] disk, int block) => sites.WriteAsync("rot1", (long)block * Block, disk.AsMemory(block * Block, Block));

    private async Task<JsonNode> NotedAsync(string id) => (await sites.PointsAsync("rot1")).First(p => (string)p!["id"]! == id)!;
}
