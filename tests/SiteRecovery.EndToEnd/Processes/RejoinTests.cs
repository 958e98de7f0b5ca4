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

    public void Dispose() => _limit.Dispose();
}
