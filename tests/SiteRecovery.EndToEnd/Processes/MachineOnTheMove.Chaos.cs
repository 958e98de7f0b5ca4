using System.Globalization;
using System.Text.Json.Nodes;
using SiteRecovery.Node.Demo;

namespace SiteRecovery.EndToEnd.Processes;

/// <content>What is done while anything may happen at any time.</content>
internal sealed partial class MachineOnTheMove
{
    /// <summary>How long rot may be read before it is found and mended: two rounds of the scrub, and the way of the ranges from the source.</summary>
    private static readonly TimeSpan MendedWithin = TimeSpan.FromMinutes(3);

    /// <summary>Faults come at any time: what is refused now is tried again.</summary>
    internal bool UnderChaos { get; init; }

    /// <summary>Where the machine is replicated to.</summary>
    public async Task<string> TargetSiteAsync()
    {
        string? site = null;
        await UntilAsync("its target site", async () => (site = (string?)(await LookAsync())?["targetSite"]) is not null);
        return site!;
    }

    public Task WellAsync() => UntilAsync("the machine to be well", async () => await LookAsync() is { } seen && new MachineSeen(seen).IsWell);

    /// <summary>A test failover of the newest point while the machine writes on: a prefix of all that was acknowledged, and gone without a trace.</summary>
    public async Task TestAsync()
    {
        for (var attempt = 1; ; attempt++)
        {
            var point = await LatestAsync("test-failover");
            var job = await ActAsync("test-failover", new { point = point.Id, acknowledge = Acknowledge });
            if ((string?)job["status"] is not ("succeeded" or "succeededWithWarnings"))
            {
                // A point may be given up by the retention before the test has begun.
                Assert.True(attempt < PlannedAttempts, $"{name}: a test failover does not succeed: {job.ToJsonString()}");
                await CleanUpAsync();
                continue;
            }
            string? uri = null;
            await UntilAsync("the test's disk", async () => (uri = (string?)(await TryAsync(() => sites.Admin.GetAsync($"/api/v1/machines/{name}/exports", stop)))?["items"]!.AsArray()
                .FirstOrDefault(e => e!["test"] is not null)?["uri"]) is not null);
            IReadOnlyList<LedgerEntry> written = [];
            // Read after the disk was served, so that it knows all that the point may hold.
            var verdict = await JudgeAsync(uri!, () => WithTheNext(written = Ledger.Read(LedgerPath)));
            Assert.True(verdict.Holds, $"{name}, in a test failover of {point.Id}: {verdict}");
            KeepsWhatWasPromised(verdict, written, point.At);
            await CleanUpAsync();
            return;
        }
    }

    private async Task CleanUpAsync()
    {
        if ((await LookAsync())?["tests"]?.AsArray() is { Count: 0 }) return;
        await ActAsync("test-failover-cleanup", new { acknowledge = Acknowledge });
        await UntilAsync("the test to be gone", async () => (await LookAsync())?["tests"]?.AsArray() is { Count: 0 });
    }

    /// <summary>All of the newest point is read and compared with what it was when it was new.</summary>
    /// <returns>What is damaged of it; null: nothing.</returns>
    public async Task<string?> VerifyAsync()
    {
        JsonNode? seen = null;
        string? id = null;
        await UntilAsync("the newest point to be verified", async () =>
        {
            if (id is null || seen is null)
            {
                // The newest one that was marked: what the machine shows is the newest position.
                id = (string?)(await AskAsync(() => sites.Admin.GetAsync($"/api/v1/machines/{name}/recovery-points?limit=1", stop)))?["items"]!.AsArray().FirstOrDefault()?["id"];
                seen = id is null ? null : await AskAsync(() => sites.Admin.PostAsync($"/api/v1/machines/{name}/recovery-points/{Uri.EscapeDataString(id)}/verify", new { }, stop));
                if (seen is null) id = null;
                return false;
            }
            var all = await AskAsync(() => sites.Admin.GetAsync($"/api/v1/machines/{name}/recovery-points?limit=500", stop));
            if (all is null) return false;
            // It may have aged out of the retention, or the verification died with its node, or found no room for its note.
            var found = all["items"]!.AsArray().FirstOrDefault(p => (string?)p!["id"] == id);
            if ((string?)found?["verification"] is null or "unverified") id = null;
            seen = found;
            return (string?)found?["verification"] is "verified" or "damaged";
        }, () => $"{id}: {seen}");
        return (string?)seen!["damage"];
    }

    /// <summary>The newest point is whole, or becomes so before long: the source is asked for what cannot be read.</summary>
    /// <param name="rotten">A file of the store was damaged on purpose just now; null: none was.</param>
    public async Task PointsKeepAsync(string? rotten)
    {
        var begun = TimeProvider.System.GetTimestamp();
        while (await VerifyAsync() is { } damage)
        {
            Assert.True(rotten is not null, $"{name}: the newest point is damaged, and nobody did it: {damage}");
            Assert.True(TimeProvider.System.GetElapsedTime(begun) < MendedWithin, $"{name}: not mended in {MendedWithin}: {damage}\n{await LookAsync()}");
            await Task.Delay(TimeSpan.FromSeconds(2), stop);
        }
        if (rotten is not null) output.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{name}: whole {TimeProvider.System.GetElapsedTime(begun).TotalSeconds:F0} s after {rotten} was damaged"));
    }

    private static async Task<JsonNode?> AskAsync(Func<Task<JsonNode>> ask)
    {
        try
        {
            return await TryAsync(ask);
        }
        catch (InvalidOperationException refused) when (IsRefusal(refused))
        {
            return null;
        }
    }
}
