using System.Globalization;
using System.Text.Json.Nodes;
using SiteRecovery.EndToEnd.Guests;
using SiteRecovery.Node.Demo;
using Xunit.Abstractions;

namespace SiteRecovery.EndToEnd.Processes;

/// <summary>
/// A planned failover that something stands in the way of, at each of its steps: it is rolled back and the source takes writes again, or it is
/// done. Meanwhile there are never two copies that take writes, nothing is lost, and the next attempt succeeds.
/// </summary>
[Trait("Category", "Slow"), Collection("Sites")]
public sealed class BrokenMoveTests(ITestOutputHelper output) : IDisposable
{
    private const int WritesPerSecond = 400;
    private const string Settings = "siterecovery.cluster { stable-after = 30s, heartbeat-pause = 20s }";
    private readonly CancellationTokenSource _limit = new(TimeSpan.FromMinutes(4) * Rounds.Wanted(1));

    [Fact]
    public async Task A_planned_failover_that_cannot_be_done_leaves_the_source_serving()
    {
        await using var sites = new SitesUnderTest(Settings, _limit.Token,
            new(SitesUnderTest.Secondary, SitesUnderTest.Secondary, "configuration-server, process-server, master-target", Launcher: SmallDisk.Launcher),
            new(SitesUnderTest.Primary, SitesUnderTest.Primary, "process-server, master-target")) { DiskBytes = 48L << 20 };
        await using var disk = await SmallDisk.UnderAsync(sites.At(SitesUnderTest.Secondary + "/master-target"), 300);
        await sites.StartAsync(WritesPerSecond);
        var source = (await sites.LookAsync())!.CaptureUri!;

        await RunsOnAsync(sites);
        await FullTargetAsync(sites, disk, source);
        await CutBeforeItHasPromisedAsync(sites, source);
        for (var round = 1; round < Rounds.Wanted(1); round++)
        {
            await CutBeforeItIsDrainedAsync(sites, source);
            await CutAfterItHasPromisedAsync(sites, source);
        }
        await CutAfterTheEpochBeganAsync(sites, source);
    }

    /// <summary>A source that will not stop: its writer writes on.</summary>
    private async Task RunsOnAsync(SitesUnderTest sites)
    {
        var written = sites.LedgerNow.Count;
        var job = await EndAsync(sites, await StartAsync(sites, "5s"));
        Assert.Equal("failed", (string?)job["status"]);
        Assert.Contains("still has its disks open", (string?)job["error"], StringComparison.Ordinal);
        var waited = LedgerWaits.Longest(sites.LedgerNow, written);
        Assert.True(waited < 5000, $"a write waited {waited} ms");
        await sites.RecoveredAsync();
        Say("a source that will not stop", job, $"longest wait {waited:F0} ms");
    }

    private async Task FullTargetAsync(SitesUnderTest sites, SmallDisk disk, string source)
    {
        var secondary = sites.ProcessIdOf(SitesUnderTest.Secondary);
        await disk.FillAsync(secondary);
        await sites.UntilAsync("the full disk to be a reason", async () => (await sites.LookAsync())?.Reasons.Contains("storeFailed") == true);
        sites.Kill(SitesUnderTest.Writer);
        var job = await EndAsync(sites, await StartAsync(sites, "5s"));
        Assert.Equal("failed", (string?)job["status"]);
        await WritesAgainAsync(sites, source);
        Say("a full target disk", job);
        await disk.MakeRoomAsync(secondary);
        await sites.RecoveredAsync();
    }

    /// <summary>Frozen, with its last writes not yet at the target; and nobody can tell it that it was rolled back.</summary>
    private async Task CutBeforeItIsDrainedAsync(SitesUnderTest sites, string source)
    {
        sites.CutLink(toSecondary: true, toPrimary: false, only: "data");
        await WrittenAsync(sites, 50);
        sites.Kill(SitesUnderTest.Writer);
        var job = await StartAsync(sites, "8s");
        await SourceIsAsync(sites, "Frozen");
        sites.CutLink();
        await BackWithoutAWordAsync(sites, source, job, "cut before it is drained");
    }

    /// <summary>Drained, and compared by the target; what would make it stay is lost on the way.</summary>
    private async Task CutBeforeItHasPromisedAsync(SitesUnderTest sites, string source)
    {
        var job = await StartAsync(sites, "12s");
        await SourceIsAsync(sites, "Frozen");
        sites.CutLink(toSecondary: false, toPrimary: true);
        await BackWithoutAWordAsync(sites, source, job, "cut before it has promised to stay");
    }

    /// <summary>
    /// It has promised, and the other side does not hear of it: there it is rolled back. The source cannot know that nobody opened the next epoch,
    /// and stays as it is until it is told.
    /// </summary>
    private async Task CutAfterItHasPromisedAsync(SitesUnderTest sites, string source)
    {
        sites.Kill(SitesUnderTest.Writer);
        var posted = await StartAsync(sites, "8s");
        await SourceIsAsync(sites, "Held");
        sites.CutLink();
        var job = await EndAsync(sites, posted);
        Say("cut when it has promised to stay", job);
        Assert.Equal("failed", (string?)job["status"]);
        Assert.False(await TakesWritesAsync(sites, source));
        sites.HealLink();
        await WritesAgainAsync(sites, source);
        await WriteOnAsync(sites);
    }

