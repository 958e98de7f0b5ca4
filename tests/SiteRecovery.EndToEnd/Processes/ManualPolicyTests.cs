namespace SiteRecovery.EndToEnd.Processes;

/// <summary>Under a policy that leaves resynchronization to an operator nothing is compared until somebody asks for it, and everything else goes on.</summary>
[Trait("Category", "Slow"), Collection("Sites")]
public sealed class ManualPolicyTests : IDisposable
{
    private const int WritesPerSecond = 200, WritesMeanwhile = 600;
    private readonly CancellationTokenSource _limit = new(TimeSpan.FromMinutes(4));

    [Fact]
    public async Task A_machine_whose_agent_was_killed_waits_for_its_operator()
    {
        await using var sites = new SitesUnderTest("", _limit.Token, new NodeUnderTest("secondary-node", SitesUnderTest.Secondary, "configuration-server, master-target"),
            new NodeUnderTest("process-server", SitesUnderTest.Primary, "process-server", OverLink: false)) { Policy = new { resynchronization = new { window = "manual" } } };
        await sites.StartAsync(WritesPerSecond);
        var before = (await sites.LookAsync())!.Newest;
        await sites.UntilAsync("some writes", async () => (await sites.LookAsync())?.Durable > before);

        sites.Kill(SitesUnderTest.Agent);
        sites.Start(SitesUnderTest.Agent);
        MachineSeen? seen = null;
        await sites.UntilAsync("the machine to say what it waits for", async () => (seen = await sites.LookAsync()) is { State: "ResynchronizationRequired" } && seen.Reasons.Contains("resynchronizationRequired"),
            () => seen?.ToString() ?? "no answer");

        // The guest writes on, what was there can be failed over to, and nobody compares anything.
        var (written, sent) = (sites.LedgerNow.Count, sites.BytesOverLink);
        await sites.UntilAsync("the guest to write on", () => Task.FromResult(sites.LedgerNow.Count > written + WritesMeanwhile));
        Assert.True(await sites.LookAsync() is { State: "ResynchronizationRequired", Mode: "Paused" } waiting, $"{await sites.LookAsync()}");
        Assert.InRange(sites.BytesOverLink - sent, 0, 1 << 20);
        Assert.NotEmpty(await sites.ItemsAsync($"machines/{SitesUnderTest.Machine}/recovery-points"));

        await sites.Admin.PostAsync($"/api/v1/machines/{SitesUnderTest.Machine}/resynchronize", new { }, _limit.Token);
        await sites.RecoveredAsync();
        await sites.ProveEqualAsync();
        Assert.Empty(await sites.UnfinishedJobsAsync());
    }

    public void Dispose() => _limit.Dispose();
}
