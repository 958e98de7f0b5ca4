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

    private static readonly string[] States =
    [
        SimChaos.Synchronizing, SimChaos.Synchronizing, nameof(Phase.InitialReplication), nameof(Phase.Resynchronizing), nameof(Phase.Paused), nameof(Phase.PlannedFailoverInProgress),
        nameof(Phase.UnplannedFailoverInProgress), nameof(Phase.FailoverCommitPending), nameof(Phase.FailedOver), nameof(Phase.ReverseReplicating),
    ];

    internal static SimScript Of(int seed, int until)
    {
        var (random, steps) = (new Random(seed), new List<SimStep>());
        // Now and then one comes upon the other.
        for (var at = random.Next(100, 6000); at < until; at += random.Next(4) == 0 ? random.Next(300) : random.Next(100, 8000)) steps.Add(new SimStep(at, One(random)));
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
                at += random.Next(4) == 0 ? random.Next(50, 1000) : random.Next(1000, 8000);
            }
            at += random.Next(500, 6000);
        }
        steps.RemoveAll(s => s.At >= until);
    }

    /// <summary>At once, or as soon as the machine comes to a state that may last for moments only.</summary>
    private static string One(Random random) => random.Next(3) > 0 ? Fault(random, 40) : $"when {Of(random, States)} {Fault(random, 15)}";

    /// <param name="ahead">How many I/Os at most come before the one that is meant.</param>
    private static string Fault(Random random, int ahead)
    {
        var (wire, host, lasts) = (Of(random, "near", "wan"), Of(random, "source", "relay", "target", "target"), random.Next(50, 6000));
        return random.Next(27) switch
        {
            < 3 => $"drop {wire}",
            < 5 => $"cut {wire} for {lasts}",
            < 7 => $"mute {wire} for {lasts}",
            < 9 => $"late {wire} {random.Next(50, 1000)} for {lasts}",
            < 12 => $"storm for {random.Next(20, 600)}",
            < 15 => $"crash {host} {Way(random)} for {lasts}",
            < 20 => $"crash {host} {Way(random)} {Of(random, "in", "in", "after")} {Of(random, "change", "write", "flush", "flush", "names")} {random.Next(1, ahead)} for {lasts}",
            20 => $"slow {host} for {lasts}",
            21 => $"full {Of(random, "relay", "target")} {random.Next(64 << 10)} for {lasts}",
            22 => $"fail {host} {Of(random, "write", "flush", "names")} {random.Next(1, ahead)}",
            23 => $"tear {host} {random.Next(1, ahead)}",
            24 => $"unreadable {Of(random, "source", "relay", "target")} for {random.Next(50, 1500)}",
            25 => $"dark for {random.Next(3000, 30_000)}",
            _ => random.Next(2) == 0 ? $"jump {host} {random.Next(-600_000, 600_000)}" : $"drift {host} {random.Next(-2000, 2000)}",
        };
    }

    private static string Way(Random random) => Of(random, "kill", "power", "power");

    private static string Of(Random random, params ReadOnlySpan<string> choices) => choices[random.Next(choices.Length)];
}