    /// <summary>What remains is the target's own: it is done there, whatever the source hears.</summary>
    private async Task CutAfterTheEpochBeganAsync(SitesUnderTest sites, string source)
    {
        sites.Kill(SitesUnderTest.Writer);
        var posted = await StartAsync(sites, "60s");
        await sites.UntilAsync("the promise to be known", async () => Step(await sites.Admin.GetAsync(PathOf(posted), _limit.Token), "hold-source") == "succeeded");
        sites.CutLink();
        MachineSeen? seen = null;
        await sites.UntilAsync("the replica to run", async () => (seen = await sites.LookAsync())?.State == "FailoverCommitPending", () => $"{seen}");
        var exports = await sites.Admin.GetAsync($"/api/v1/machines/{SitesUnderTest.Machine}/exports", _limit.Token);
        var replica = (string)exports["items"]![0]!["uri"]!;
        await using var probe = new CopyProbe(source, replica, sites.DiskBytes, _limit.Token);
        Assert.True(await TakesWritesAsync(sites, replica));
        // In a long run longer than a drained source waits that has not promised.
        var until = TimeProvider.System.GetUtcNow() + TimeSpan.FromSeconds(Rounds.Wanted(1) > 1 ? 25 : 4);
        while (TimeProvider.System.GetUtcNow() < until) Assert.False(await TakesWritesAsync(sites, source));
        sites.HealLink();
        await sites.UntilAsync("the fence", async () => (seen = await sites.LookAsync())?.SourceFenced == true, () => $"{seen}");
        Say("cut after the epoch began", await EndAsync(sites, posted));
        await using var moved = await NbdAddress.Parse(replica).OpenAsync(_limit.Token);
        var verdict = await PrefixVerdict.JudgeAsync(sites.LedgerNow, SitesUnderTest.Seed, sites.DiskBytes, (at, into) => moved.ReadAsync(at, into, _limit.Token), SitesUnderTest.WorkingSetBytes);
        Assert.True(verdict is { Holds: true, LostWrites: 0 }, verdict.ToString());
        Assert.False(probe.BothWrote, "both copies took writes");
    }

    /// <summary>The domain rolls back by its patience, the source by its own; both without a word of the other.</summary>
    private async Task BackWithoutAWordAsync(SitesUnderTest sites, string source, JsonNode posted, string what)
    {
        var begun = TimeProvider.System.GetTimestamp();
        await WritesAgainAsync(sites, source);
        var took = TimeProvider.System.GetElapsedTime(begun);
        var job = await EndAsync(sites, posted);
        Assert.Equal("failed", (string?)job["status"]);
        Assert.Equal("Protected", (await sites.LookAsync())?.State);
        Say(what, job, string.Create(CultureInfo.InvariantCulture, $"the source wrote again after {took.TotalSeconds:F1} s"));
        sites.HealLink();
        await WriteOnAsync(sites);
    }

    private async Task<JsonNode> StartAsync(SitesUnderTest sites, string patience) => await sites.Admin.PostAsync(
        $"/api/v1/machines/{SitesUnderTest.Machine}/planned-failover", new { patience, acknowledge = new[] { "machineStops" } }, _limit.Token);

    private async Task<JsonNode> EndAsync(SitesUnderTest sites, JsonNode job)
    {
        await sites.UntilAsync("the job to end", async () =>
            (job = await sites.Admin.GetAsync(PathOf(job), _limit.Token))["status"]!.GetValue<string>() is "succeeded" or "succeededWithWarnings" or "failed" or "cancelled", () => job.ToJsonString());
        return job;
    }

    private async Task WritesAgainAsync(SitesUnderTest sites, string source) => await sites.UntilAsync("the source to take writes again", () => TakesWritesAsync(sites, source));

    /// <summary>All that was acknowledged is there, and more is written.</summary>
    private async Task WriteOnAsync(SitesUnderTest sites)
    {
        await sites.RecoveredAsync();
        await sites.ProveEqualAsync();
        sites.StartWriter(WritesPerSecond);
        await WrittenAsync(sites, 50);
        await sites.RecoveredAsync();
    }

    private static async Task WrittenAsync(SitesUnderTest sites, int more)
    {
        var before = sites.LedgerNow.Count;
        await sites.UntilAsync("more to be written", () => Task.FromResult(sites.LedgerNow.Count > before + more));
    }

    /// <summary>Seen as soon as it is so, for what follows happens within half a second.</summary>
    private async Task SourceIsAsync(SitesUnderTest sites, string what)
    {
        using var timer = new PeriodicTimer(TimeSpan.FromMilliseconds(5));
        while ((bool?)State(sites)?[what] != true) await timer.WaitForNextTickAsync(_limit.Token);
    }

    private Task<bool> TakesWritesAsync(SitesUnderTest sites, string uri) => CopyProbe.TakesWritesAsync(uri, sites.DiskBytes, _limit.Token);

    private static JsonObject? State(SitesUnderTest sites) =>
        JsonNode.Parse(File.ReadAllText(Path.Combine(sites.At("agent-data"), "machines", SitesUnderTest.Machine, "capture.json")))?.AsObject();

    private static string PathOf(JsonNode job) => $"/api/v1/jobs/{(string)job["id"]!}";

    private static string? Step(JsonNode job, string name) => (string?)job["steps"]!.AsArray().Single(s => (string?)s!["name"] == name)!["status"];

    private void Say(string what, JsonNode job, string more = "") => output.WriteLine($"{what}: {(string?)job["status"]}; {more} {(string?)job["error"]}");

    public void Dispose() => _limit.Dispose();
}
