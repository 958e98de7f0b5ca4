using System.Globalization;
using SiteRecovery.EndToEnd.Guests;
using Xunit.Abstractions;

namespace SiteRecovery.EndToEnd.Processes;

/// <summary>A node that was killed joins the cluster again on its old address, however soon or late it comes back.</summary>
[Trait("Category", "Slow"), Collection("Guests")]
public sealed class RejoinTests(ITestOutputHelper output) : IDisposable
{
    private readonly CancellationTokenSource _limit = new(TimeSpan.FromMinutes(1) + TimeSpan.FromMinutes(2) * Rounds.Wanted(1));

    [Fact]
    public async Task A_killed_node_joins_again()
    {
        await using var sites = await TwoSites.StartAsync(_limit.Token);
        output.WriteLine("round  back after ms  joined after ms");
        for (var round = 1; round <= Rounds.Wanted(1); round++)
        {
            sites.Kill(TwoSites.Primary);
            var away = TimeSpan.FromMilliseconds(round % 2 == 0 ? 100 : 3500 + round % 20 * 100); // the latter: when the others just try to reach it
            await Task.Delay(away, _limit.Token);
            sites.Start(TwoSites.Primary);
            var begun = TimeProvider.System.GetTimestamp();
            await sites.AgentMissedAsync();
            await sites.AgentConnectedAsync();
            output.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{round,5}  {away.TotalMilliseconds,13:F0}  {TimeProvider.System.GetElapsedTime(begun).TotalMilliseconds,15:F0}"));
        }
    }

    /// <summary>Here it has forgotten the others; a busy host and a gated connection come to the same.</summary>
    [Fact]
    public async Task A_node_finds_a_configuration_server_that_began_a_cluster_of_its_own()
    {
        const string configuration = "configuration-server", processServer = "process-server";
        await using var sites = new SitesUnderTest("siterecovery.cluster { stable-after = 2s, heartbeat-pause = 3s }", _limit.Token,
            new NodeUnderTest(configuration, SitesUnderTest.Secondary, "configuration-server, master-target", OverLink: false),
            new NodeUnderTest(processServer, SitesUnderTest.Primary, "process-server", OverLink: false));
        await sites.JoinAsync();
        await sites.StopAsync(configuration);
        File.Delete(sites.At(Path.Combine(configuration, "members.json")));
        sites.Start(configuration);
        await sites.UntilAsync("the first node to be alone", async () => await sites.Admin.IsReadyAsync(_limit.Token) && (await sites.MembersAsync()).Count == 1);
        await sites.UntilAsync("the other node to find it", async () => (await sites.MembersAsync()).Any(n => (string?)n!["name"] == processServer));
    }

    public void Dispose() => _limit.Dispose();
}
