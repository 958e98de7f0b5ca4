using System.Net.Http.Json;

namespace SiteRecovery.EndToEnd.InProcess;

/// <summary>A machine under a policy that encrypts: replicated, tested, failed over, exported; and nothing of it in its store.</summary>
[Collection(OnTwoSites.Name)]
public sealed class EncryptedMachineTests(TwoSites sites) : IDisposable
{
    private const int DiskBytes = 12 << 20, Block = 64 << 10;
    private static readonly byte[] Secret = "the sum of all invoices is 4711 "u8.ToArray();
    private readonly string _config = Directory.CreateTempSubdirectory("sr-enc").FullName;

    public void Dispose() => Directory.Delete(_config, recursive: true);

    [Fact]
    public async Task What_a_policy_encrypts_lies_nowhere_in_the_clear_and_fails_over_as_any_other()
    {
        using (var policy = await sites.Http.PutAsJsonAsync("/api/v1/policies/sealed", new { retention = new { encrypted = true }, compression = "none" }, sites.Stop)) Assert.True(policy.IsSuccessStatusCode, await policy.Content.ReadAsStringAsync(sites.Stop));
        Assert.True((bool)(await sites.GetAsync("/api/v1/policies/sealed"))["retention"]!["encrypted"]!);
        var disk = new byte[DiskBytes];
        Text(disk, 0, 4 * Block);
        await File.WriteAllBytesAsync(sites.At("enc1.raw"), disk);
        using (var accepted = await sites.ProtectAsync("enc1", sites.At("enc1.raw"), policy: "sealed")) Assert.True(accepted.IsSuccessStatusCode, await accepted.Content.ReadAsStringAsync(sites.Stop));
        await sites.UntilStateAsync("enc1", "Protected");
        // Six points with text between them, then much that looks encrypted.
        for (var i = 0; i < 6; i++)
        {
            Text(disk, (8 + i) * Block, Block);
            await sites.WriteAsync("enc1", (8 + i) * Block, disk.AsMemory((8 + i) * Block, Block));
            await sites.PointAsync("enc1");
        }
        var before = await sites.PointAsync("enc1");
        new Random(1).NextBytes(disk.AsSpan(0, 6 << 20));
        await sites.WriteAsync("enc1", 0, disk.AsMemory(0, 6 << 20));
        var after = await sites.PointAsync("enc1");
        var points = await sites.PointsAsync("enc1");
        Assert.True((bool)points.First(p => (string)p!["id"]! == after)!["signals"]!["jump"]!, points.ToJsonString());
        Assert.InRange((double)points.First(p => (string)p!["id"]! == after)!["signals"]!["entropy"]!, 7, 8);
        Assert.DoesNotContain(points.TakeLast(points.Count - points.ToList().FindIndex(p => (string)p!["id"]! == before)), p => p!["signals"] is { } s && (bool)s["jump"]!);

        var store = Directory.GetDirectories(sites.At("secondary"), "enc1", SearchOption.AllDirectories).Single(d => File.Exists(Path.Combine(d, "MANIFEST.json")));
        Assert.DoesNotContain(Directory.GetFiles(store, "*", SearchOption.AllDirectories), f => ReadAll(f).AsSpan().IndexOf(Secret) >= 0);

        await sites.ActAsync("enc1", "test-failover", new { point = after });
        Assert.Equal(disk, await sites.ReplicaAsync("enc1", DiskBytes));
        await sites.ActAsync("enc1", "test-failover-cleanup");

        var srctl = new Srctl(_config, sites.Stop);
        var refused = await srctl.RunAsync("store", "export", store, "--to", Path.Combine(_config, "none.raw"));
        Assert.NotEqual(0, refused.ExitCode);
        Assert.Contains("--key-file", refused.People, StringComparison.Ordinal);
        await srctl.DoneAsync("store", "export", store, "--point", after, "--to", Path.Combine(_config, "out.raw"), "--key-file", sites.At("store.key"));
        Assert.Equal(disk, await File.ReadAllBytesAsync(Path.Combine(_config, "out.raw")));
        await srctl.DoneAsync("store", "verify", store, "--key-file", sites.At("store.key"));

        // A failover back to before the jump, from a node that has fetched the key anew.
        await sites.RestartSecondaryAsync();
        await sites.UntilStateAsync("enc1", "Protected");
        var job = await sites.ActAsync("enc1", "unplanned-failover", new { point = before, acknowledge = new[] { "sourceUnreachable", "sourceReachable", "olderPoint" } });
        Assert.StartsWith("succeeded", (string)job["status"]!, StringComparison.Ordinal);
        Assert.True((await sites.ReplicaAsync("enc1", DiskBytes)).AsSpan(0, Secret.Length).SequenceEqual(Secret));
        await sites.ActAsync("enc1", "cancel-failover", new { acknowledge = new[] { "replicaWritesLost", "sourceUnreachable" } }); // of its agent a node that is new here may not have heard yet
        await sites.UntilStateAsync("enc1", "Protected");

        // Its key goes with it.
        using var gone = await sites.Http.DeleteAsync("/api/v1/machines/enc1?acknowledge=pointsRemoved", sites.Stop);
        gone.EnsureSuccessStatusCode();
        await sites.UntilAsync(() => Task.FromResult(!Directory.Exists(store)));
    }

    private static void Text(byte[] disk, int offset, int length)
    {
        for (var at = 0; at < length; at += Secret.Length) Secret.CopyTo(disk, offset + at);
    }

    private static byte[] ReadAll(string path)
    {
        using var file = File.Open(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete);
        var bytes = new byte[file.Length];
        file.ReadExactly(bytes);
        return bytes;
    }
}
