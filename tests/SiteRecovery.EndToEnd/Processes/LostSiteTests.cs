using System.Globalization;
using SiteRecovery.EndToEnd.Guests;
using Xunit.Abstractions;

namespace SiteRecovery.EndToEnd.Processes;

/// <summary>The main job: everything of the primary site is killed at a random instant, and its guest comes up at the secondary.</summary>
[Trait("Category", "Slow"), Collection("Guests")]
public sealed class LostSiteTests(ITestOutputHelper output) : IDisposable
{
    private const long DiskBytes = 48L << 20;
    private const int RecordsAfterFailover = 40;
    private readonly CancellationTokenSource _limit = new(TimeSpan.FromMinutes(1) + TimeSpan.FromMinutes(1) * Rounds.Wanted(1));

    /// <summary>In each round a new machine; the primary site starts again on what the kill left of it.</summary>
    [Fact]
    public async Task A_guest_comes_up_at_the_secondary_after_its_whole_site_was_killed()
    {
        await using var sites = await TwoSites.StartAsync(_limit.Token);
        var random = new Random(17);
        output.WriteLine(GuestVerdict.TableHead + "  failover ms  guest up ms");
        for (var round = 1; round <= Rounds.Wanted(1); round++)
        {
            if (round > 1)
            {
                await sites.AgentMissedAsync();
                sites.Start(TwoSites.Primary);
                sites.Start(TwoSites.Agent);
                await sites.AgentConnectedAsync();
            }
            await LoseTheSiteAsync(sites, round, random);
        }
    }

    private async Task LoseTheSiteAsync(TwoSites sites, int round, Random random)
    {
        var machine = string.Create(CultureInfo.InvariantCulture, $"db{round}");
        string[] paths = [sites.At(machine + "-a.raw"), sites.At(machine + "-b.raw")];
        foreach (var path in paths) await GuestDisk.CreateAsync(path, DiskBytes);
        await using var guest = await GuestMachine.StartAsync(await sites.ProtectAsync(machine, paths));
        Assert.Equal([0, 0], await guest.ReadyAsync(_limit.Token));
        await sites.ProtectedAsync(machine);
        await guest.AcknowledgedAsync(guest.Acknowledged + random.Next(100, 600), _limit.Token);
        await Task.Delay(random.Next(0, 200), _limit.Token);

        string[] order = [TwoSites.Primary, TwoSites.Agent];
        random.Shuffle(order);
        var killing = random.Next(2) == 0 ? guest.KillAsync() : null;
        sites.Kill(order);
        await (killing ?? guest.KillAsync());
        var death = TimeProvider.System.GetUtcNow();
        Assert.Null(guest.Problem);

        var replica = await sites.FailOverAsync(machine);
        var records = await CheckAsync(sites, replica.Exports, machine + "-point");
        var verdict = GuestVerdict.Judge(guest.Ledger, records, replica.PointAt, death);
        var begun = TimeProvider.System.GetTimestamp();
        await using var second = await GuestMachine.StartAsync(replica.Exports);
        Assert.Equal(records.Select(r => r.Count), await second.ReadyAsync(_limit.Token));
        output.WriteLine(string.Create(CultureInfo.InvariantCulture,
            $"{verdict.Row(round)}  {replica.Took.TotalMilliseconds,11:F0}  {TimeProvider.System.GetElapsedTime(begun).TotalMilliseconds,11:F0}"));
        Assert.True(verdict.Reason is null, verdict.Row(round));
        await GoOnAsync(sites, second, machine, replica);
    }

    /// <summary>The replica is a machine that works: it takes records, is committed under them, and keeps them.</summary>
    private async Task GoOnAsync(TwoSites sites, GuestMachine guest, string machine, FailedOver replica)
    {
        var found = (await guest.ReadyAsync(_limit.Token)).Min();
        await guest.AcknowledgedAsync(found + 1, _limit.Token);
        await sites.ActAsync(machine, "commit");
        await guest.AcknowledgedAsync(guest.Acknowledged + RecordsAfterFailover, _limit.Token);
        await guest.KillAsync();
        Assert.Null(guest.Problem);
        var records = await CheckAsync(sites, replica.Exports, machine + "-replica");
        Assert.All(records, r => Assert.True(r.Problem is null && r.Count >= guest.Acknowledged, $"the replica's guest had {guest.Acknowledged} acknowledged, its disks say {r}"));
    }

    private static async Task<List<GuestRecords>> CheckAsync(TwoSites sites, string[] uris, string name)
    {
        var records = new List<GuestRecords>();
        foreach (var uri in uris) records.Add(await GuestDisk.CheckAsync(uri, sites.At(""), name));
        return records;
    }

    public void Dispose() => _limit.Dispose();
}
