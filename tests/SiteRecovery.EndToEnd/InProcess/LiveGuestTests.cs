using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.DataPlane.Export;
using SiteRecovery.DataPlane.Nbd;
using SiteRecovery.DataPlane.Retention;
using SiteRecovery.DataPlane.Storage;
using SiteRecovery.Domain.History;
using SiteRecovery.EndToEnd.Guests;
using Xunit.Abstractions;

namespace SiteRecovery.EndToEnd.InProcess;

/// <summary>A real guest writes through the whole data plane; its site dies; a second guest comes up on the replica.</summary>
[Trait("Category", "Slow"), Collection("Guests")]
public sealed class LiveGuestTests(ITestOutputHelper output) : IDisposable
{
    private const int RecordsAfterFailover = 40;
    private readonly CancellationTokenSource _limit = new(TimeSpan.FromMinutes(2) * Rounds.Wanted(1));

    [Fact]
    public async Task A_guest_whose_site_dies_comes_up_at_the_other_site_with_a_gapless_prefix_of_its_records()
    {
        output.WriteLine(GuestVerdict.TableHead);
        for (var round = 1; round <= Rounds.Wanted(1); round++)
        {
            var verdict = await LoseTheSiteAsync(new Random(round), cutLinkFirst: round % 2 == 0);
            output.WriteLine(verdict.Row(round));
            Assert.True(verdict.Reason is null, verdict.Row(round));
            if (round % 2 == 0) Assert.True(verdict.Lost > 0, "the link was cut before the death, so the last records cannot be at the other site");
        }
    }

    private async Task<GuestVerdict> LoseTheSiteAsync(Random random, bool cutLinkFirst)
    {
        await using var disks = await CapturedGuestDisks.CreateAsync();
        await using var guest = await GuestMachine.StartAsync(disks.CaptureUris);
        Assert.Equal([0, 0], await guest.ReadyAsync(_limit.Token));
        await UntilAsync(() => disks.IsProtected);
        await guest.AcknowledgedAsync(guest.Acknowledged + random.Next(100, 600), _limit.Token);
        await Task.Delay(random.Next(0, 100), _limit.Token);
        if (cutLinkFirst)
        {
            await disks.CutLinkAsync();
            await guest.AcknowledgedAsync(guest.Acknowledged + random.Next(20, 300), _limit.Token);
        }
        var killing = guest.KillAsync();
        await disks.CutLinkAsync();
        var death = TimeProvider.System.GetUtcNow();
        await killing;
        Assert.Null(guest.Problem);

        var store = disks.Stores.StoreOf(CapturedGuestDisks.Machine);
        var point = store.ResolvePoint(new PointSelector.Latest())!;
        store.OpenEpoch(Epoch.First.Next(), point);
        var view = store.At(point);
        var (atPoint, pointUris) = disks.Serve("point.sock", i => view.Disk(i));
        await using var _ = atPoint;
        var records = new List<GuestRecords>();
        foreach (var uri in pointUris) records.Add(await GuestDisk.CheckAsync(uri, disks.At(""), "point"));
        await ComeUpAsync(disks, view, [.. records.Select(r => r.Count)]);
        return GuestVerdict.Judge(guest.Ledger, records, point.At, death);
    }

    /// <summary>The second guest finds exactly what the point holds, and goes on working.</summary>
    private async Task ComeUpAsync(CapturedGuestDisks disks, StoreView view, long[] held)
    {
        await using var first = new FileDevice(new OverlayFile(view.File(0), disks.At("replica-0"), RealFileSystem.Instance), readOnly: false);
        await using var second = new FileDevice(new OverlayFile(view.File(1), disks.At("replica-1"), RealFileSystem.Instance), readOnly: false);
        var (server, uris) = disks.Serve("replica.sock", i => i == 0 ? first : second);
        await using var _ = server;
        await using var guest = await GuestMachine.StartAsync(uris);
        Assert.Equal(held, await guest.ReadyAsync(_limit.Token));
        await guest.AcknowledgedAsync(held.Min() + RecordsAfterFailover, _limit.Token);
        await guest.KillAsync();
        foreach (var uri in uris)
        {
            var records = await GuestDisk.CheckAsync(uri, disks.At(""), "replica");
            Assert.Null(records.Problem);
            Assert.True(records.Count >= guest.Acknowledged, $"the replica's guest had {guest.Acknowledged} acknowledged and {records.Count} are there");
        }
    }

    private async Task UntilAsync(Func<bool> holds)
    {
        using var timer = new PeriodicTimer(TimeSpan.FromMilliseconds(20));
        while (!holds()) await timer.WaitForNextTickAsync(_limit.Token);
    }

    public void Dispose() => _limit.Dispose();
}
