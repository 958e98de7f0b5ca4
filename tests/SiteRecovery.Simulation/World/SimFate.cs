namespace SiteRecovery.Simulation.World;

/// <summary>Makes a script from a seed: everything that may go wrong, at any time, for a while.</summary>
internal static class SimFate
{
    internal static SimScript Of(int seed, int until)
    {
        var (random, steps) = (new Random(seed), new List<SimStep>());
        for (var at = random.Next(100, 8000); at < until; at += random.Next(100, 8000)) steps.Add(new SimStep(at, One(random)));
        return new SimScript(seed, until, steps);
    }

    private static string One(Random random)
    {
        var (link, host, lasts) = (Of(random, "relay", "target"), Of(random, "source", "relay", "target", "target"), random.Next(50, 6000));
        return random.Next(20) switch
        {
            < 3 => $"drop {link}",
            < 5 => $"cut {link} for {lasts}",
            < 7 => $"mute {link} for {lasts}",
            < 9 => $"crash {host} {Way(random)} for {lasts}",
            < 14 => $"crash {host} {Way(random)} {Of(random, "in", "in", "after")} {Of(random, "change", "write", "flush", "flush", "names")} {random.Next(1, 40)} for {lasts}",
            14 => $"slow {host} for {lasts}",
            15 => $"full {Of(random, "relay", "target")} {random.Next(64 << 10)} for {lasts}",
            16 => $"fail {host} {Of(random, "write", "flush", "names")} {random.Next(1, 30)}",
            17 => $"tear {host} {random.Next(1, 30)}",
            18 => $"unreadable {Of(random, "source", "relay", "target")} for {random.Next(50, 1500)}",
            _ => random.Next(2) == 0 ? $"jump {host} {random.Next(-600_000, 600_000)}" : $"drift {host} {random.Next(-2000, 2000)}",
        };
    }

    private static string Way(Random random) => Of(random, "kill", "power", "power");

    private static string Of(Random random, params ReadOnlySpan<string> choices) => choices[random.Next(choices.Length)];
}
