using SiteRecovery.Domain.History;
using Xunit;

namespace SiteRecovery.Domain.Tests.History;

public sealed class PointSelectorTests
{
    private static readonly DateTimeOffset Now = new(2026, 11, 30, 18, 20, 0, TimeSpan.Zero);

    [Theory]
    [InlineData("at:2026-11-30T18:20:00Z", "2026-11-30T18:20:00", false)]
    [InlineData("at:2026-11-30T19:20:00.5+01:00", "2026-11-30T18:20:00.5", false)]
    [InlineData("at:2026-11-30T18:20:00.123456789Z", "2026-11-30T18:20:00.1234568", false)]
    [InlineData("at:2026-11-30T18:20:00", "2026-11-30T18:20:00", true)]
    [InlineData("at:2026-11-30 18:20", "2026-11-30T18:20:00", true)]
    [InlineData("at:2027-01-01", "2027-01-01T00:00:00", true)]
    public void A_time_is_read_in_its_zone_and_as_UTC_where_it_names_none(string text, string utc, bool withoutZone)
    {
        var time = Assert.IsType<PointSelector.AtTime>(PointSelector.Parse(text)).Time;
        Assert.Equal(DateTime.Parse(utc, System.Globalization.CultureInfo.InvariantCulture), time.UtcDateTime);
        Assert.Equal(withoutZone, PointSelector.IsTimeWithoutZone(text));
    }

    [Theory]
    [InlineData("at:11/12/2026 19:20")]
    [InlineData("at:19:20")]
    [InlineData("at:12.11.2026")]
    [InlineData("at:Mon, 30 Nov 2026 19:20:00 GMT")]
    [InlineData("at:2026-13-01T00:00:00Z")]
    [InlineData("at:2026-02-30T00:00:00Z")]
    [InlineData("at:2026-11-30T18:20:00Z\n")]
    [InlineData("at:")]
    [InlineData("at:e1-s2")]
    public void What_may_be_read_as_several_times_or_none_is_no_selector(string text) => Assert.Null(PointSelector.Parse(text));

    [Fact]
    public void A_time_is_ahead_where_neither_this_clock_nor_the_newest_point_has_come_to_it()
    {
        var newest = new RecoveryPoint(Epoch.First, new Sequence(3), Now.AddSeconds(-5), PointKind.CrashConsistent);
        var anHour = new PointSelector.AtTime(Now.AddHours(1));
        Assert.True(anHour.IsAhead(Now, newest));
        Assert.True(anHour.IsAhead(Now, null));
        Assert.False(anHour.IsAhead(Now, newest with { At = Now.AddHours(1) }));
        Assert.False(new PointSelector.AtTime(Now + PointSelector.ClockAllowance).IsAhead(Now, newest));
        Assert.False(new PointSelector.AtTime(Now.AddDays(-1)).IsAhead(Now, newest));
    }
}
