using Xunit;

namespace SiteRecovery.Simulation.World;

public sealed class SimRandomTests
{
    /// <summary>Or every seed that anybody wrote down would be another run.</summary>
    [Fact]
    public void It_draws_what_the_library_draws()
    {
        foreach (var seed in (int[])[0, 1, -7, 42, 2_900_011, int.MaxValue, int.MinValue])
        {
            var (known, ours, how) = (new Random(seed), new SimRandom(seed), new Random(seed ^ 5));
            for (var i = 0; i < 20_000; i++)
            {
                switch (how.Next(3))
                {
                    case 0:
                        var bound = how.Next(1, int.MaxValue);
                        Assert.Equal(known.Next(bound), ours.Next(bound));
                        break;
                    case 1:
                        var (from, to) = (how.Next(-500, 500), how.Next(500, 6000));
                        Assert.Equal(known.Next(from, to), ours.Next(from, to));
                        break;
                    default:
                        var (expected, shown) = (new byte[how.Next(600)], new byte[600]);
                        known.NextBytes(expected);
                        ours.NextBytes(shown.AsSpan(0, expected.Length));
                        Assert.Equal(expected, shown[..expected.Length]);
                        break;
                }
            }
        }
    }
}
