using System.Text.Json.Nodes;

namespace SiteRecovery.EndToEnd.InProcess;

/// <summary>A source whose clock is wrong replicates all the same, and no age of a point is shown that could look well.</summary>
public sealed class WrongClockTests
{
    [Theory]
    [InlineData(1)]
    [InlineData(-1)]
    public async Task A_source_with_another_time_is_told_of_and_its_RPO_is_unknown(int hours)
    {
        var sites = new TwoSites { AgentClock = new ShiftedClock(TimeSpan.FromHours(hours)) };
        try
        {
            await sites.InitializeAsync();
            using (await sites.ProtectAsync("clock1", sites.NewDisk("clock1.raw"))) await sites.UntilStateAsync("clock1", "Protected");
            JsonNode machine = new JsonObject();
            await sites.UntilAsync(async () => (machine = await sites.MachineAsync("clock1"))["health"]!["reasons"]!.AsArray().Any(r => (string)r!["code"]! == "clocksDisagree"));
            Assert.Equal("critical", (string)machine["health"]!["status"]!);
            Assert.Null(machine["rpo"]);
            Assert.NotNull(machine["unknownSince"]);
        }
        finally
        {
            await sites.DisposeAsync();
        }
    }

    private sealed class ShiftedClock(TimeSpan shift) : TimeProvider
    {
        public override DateTimeOffset GetUtcNow() => System.GetUtcNow() + shift;
    }
}
