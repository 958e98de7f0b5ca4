using System.Globalization;
using SiteRecovery.Node.Demo;
using Xunit.Abstractions;

namespace SiteRecovery.EndToEnd.Processes;

/// <summary>The retention disk is full: it is said, no write waits, and with room again replication goes on by itself.</summary>
[Trait("Category", "Slow"), Collection("Sites")]
public sealed class FullStoreTests(ITestOutputHelper output) : IDisposable
{
    private const int WritesPerSecond = 400;
    private const double WaitMax = 5000;
    private static readonly TimeSpan Full = TimeSpan.FromSeconds(12);
    private readonly CancellationTokenSource _limit = new(TimeSpan.FromMinutes(5));

    [Fact]
    public async Task A_full_retention_disk_is_a_reason_and_no_write_waits_for_it()
    {
        await using var sites = new SitesUnderTest("siterecovery.cluster { stable-after = 10s }", _limit.Token,
            new NodeUnderTest(SitesUnderTest.Secondary, SitesUnderTest.Secondary, "configuration-server, master-target", Launcher: SmallDisk.Launcher),
            new NodeUnderTest(SitesUnderTest.Primary, SitesUnderTest.Primary, "process-server")) { DiskBytes = 128L << 20 };
        await using var disk = await SmallDisk.UnderAsync(sites.At(SitesUnderTest.Secondary + "/master-target"), 500);
        await sites.StartAsync(WritesPerSecond);
        var secondary = sites.ProcessIdOf(SitesUnderTest.Secondary);
        var (written, sent) = (sites.LedgerNow.Count, sites.BytesOverLink);

        await disk.FillAsync(secondary);
        MachineSeen? seen = null;
        await sites.UntilAsync("the full disk to be a reason", async () => (seen = await sites.LookAsync())?.Reasons.Contains("storeFailed") == true, () => $"{seen}");
        // The store is opened anew every few seconds meanwhile, and nothing is better for it.
        for (var since = TimeProvider.System.GetTimestamp(); TimeProvider.System.GetElapsedTime(since) < Full; await Task.Delay(100, _limit.Token))
            if (await sites.LookAsync() is { } look) Assert.Contains("storeFailed", (seen = look).Reasons);
        Assert.Equal(("Protected", "critical"), (seen!.State, seen.Health));
        var during = LedgerWaits.Longest(sites.LedgerNow, written);
        var held = await sites.JudgeAsync();
        Assert.True(held.Holds, held.ToString());

        await disk.MakeRoomAsync(secondary);
        var begun = TimeProvider.System.GetTimestamp();
        await sites.RecoveredAsync();
        var well = TimeProvider.System.GetElapsedTime(begun);
        var (guest, link) = ((sites.LedgerNow.Count - written) * (long)BlockPattern.BlockBytes, sites.BytesOverLink - sent);
        output.WriteLine(string.Create(CultureInfo.InvariantCulture,
            $"longest wait {during:F0} ms; well again {well.TotalSeconds:F1} s after there was room; guest wrote {guest >> 20} MiB, {link >> 20} MiB over the link"));
        Assert.True(during < WaitMax, $"a write waited {during} ms");
        // What finds no room is not sent again and again.
        Assert.True(link < guest + sites.DiskBytes / 2, $"{link >> 20} MiB were sent for {guest >> 20} MiB written");
        await sites.ProveEqualAsync();
    }

    public void Dispose() => _limit.Dispose();
}
