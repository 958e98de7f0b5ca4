using System.Globalization;
using SiteRecovery.Node.Demo;
using Xunit.Abstractions;

namespace SiteRecovery.EndToEnd.Processes;

/// <summary>The line between the sites dies under load: no write waits for it, and afterwards a delta travels.</summary>
[Trait("Category", "Slow"), Collection("Sites")]
public sealed class CutLinkTests(ITestOutputHelper output) : IDisposable
{
    private const int WritesPerSecond = 400;
    private const string Settings = "siterecovery.cluster { stable-after = 4s, heartbeat-pause = 3s }\n";
    /// <summary>What a busy host alone makes a write wait at times; a write that waits for the line waits for all of the cut.</summary>
    private const double WaitMax = 5000;
    private readonly CancellationTokenSource _limit = new(TimeSpan.FromMinutes(5) + 3 * Cut(0));

    /// <summary>As long as SITERECOVERY_CUT_SECONDS says in a long run.</summary>
    private static TimeSpan Cut(double byDefault) => TimeSpan.FromSeconds(
        Environment.GetEnvironmentVariable("SITERECOVERY_CUT_SECONDS") is { Length: > 0 } text ? double.Parse(text, CultureInfo.InvariantCulture) : byDefault);

    private static NodeUnderTest[] Nodes =>
        [new(SitesUnderTest.Secondary, SitesUnderTest.Secondary, "configuration-server, master-target"), new(SitesUnderTest.Primary, SitesUnderTest.Primary, "process-server")];

    /// <summary>For longer than a connection may be silent.</summary>
    [Fact]
    public async Task The_spool_takes_what_is_written_meanwhile() => await TellAsync("", WritesPerSecond, Cut(22), spoolOverflows: false);

    /// <summary>Then the agent tracks what changes, in its bitmap.</summary>
    [Fact]
    public async Task A_spool_that_is_full_makes_nobody_wait() =>
        await TellAsync("siterecovery.process-server.spool-bytes-max = 64MiB", WritesPerSecond * 15, Cut(12), spoolOverflows: true);

    /// <summary>
    /// Two sides that both live: the secondary fails over alone, also when it dies over it, and the old side is fenced as soon as it can
    /// hear of it.
    /// </summary>
    [Fact]
    public async Task The_secondary_alone_fails_over_and_the_primary_is_fenced_after_the_heal()
    {
        await using var sites = new SitesUnderTest(Settings, _limit.Token, Nodes);
        await sites.StartAsync(WritesPerSecond);
        sites.CutLink();
        await sites.UntilAsync("the primary to be taken out", async () => (await sites.MembersAsync()).Count == 1);
        var action = $"/api/v1/machines/{SitesUnderTest.Machine}/unplanned-failover";
        var dryRun = await sites.Admin.PostAsync(action + "?dryRun=true", new { point = "latest" }, _limit.Token);
        await sites.Admin.PostAsync(action, new
        {
            point = (string)dryRun["point"]!["id"]!, acknowledge = dryRun["warnings"]!.AsArray().Select(w => (string)w!["code"]!),
        }, _limit.Token);
        sites.Kill(SitesUnderTest.Secondary);
        sites.Start(SitesUnderTest.Secondary);
        MachineSeen? seen = null;
        await sites.UntilAsync("the failover", async () => (seen = await sites.LookAsync()) is { State: "FailoverCommitPending" }, () => seen?.ToString() ?? "no answer");
        var exports = await sites.Admin.GetAsync($"/api/v1/machines/{SitesUnderTest.Machine}/exports", _limit.Token);
        await using var replica = await NbdAddress.Parse((string)exports["items"]![0]!["uri"]!).OpenAsync(_limit.Token);
        var block = new byte[BlockPattern.BlockBytes];
        BlockPattern.Fill(block, SitesUnderTest.Seed, 0, sites.DiskBytes - block.Length);
        await replica.WriteAsync(sites.DiskBytes - block.Length, block, forceUnitAccess: true, _limit.Token);
        var behind = sites.LedgerNow.Count;

        sites.HealLink();
        // The old side's guest went on all the time; now its write is refused, and it ends.
        await sites.EndAsync(SitesUnderTest.Writer);
        var ledger = sites.LedgerNow;
        Assert.InRange(ledger.Count, behind, int.MaxValue);
        var verdict = await PrefixVerdict.JudgeAsync(ledger, SitesUnderTest.Seed, replica.SizeBytes, (offset, into) => replica.ReadAsync(offset, into, _limit.Token), SitesUnderTest.WorkingSetBytes);
        output.WriteLine(verdict.ToString());
        Assert.True(verdict is { Holds: true, LostWrites: > 0 }, verdict.ToString());
        await sites.UntilAsync("the fence to be confirmed", async () => (await sites.LookAsync())?.SourceFenced == true);
        await sites.Admin.FinishAsync(await sites.Admin.PostAsync($"/api/v1/machines/{SitesUnderTest.Machine}/commit", new { }, _limit.Token), _limit.Token);
        await sites.UntilAsync("every job to end, flattening too", async () => !(await sites.UnfinishedJobsAsync()).Any());
    }

