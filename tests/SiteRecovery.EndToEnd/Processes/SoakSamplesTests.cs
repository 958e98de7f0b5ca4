namespace SiteRecovery.EndToEnd.Processes;

/// <summary>An hour of samples, one a minute: what grows is named, what goes up and down is not.</summary>
public sealed class SoakSamplesTests
{
    private const long Mebibyte = 1 << 20;

    [Theory]
    [InlineData("secondary disk", 500 * Mebibyte, 8 * Mebibyte)]
    [InlineData("primary-ps handles", 150, 4)]
    public void What_grows_is_named(string column, long from, long aMinute)
    {
        var samples = Hour(column, minute => from + minute * aMinute);
        Assert.Equal(column, Assert.Single(samples.Violations()).Split(" grows")[0]);
    }

    [Theory]
    [InlineData("agent memory", 200 * Mebibyte, 100 * Mebibyte)]
    [InlineData("secondary disk", 500 * Mebibyte, 400 * Mebibyte)]
    [InlineData("primary-ps handles", 150, 100)]
    public void What_comes_and_goes_is_not(string column, long from, long now) => Assert.Empty(Hour(column, minute => from + minute % 5 * now / 4).Violations());

    [Fact]
    public void What_grows_at_first_and_then_stays_is_not() => Assert.Empty(Hour("agent disk", minute => Math.Min(minute, 12) * 30 * Mebibyte).Violations());

    [Fact]
    public void Memory_has_a_bound_that_no_sample_may_pass()
    {
        Assert.Empty(Hour("agent memory", minute => minute % 7 * 50 * Mebibyte).Violations());
        Assert.StartsWith("agent memory is 401.0 at 00:40:00", Assert.Single(Hour("agent memory", minute => (minute == 40 ? 401 : 10) * Mebibyte).Violations()), StringComparison.Ordinal);
    }

    private static SoakSamples Hour(string column, Func<int, long> at)
    {
        var samples = new SoakSamples(null!, [], TimeSpan.FromMinutes(1), 400 * Mebibyte);
        for (var minute = 0; minute < 60; minute++) samples.Add(TimeSpan.FromMinutes(minute), new(StringComparer.Ordinal) { [column] = at(minute) });
        return samples;
    }
}
