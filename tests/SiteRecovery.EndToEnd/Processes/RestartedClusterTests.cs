using System.Globalization;
using SiteRecovery.EndToEnd.Guests;
using SiteRecovery.Node.Demo;
using Xunit.Abstractions;

namespace SiteRecovery.EndToEnd.Processes;

/// <summary>Every node of the cluster goes down under load and comes back: the agent goes on alone meanwhile, and a delta travels afterwards.</summary>
[Trait("Category", "Slow"), Collection("Sites")]
public sealed class RestartedClusterTests(ITestOutputHelper output) : IDisposable
{
    private const string Configuration = "configuration-server", Target = "master-target", ProcessServer = "process-server";
    private const int WritesPerSecond = 400;
    private const double WaitMax = 5000;
    private static readonly TimeSpan Down = TimeSpan.FromSeconds(5);
    private readonly CancellationTokenSource _limit = new(TimeSpan.FromMinutes(3) + TimeSpan.FromMinutes(2) * Rounds.Wanted(1));

    [Fact]
    public async Task A_restart_of_the_whole_cluster_costs_a_delta()
    {
        await using var sites = new SitesUnderTest("", _limit.Token,
            new NodeUnderTest(Configuration, SitesUnderTest.Secondary, "configuration-server", OverLink: false),
            new NodeUnderTest(Target, SitesUnderTest.Secondary, "master-target"),
            new NodeUnderTest(ProcessServer, SitesUnderTest.Primary, "process-server", OverLink: false));
        await sites.StartAsync(WritesPerSecond);
        string[] nodes = [Configuration, Target, ProcessServer];
        var random = new Random(6);
        for (var round = 1; round <= Rounds.Wanted(1); round++)
        {
            random.Shuffle(nodes);
            // As a power cut has it, then as a maintenance window does.
            if (round % 2 == 1) await RestartAsync(sites, "killed", () => { sites.Kill(nodes); return Task.CompletedTask; }, nodes);
            else await RestartAsync(sites, "stopped", () => Task.WhenAll(nodes.Select(sites.StopAsync)), nodes);
        }
        await sites.ProveEqualAsync();
        Assert.Empty(await sites.UnfinishedJobsAsync());
    }

    private async Task RestartAsync(SitesUnderTest sites, string how, Func<Task> down, string[] order)
    {
        var (written, sent) = (sites.LedgerNow.Count, sites.BytesOverLink);
        await down();
        await Task.Delay(Down, _limit.Token);
        var begun = TimeProvider.System.GetTimestamp();
        foreach (var node in order) sites.Start(node);
        await sites.RecoveredAsync();
        var well = TimeProvider.System.GetElapsedTime(begun);
        var ledger = sites.LedgerNow;
        var (wait, guest, link) = (LedgerWaits.Longest(ledger, written), (ledger.Count - written) * (long)BlockPattern.BlockBytes, sites.BytesOverLink - sent);
        output.WriteLine(string.Create(CultureInfo.InvariantCulture,
            $"{how}: well again {well.TotalSeconds:F1} s after the start; longest wait {wait:F0} ms; guest wrote {guest >> 20} MiB, {link >> 20} MiB over the link"));
        Assert.True(wait < WaitMax, $"a write waited {wait} ms");
        Assert.True(link < guest + SitesUnderTest.WorkingSetBytes + (sites.DiskBytes / 8), $"{link >> 20} MiB were sent for {guest >> 20} MiB written: that is no delta");
    }

    public void Dispose() => _limit.Dispose();
}
