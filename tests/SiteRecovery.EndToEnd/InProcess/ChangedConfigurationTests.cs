using System.Net.Http.Json;
using SiteRecovery.Node.Demo;

namespace SiteRecovery.EndToEnd.InProcess;

/// <summary>What operators change of policies and vaults takes effect on the machines that are there.</summary>
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

    private async Task PutAsync(string path, object body)
    {
        using var put = await sites.Http.PutAsJsonAsync($"/api/v1/{path}", body, sites.Stop);
        Assert.True(put.IsSuccessStatusCode, await put.Content.ReadAsStringAsync(sites.Stop));
    }
}