    /// <summary>
    /// With the line cut for longer than the split-brain resolver waits, the secondary goes on with its configuration server, and the primary's
    /// actor system is taken down and begins anew, which its agent, spool and streams do not notice.
    /// </summary>
    private async Task TellAsync(string settings, int writesPerSecond, TimeSpan atLeast, bool spoolOverflows)
    {
        await using var sites = new SitesUnderTest(Settings + settings, _limit.Token, Nodes);
        await sites.StartAsync(writesPerSecond);
        var (calm, begun) = (sites.LedgerNow.Count, TimeProvider.System.GetTimestamp());
        await Task.Delay(TimeSpan.FromSeconds(5), _limit.Token);
        var (written, sent) = (sites.LedgerNow.Count, sites.BytesOverLink);
        var before = LedgerWaits.Longest(sites.LedgerNow, calm);

        sites.CutLink();
        begun = TimeProvider.System.GetTimestamp();
        await sites.UntilAsync("the primary to be taken out", async () => (await sites.MembersAsync()).Count == 1);
        // The secondary alone: it answers, and could fail over.
        var alone = await sites.Admin.PostAsync($"/api/v1/machines/{SitesUnderTest.Machine}/unplanned-failover?dryRun=true", new { point = "latest" }, _limit.Token);
        Assert.NotNull(alone["point"]?["id"]);
        var left = atLeast - TimeProvider.System.GetElapsedTime(begun);
        if (left > TimeSpan.Zero) await Task.Delay(left, _limit.Token);
        var cut = TimeProvider.System.GetElapsedTime(begun);
        var ledger = sites.LedgerNow;
        var (healed, during) = (ledger.Count, LedgerWaits.Longest(ledger, written));
        var rate = (ledger.Count - written) / cut.TotalSeconds;

        if (spoolOverflows) sites.Kill(SitesUnderTest.Writer);
        sites.HealLink();
        begun = TimeProvider.System.GetTimestamp();
        await sites.RecoveredAsync();
        var well = TimeProvider.System.GetElapsedTime(begun);
        ledger = sites.LedgerNow;
        var (guest, link) = ((ledger.Count - written) * (long)BlockPattern.BlockBytes, sites.BytesOverLink - sent);
        output.WriteLine(string.Create(CultureInfo.InvariantCulture,
            $"cut {cut.TotalSeconds:F0} s; longest wait before {before:F0} ms, during {during:F0} ms, after {LedgerWaits.Longest(ledger, healed):F0} ms; {rate:F0} writes/s during; well again {well.TotalSeconds:F1} s after; guest wrote {guest >> 20} MiB, {link >> 20} MiB over the link"));
        Assert.True(during < Math.Max(WaitMax, 2 * before), $"a write waited {during} ms while the link was cut, and {before} ms before");
        Assert.Equal(2, (await sites.MembersAsync()).Count);
        // What waited in spool, buffer and window when they were full, and then the changed part of the disk.
        var most = spoolOverflows ? Math.Min(guest, 3 * (64L << 20)) + SitesUnderTest.WorkingSetBytes : guest;
        Assert.True(link < most + sites.DiskBytes / 8, $"{link >> 20} MiB were sent for {guest >> 20} MiB written: that is no delta");
        await sites.ProveEqualAsync();
    }

    public void Dispose() => _limit.Dispose();
}
