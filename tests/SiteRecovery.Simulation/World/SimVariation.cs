namespace SiteRecovery.Simulation.World;

/// <summary>
/// Makes scripts of scripts that have broken something once: where one mistake was others are near. A thing happens a little earlier, later, elsewhere or once more, something is added in the same moment, two of them follow each other, and the power
/// goes at last, which shows what was only in memory. What lies between is made short.
/// </summary>
internal static class SimVariation
{
    private const int GapMax = 8000, ChangesMax = 6, EndMax = 12_000;
    private static readonly string[] Hosts = ["source", "relay", "target"];

    internal static SimScript Of(int seed, IReadOnlyList<SimScript> known)
    {
        var random = new Random(seed);
        var script = known[random.Next(known.Count)];
        var steps = Squeezed(random, script.Steps, random.Next(500, GapMax));
        if (random.Next(3) == 0) steps.AddRange(Squeezed(random, known[random.Next(known.Count)].Steps, End(steps) + random.Next(500, GapMax)));
        for (var changes = random.Next(1, ChangesMax); changes > 0; changes--) Change(random, steps);
        if (random.Next(2) == 0) steps.Add(new SimStep(End(steps) + random.Next(100, GapMax), $"crash {Hosts[random.Next(Hosts.Length)]} power for {random.Next(50, 2000)}"));
        script = script with
        {
            Seed = random.Next(), Until = End(steps) + random.Next(1000, EndMax), Steps = [.. steps.OrderBy(s => s.At)], Machines = steps.Exists(s => s.What.Contains("db3 ", StringComparison.Ordinal)) ? 3 : steps.Exists(s => s.What.Contains("db2 ", StringComparison.Ordinal)) ? 2 : script.Machines,
            Relays = steps.Exists(s => s.What.Contains(SimSites.SecondRelay, StringComparison.Ordinal)) ? 2 : script.Relays,
        };
        return Otherwise(random, script);
    }

    private static int End(List<SimStep> steps) => steps.Select(s => s.At).DefaultIfEmpty(0).Max();

    /// <summary>The same, from a time on, with no long wait in it.</summary>
    private static List<SimStep> Squeezed(Random random, IReadOnlyList<SimStep> steps, int from)
    {
        var (squeezed, before) = (new List<SimStep>(), steps.Count > 0 ? steps[0].At : 0);
        foreach (var step in steps)
        {
            from += step.At - before is var gap && gap > GapMax ? random.Next(2000, GapMax) : gap;
            squeezed.Add(step with { At = from });
            before = step.At;
        }
        return squeezed;
    }

    private static void Change(Random random, List<SimStep> steps)
    {
        var i = random.Next(steps.Count);
        var near = Math.Max(0, steps[i].At + random.Next(-1500, 1500));
        switch (random.Next(9))
        {
            case 0: steps[i] = steps[i] with { At = near }; break;
            case 1: steps[i] = steps[i] with { What = steps[i].What.Replace($" {Hosts[random.Next(Hosts.Length)]} ", $" {Hosts[random.Next(Hosts.Length)]} ", StringComparison.Ordinal) }; break;
            case 2: steps.Add(steps[i] with { At = steps[i].At + random.Next(50, GapMax) }); break;
            case 3 when steps.Count > 3: steps.RemoveAt(i); break;
            case 4: SimFate.Operate(random, near, steps); break;
            case 5 or 6: SimFate.Ail(random, Hosts[random.Next(Hosts.Length)], near, steps); break;
            default: steps.Add(new SimStep(near, SimFate.AnyFault(random))); break;
        }
    }

    private static SimScript Otherwise(Random random, SimScript script) => random.Next(8) switch
    {
        0 => script with { Aged = !script.Aged },
        1 => script with { Tiers = !script.Tiers },
        2 => script with { Encrypted = !script.Encrypted },
        3 => script with { Flushes = !script.Flushes },
        4 => script with { Asks = !script.Asks },
        5 => script with { SegmentBytes = script.SegmentBytes > 0 ? 0 : SimFate.SegmentBytes(random) },
        _ => script,
    };
}
