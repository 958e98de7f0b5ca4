using System.Globalization;
using SiteRecovery.EndToEnd.Guests;
using SiteRecovery.Node.Demo;
using Xunit.Abstractions;

namespace SiteRecovery.EndToEnd.Processes;

/// <summary>Each component dies by SIGKILL at a random instant under load and comes back: replication goes on by itself with a delta.</summary>
[Trait("Category", "Slow"), Collection("Sites")]
public sealed class KilledComponentsTests(ITestOutputHelper output) : IDisposable
{
    private const string Configuration = "configuration-server", Target = "master-target", ProcessServer = "process-server";
    private const int WritesPerSecond = 400;
    private const string Settings = "siterecovery.cluster { stable-after = 5s, heartbeat-pause = 4s }";
    private static readonly string[] Components = [SitesUnderTest.Agent, ProcessServer, Target, Configuration];
    private readonly CancellationTokenSource _limit = new(TimeSpan.FromMinutes(2) + TimeSpan.FromMinutes(2) * Rounds.Wanted(1));

    [Fact]
    public async Task Whichever_component_is_killed_replication_goes_on_with_a_delta_and_the_replica_is_equal()
    {
        await using var sites = Sites();
        await sites.StartAsync(WritesPerSecond);
        output.WriteLine("killed                round  down ms  well again ms  guest wrote MiB  over the link MiB  resent MiB  agent resent MiB  longest wait ms");
        var random = new Random(3);
        string[] victims = [.. Components];
        for (var round = 1; round <= Rounds.Wanted(1); round++)
        {
            random.Shuffle(victims);
            foreach (var victim in victims) await KillAsync(sites, victim, round, random);
        }
        await sites.ProveEqualAsync();
        Assert.Empty(await sites.UnfinishedJobsAsync());
    }

    /// <summary>The next one dies before the last one has recovered, at first before the initial replication is complete.</summary>
    [Fact]
    public async Task Whatever_dies_in_quick_succession_the_replica_is_equal_in_the_end()
    {
        await using var sites = Sites();
        await sites.BeginAsync(WritesPerSecond);
        var random = new Random(4);
        output.WriteLine("round  kills  well again ms  guest wrote MiB  over the link MiB");
        for (var round = 1; round <= Rounds.Wanted(1); round++)
        {
            var (written, sent, kills) = (sites.LedgerNow.Count, sites.BytesOverLink, Rounds.Wanted(1) == 1 ? 5 : random.Next(6, 10));
            for (var kill = 0; kill < kills; kill++)
            {
                var victims = random.GetItems(Components, random.Next(1, 3)).Distinct().ToArray();
                await Task.Delay(random.Next(0, 2500), _limit.Token);
                sites.Kill(victims);
                await Task.Delay(random.Next(0, 1000), _limit.Token);
                foreach (var victim in victims) sites.Start(victim);
            }
            var begun = TimeProvider.System.GetTimestamp();
            var acknowledged = sites.LedgerNow.Count;
            await sites.RecoveredAsync();
            var well = TimeProvider.System.GetElapsedTime(begun);
            var guest = (sites.LedgerNow.Count - written) * (long)BlockPattern.BlockBytes;
            output.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{round,5}  {kills,5}  {well.TotalMilliseconds,13:F0}  {MiB(guest),15:F1}  {MiB(sites.BytesOverLink - sent),17:F1}"));
            var verdict = await sites.JudgeAsync();
            Assert.True(verdict.Holds && verdict.PrefixLength >= acknowledged, $"round {round}: {verdict}");
            Assert.Empty(await sites.UnfinishedJobsAsync());
        }
        await sites.ProveEqualAsync();
    }

    private SitesUnderTest Sites() => new(Settings, _limit.Token,
        new NodeUnderTest(Configuration, SitesUnderTest.Secondary, "configuration-server", OverLink: false),
        new NodeUnderTest(Target, SitesUnderTest.Secondary, "master-target"),
        new NodeUnderTest(ProcessServer, SitesUnderTest.Primary, "process-server", OverLink: false));

    private async Task KillAsync(SitesUnderTest sites, string victim, int round, Random random)
    {
        // A job under way must come to its end over the death of whoever keeps it.
        if (victim == Configuration) await sites.Admin.PostAsync($"/api/v1/machines/{SitesUnderTest.Machine}/resynchronize", new { }, _limit.Token);
        await Task.Delay(random.Next(0, 1500), _limit.Token);
        var (written, sent, killed) = (sites.LedgerNow.Count, sites.BytesOverLink, TimeProvider.System.GetTimestamp());
        sites.Kill(victim);
        // Back at once, soon, or, in a long run, after the split-brain resolver has acted.
        await Task.Delay(random.Next(Rounds.Wanted(1) == 1 ? 2 : 3) switch { 0 => 0, 1 => random.Next(0, 1500), _ => random.Next(10000, 14000) }, _limit.Token);
        var down = TimeProvider.System.GetElapsedTime(killed);
        var acknowledged = sites.LedgerNow.Count;
        sites.Start(victim);
        var seen = await sites.RecoveredAsync();
        var well = TimeProvider.System.GetElapsedTime(killed);
        var (ledger, link) = (sites.LedgerNow, sites.BytesOverLink - sent);
        var guest = (ledger.Count - written) * (long)BlockPattern.BlockBytes;
        var verdict = await sites.JudgeAsync();
        Assert.Empty(await sites.UnfinishedJobsAsync());
        output.WriteLine(string.Create(CultureInfo.InvariantCulture,
            $"{victim,-20}  {round,5}  {down.TotalMilliseconds,7:F0}  {well.TotalMilliseconds,13:F0}  {MiB(guest),15:F1}  {MiB(link),17:F1}  {MiB(link - guest),10:F1}  {MiB(seen.Resent),16:F1}  {LedgerWaits.Longest(ledger, written),15:F0}"));
        Assert.True(verdict.Holds && verdict.PrefixLength >= acknowledged, $"{victim}, round {round}: {verdict}");
        Assert.True(link - guest < sites.DiskBytes / 4, $"{victim}, round {round}: {MiB(link)} MiB were sent for {MiB(guest)} MiB written: that is no delta");
    }

    private static double MiB(long bytes) => bytes / 1048576.0;

    public void Dispose() => _limit.Dispose();
}
