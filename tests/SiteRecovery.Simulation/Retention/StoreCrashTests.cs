namespace SiteRecovery.Simulation.Retention;

/// <summary>A store is cut and torn after every single I/O, and what is left is opened again.</summary>
public sealed class StoreCrashTests
{
    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(542692136)]
    public void Nothing_acknowledged_is_lost_and_nothing_shown_is_wrong(int seed) => Run(seed);

    /// <summary>Seeds that nobody has tried: Seeds.</summary>
    [Fact]
    public void Nothing_acknowledged_is_lost_and_nothing_shown_is_wrong_for_fresh_seeds() => Seeds.Try(TimeSpan.FromSeconds(6), Run);

    /// <summary>Many histories, each cut and torn at a few of its I/Os.</summary>
    [Fact]
    public void Nothing_acknowledged_is_lost_and_nothing_shown_is_wrong_in_any_history_for_fresh_seeds() =>
        Seeds.Try(TimeSpan.FromSeconds(4), seed => new StoreCrashes(seed, 60, oneIn: 50).Run(losses: 2));

    private static void Run(int seed) => new StoreCrashes(seed, 50).Run(losses: 2);
}
