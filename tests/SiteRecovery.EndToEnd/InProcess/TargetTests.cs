using System.Net.Http.Json;

namespace SiteRecovery.EndToEnd.InProcess;

/// <summary>A store is ordered only of a master target that is there, at the site where it belongs, and by its name.</summary>
[Collection(OnTwoSites.Name)]
public sealed class TargetTests(TwoSites sites)
{
    [Fact]
    public async Task A_target_that_nobody_is_or_of_the_other_site_is_refused_with_what_there_is()
    {
        var (primary, secondary) = (await NodeOfAsync("primary"), await NodeOfAsync("secondary"));
        foreach (var wrong in new[] { "nobody", primary })
        {
            var problem = await TwoSites.ProblemAsync(await ProtectAsync(wrong), 422, "unknownTarget");
            Assert.Contains(secondary, (string)problem["remedy"]!, StringComparison.Ordinal);
        }
        await TwoSites.ProblemAsync(await sites.Http.GetAsync("/api/v1/machines/aim1", sites.Stop), 404, "notFound");
        using (var accepted = await ProtectAsync(secondary)) accepted.EnsureSuccessStatusCode();
        await sites.UntilAsync(async () => await sites.MachineAsync("aim1") is var m && (string)m["state"]! == "Protected" && m["newestPoint"] is not null);
        Assert.Equal(secondary, (string)(await sites.MachineAsync("aim1"))["targetNode"]!);
        // A repeat is refused by the state, not asked for its target.
        await TwoSites.ProblemAsync(await ProtectAsync("nobody"), 409, "notAllowedInState");

        await sites.ActAsync("aim1", "unplanned-failover", new { acknowledge = new[] { "sourceReachable", "sourceUnreachable" } });
        await sites.ActAsync("aim1", "commit");
        foreach (var wrong in new[] { "nobody", secondary })
        {
            var problem = await TwoSites.ProblemAsync(await sites.Http.PostAsJsonAsync("/api/v1/machines/aim1/reverse-replicate", new { target = wrong }, sites.Stop), 422, "unknownTarget");
            Assert.Contains(primary, (string)problem["remedy"]!, StringComparison.Ordinal);
        }
        Assert.Equal("FailedOver", (string)(await sites.MachineAsync("aim1"))["state"]!);
        await sites.ActAsync("aim1", "reverse-replicate");
        Assert.Equal(primary, (string)(await sites.MachineAsync("aim1"))["targetNode"]!);
    }

    private async Task<string> NodeOfAsync(string site) => (string)(await sites.GetAsync("/api/v1/nodes"))["items"]!.AsArray().Single(n => (string)n!["site"]! == site)!["name"]!;

    private Task<HttpResponseMessage> ProtectAsync(string target) => sites.Http.PostAsJsonAsync("/api/v1/machines",
        new { name = "aim1", vault = "main", target, source = new { agent = "host1", disks = new[] { new { id = "vda", path = sites.At("aim1.raw") is var path && File.Exists(path) ? path : sites.NewDisk("aim1.raw") } } } }, sites.Stop);
}
