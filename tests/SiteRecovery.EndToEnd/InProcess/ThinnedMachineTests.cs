using System.Net.Http.Json;
using System.Text.Json.Nodes;

namespace SiteRecovery.EndToEnd.InProcess;

/// <summary>Tiers on running nodes: beyond the window one point of each slot is left, and who asks for another is told the nearest.</summary>
[Collection(OnTwoSites.Name)]
public sealed class ThinnedMachineTests(TwoSites sites)
{
    [Fact]
    public async Task A_point_that_was_thinned_away_is_answered_with_those_that_are_left()
    {
        var body = new { recoveryPoints = new { crashConsistentEvery = "1s" }, retention = new { window = "15s", tiers = new[] { new { every = "20s", keepFor = "1h" } } } };
        using (var policy = await sites.Http.PutAsJsonAsync("/api/v1/policies/thin", body, sites.Stop)) Assert.True(policy.IsSuccessStatusCode, await policy.Content.ReadAsStringAsync(sites.Stop));
        using (var accepted = await sites.ProtectAsync("thin1", sites.NewDisk("thin1.raw"), policy: "thin")) Assert.True(accepted.IsSuccessStatusCode, await accepted.Content.ReadAsStringAsync(sites.Stop));
        await sites.UntilStateAsync("thin1", "Protected");
        var (seen, block, gone) = (new HashSet<string>(), new byte[4096], "");
        JsonArray points = [];
        await sites.UntilAsync(async () =>
        {
            // A machine that writes: each write is a point of its own.
            Random.Shared.NextBytes(block);
            await sites.WriteAsync("thin1", seen.Count % 200 * 4096, block);
            points = await sites.PointsAsync("thin1");
            var ids = points.Select(p => (string)p!["id"]!).ToHashSet();
            // Not cut off at the end: an older one is left.
            var oldest = ids.Count > 0 ? ids.Min(SequenceOf) : long.MaxValue;
            gone = seen.FirstOrDefault(id => !ids.Contains(id) && SequenceOf(id) > oldest) ?? "";
            seen.UnionWith(ids);
            return gone.Length > 0;
        }, TimeSpan.FromMinutes(3));
        using var asked = await sites.Http.PostAsJsonAsync("/api/v1/machines/thin1/test-failover?dryRun=true", new { point = gone }, sites.Stop);
        var problem = await TwoSites.ProblemAsync(asked, 404, "thinnedPoint");
        Assert.Contains(points, p => ((string)problem["remedy"]!).Contains((string)p!["id"]!, StringComparison.Ordinal));
    }

    private static long SequenceOf(string id) => long.Parse(id.Split("-s")[1], System.Globalization.CultureInfo.InvariantCulture);
}
