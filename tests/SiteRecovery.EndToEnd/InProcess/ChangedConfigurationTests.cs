using System.Net;
using System.Net.Http.Json;
using System.Text.Json.Nodes;
using SiteRecovery.Node.Demo;

namespace SiteRecovery.EndToEnd.InProcess;

/// <summary>What operators change of policies and vaults takes effect on the machines that are there, and comes to an end with them.</summary>
[Collection(OnTwoSites.Name)]
public sealed class ChangedConfigurationTests(TwoSites sites)
{
    /// <summary>Every five minutes no point comes while the test waits; every second one does.</summary>
    [Fact]
    public async Task A_changed_policy_is_followed_by_machines_that_are_protected_and_their_guests_notice_nothing()
    {
        await PutAsync("policies/changing", new { rpoThreshold = "10m", recoveryPoints = new { crashConsistentEvery = "5m" } });
        (await sites.ProtectAsync("changing1", sites.NewDisk("changing1.raw"), policy: "changing")).EnsureSuccessStatusCode();
        await sites.UntilStateAsync("changing1", "Protected");
        await using var guest = await NbdAddress.Parse((string)(await sites.MachineAsync("changing1"))["disks"]![0]!["captureUri"]!).OpenAsync(sites.Stop);
        await guest.WriteAsync(0, new byte[4096], true, sites.Stop);
        var before = (await sites.PointsAsync("changing1")).Count;

        await PutAsync("policies/changing", new { rpoThreshold = "10m", recoveryPoints = new { crashConsistentEvery = "1s" } });
        await sites.UntilAsync(async () => (await sites.PointsAsync("changing1")).Count > before + 2, TimeSpan.FromSeconds(20));
        await guest.WriteAsync(4096, new byte[4096], true, sites.Stop); // over the same connection
    }

    [Fact]
    public async Task What_a_policy_would_promise_in_vain_is_refused()
    {
        foreach (var body in new object[] { new { recoveryPoints = new { applicationConsistentEvery = "1h" } }, new { rpoThreshold = "10m", copyFrequency = "5m" } })
            await TwoSites.ProblemAsync(await sites.Http.PutAsJsonAsync("/api/v1/policies/vain", body, sites.Stop), 501, "notYetSupported");
        await PutAsync("policies/vain", new { copyFrequency = "continuous" });
    }

    [Fact]
    public async Task A_vault_can_be_removed_once_its_machines_are_protected_no_more_and_their_names_are_free()
    {
        await PutAsync("vaults/brief", new { sourceSite = "primary", targetSite = "secondary" });
        await PutAsync("vaults/next", new { sourceSite = "primary", targetSite = "secondary" });
        await PutAsync("network-mappings/brief", new { vault = "brief", networks = Array.Empty<object>() });
        (await sites.ProtectAsync("brief1", sites.NewDisk("brief1.raw"), vault: "brief")).EnsureSuccessStatusCode();
        await sites.UntilStateAsync("brief1", "Protected");
        await TwoSites.ProblemAsync(await sites.Http.DeleteAsync("/api/v1/vaults/brief", sites.Stop), 409, "inUse");
        await TwoSites.ProblemAsync(await sites.Http.PutAsJsonAsync("/api/v1/vaults/brief", new { sourceSite = "secondary", targetSite = "primary" }, sites.Stop), 409, "inUse");

        await DisableAsync("brief1");
        (await sites.ProtectAsync("brief1", sites.At("brief1.raw"), vault: "next")).EnsureSuccessStatusCode();
        await sites.UntilStateAsync("brief1", "Protected");
        // The other vault has none left.
        Assert.Equal(HttpStatusCode.NoContent, (await sites.Http.DeleteAsync("/api/v1/network-mappings/brief", sites.Stop)).StatusCode);
        Assert.Equal(HttpStatusCode.NoContent, (await sites.Http.DeleteAsync("/api/v1/vaults/brief", sites.Stop)).StatusCode);

        await DisableAsync("brief1");
        await PutAsync("vaults/next", new { sourceSite = "secondary", targetSite = "primary" });
        Assert.Equal(HttpStatusCode.NoContent, (await sites.Http.DeleteAsync("/api/v1/vaults/next", sites.Stop)).StatusCode);
        Assert.Equal(HttpStatusCode.NotFound, (await sites.Http.GetAsync("/api/v1/machines/brief1", sites.Stop)).StatusCode);
    }

    [Fact]
    public async Task A_refused_protection_binds_no_name()
    {
        await PutAsync("vaults/refusing", new { sourceSite = "primary", targetSite = "secondary" });
        using var refused = await sites.ProtectAsync("refused1", sites.NewDisk("refused1.raw", 1000), vault: "refusing");
        Assert.Equal(HttpStatusCode.BadRequest, refused.StatusCode);
        Assert.Equal(HttpStatusCode.NotFound, (await sites.Http.GetAsync("/api/v1/machines/refused1", sites.Stop)).StatusCode);
    }

    private async Task DisableAsync(string machine)
    {
        using var answer = await sites.Http.DeleteAsync($"/api/v1/machines/{machine}?acknowledge=pointsRemoved", sites.Stop);
        Assert.Equal(HttpStatusCode.Accepted, answer.StatusCode);
        var job = await sites.JobAsync(JsonNode.Parse(await answer.Content.ReadAsStringAsync(sites.Stop))!);
        Assert.Equal("succeeded", (string)job["status"]!);
    }

    private async Task PutAsync(string path, object body)
    {
        using var put = await sites.Http.PutAsJsonAsync($"/api/v1/{path}", body, sites.Stop);
        Assert.True(put.IsSuccessStatusCode, await put.Content.ReadAsStringAsync(sites.Stop));
    }
}
