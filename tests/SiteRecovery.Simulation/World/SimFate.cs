using SiteRecovery.Domain.ProtectedMachines;

namespace SiteRecovery.Simulation.World;

/// <summary>Makes a script from a seed: everything that may go wrong, at any time, for a while; and an operator who does anything at any time, most of it in an order that leads somewhere.</summary>
internal static class SimFate
{
    private static readonly string[][] Stories =
    [
        [$"{MachineActions.UnplannedFailover} latest", MachineActions.Commit, $"{MachineActions.ReverseReplicate} delta"],
        [$"{MachineActions.UnplannedFailover} any", $"{MachineActions.ChangeRecoveryPoint} any", MachineActions.Commit, $"{MachineActions.ReverseReplicate} delta"],
        [$"{MachineActions.UnplannedFailover} any", MachineActions.CancelFailover],
        [MachineActions.PlannedFailover, MachineActions.Commit, $"{MachineActions.ReverseReplicate} delta"],
        [MachineActions.PlannedFailover, MachineActions.CancelFailover],
        [MachineActions.PlannedFailover, $"{MachineActions.ChangeRecoveryPoint} latest", MachineActions.CancelFailover],
        [$"{MachineActions.UnplannedFailover} latest", MachineActions.Commit, $"{MachineActions.ReverseReplicate} full"],
        [$"{MachineActions.TestFailover} any", MachineActions.TestFailoverCleanup],
        [$"{MachineActions.TestFailover} latest", $"{MachineActions.UnplannedFailover} latest", MachineActions.TestFailoverCleanup, MachineActions.CancelFailover],
        [MachineActions.Pause, MachineActions.Resume],
        [MachineActions.Resynchronize],
        [MachineActions.Disable, MachineActions.Enable],
    ];

    internal static SimScript Of(int seed, int until)
    {
        var (random, steps) = (new Random(seed), new List<SimStep>());
        for (var at = random.Next(100, 8000); at < until; at += random.Next(100, 8000)) steps.Add(new SimStep(at, One(random)));
        Operate(random, until, steps);
        return new SimScript(seed, until, [.. steps.OrderBy(s => s.At)]);
    }

    private static void Operate(Random random, int until, List<SimStep> steps)
    {
        for (var at = random.Next(1000, 12_000); at < until;)
        {
            foreach (var action in Stories[random.Next(Stories.Length)])
            {
                steps.Add(new SimStep(at, $"do {action}"));
                at += random.Next(4) == 0 ? random.Next(50, 1000) : random.Next(1000, 12_000);
            }
            at += random.Next(500, 10_000);
        }
        steps.RemoveAll(s => s.At >= until);
    }

    private static string One(Random random)
    {
        var (wire, host, lasts) = (Of(random, "near", "wan"), Of(random, "source", "relay", "target", "target"), random.Next(50, 6000));
        return random.Next(21) switch
        {
            < 3 => $"drop {wire}",
            < 5 => $"cut {wire} for {lasts}",
            < 7 => $"mute {wire} for {lasts}",
            < 9 => $"crash {host} {Way(random)} for {lasts}",
            < 14 => $"crash {host} {Way(random)} {Of(random, "in", "in", "after")} {Of(random, "change", "write", "flush", "flush", "names")} {random.Next(1, 40)} for {lasts}",
            14 => $"slow {host} for {lasts}",
            15 => $"full {Of(random, "relay", "target")} {random.Next(64 << 10)} for {lasts}",
            16 => $"fail {host} {Of(random, "write", "flush", "names")} {random.Next(1, 30)}",
            17 => $"tear {host} {random.Next(1, 30)}",
            18 => $"unreadable {Of(random, "source", "relay", "target")} for {random.Next(50, 1500)}",
            19 => $"dark for {random.Next(3000, 30_000)}",
            _ => random.Next(2) == 0 ? $"jump {host} {random.Next(-600_000, 600_000)}" : $"drift {host} {random.Next(-2000, 2000)}",
        };
    }

    private static string Way(Random random) => Of(random, "kill", "power", "power");

    private static string Of(Random random, params ReadOnlySpan<string> choices) => choices[random.Next(choices.Length)];
}
