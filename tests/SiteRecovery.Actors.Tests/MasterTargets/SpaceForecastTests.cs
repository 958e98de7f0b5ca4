using SiteRecovery.Actors.MasterTargets;
using SiteRecovery.Actors.ProtectedMachines;
using SiteRecovery.Domain.History;
using SiteRecovery.Domain.ProtectedMachines;
using SiteRecovery.Domain.Vaults;

namespace SiteRecovery.Actors.Tests.MasterTargets;

public sealed class SpaceForecastTests
{
    private static readonly DateTimeOffset T0 = new(2026, 1, 31, 3, 0, 0, TimeSpan.Zero);
    private readonly SpaceForecast _forecast = new();

    [Fact]
    public void It_says_when_the_limit_and_the_disk_are_reached_at_the_rate_of_the_last_minutes()
    {
        Assert.Equal(0, At(0, bytes: 1000, free: 100_000).BytesPerSecond);
        Assert.Null(At(20, bytes: 1200, free: 99_800).LimitAt);
        var told = At(60, bytes: 1600, free: 98_800, max: 2600);
        Assert.Equal(10, told.BytesPerSecond);
        Assert.Equal(T0.AddSeconds(60 + 100), told.LimitAt);
        Assert.Equal(T0.AddSeconds(60 + 98_800 / 20), told.DiskFullAt); // others use the disk too
    }

    [Fact]
    public void What_shrinks_stands_still_or_lies_beyond_a_year_is_not_told()
    {
        At(0, bytes: 5000, free: 1000);
        Assert.Equal((null, null), Told(At(40, bytes: 4000, free: 2000, max: 6000)));
        Assert.Equal((null, null), Told(At(50, bytes: 5001, free: long.MaxValue / 2, max: long.MaxValue)));
        static (DateTimeOffset?, DateTimeOffset?) Told(StoreReport store) => (store.LimitAt, store.DiskFullAt);
    }

    [Fact]
    public void Past_its_limit_it_is_reached_now_and_a_policy_without_one_has_none()
    {
        At(0, bytes: 1000, free: 1000);
        Assert.Equal(T0.AddSeconds(40), At(40, bytes: 5000, free: 1000, max: 3000).LimitAt);
        Assert.Null(At(41, bytes: 5000, free: 1000).LimitAt);
    }

    private StoreReport At(int seconds, long bytes, long free, long? max = null) => _forecast.Of(
        new StoreReport(new MachineId("vm1"), Epoch.First, Sequence.None, true, null, null, 0, bytes, free, null, new SiteName("lyon")), max, T0.AddSeconds(seconds));
}
