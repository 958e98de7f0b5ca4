using SiteRecovery.Domain.ProtectedMachines;

namespace SiteRecovery.Simulation.World;

/// <summary>
/// Makes a script from a seed: everything that may go wrong, at any time, for a while; and an operator who does anything at any time, most of it in an order that leads somewhere. Each seed has
/// a temper of its own, which faults it prefers or never has, how close they come and how often the operator acts: what needs the same fault five times running, or calm for long, has its seeds too.
/// </summary>
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
        [$"{MachineActions.TestFailover} any", $"{MachineActions.UnplannedFailover} any", MachineActions.Commit, MachineActions.TestFailoverCleanup, $"{MachineActions.TestFailover} latest", $"{MachineActions.ReverseReplicate} delta", MachineActions.TestFailoverCleanup],
        [$"{MachineActions.UnplannedFailover} latest", $"{MachineActions.UnplannedFailover} any", $"{MachineActions.TestFailover} any", MachineActions.Commit, $"{MachineActions.ReverseReplicate} delta", MachineActions.TestFailoverCleanup],
        [MachineActions.Pause, MachineActions.Resume],
        [MachineActions.Pause, $"{MachineActions.TestFailover} any", MachineActions.Resume, MachineActions.TestFailoverCleanup],
        [MachineActions.Pause, $"{MachineActions.UnplannedFailover} any", MachineActions.CancelFailover, MachineActions.Resume],
        [MachineActions.Pause, MachineActions.Disable, MachineActions.Enable],
        [MachineActions.Resynchronize],
        [MachineActions.Disable, MachineActions.Enable],
        ["keep any", "keep any", "let-go any"],
        ["keep any", $"{MachineActions.UnplannedFailover} any", MachineActions.Commit, $"{MachineActions.ReverseReplicate} delta"],
        ["take-point", "verify any"],
        ["take-point", "keep latest", "take-point"],
    ];

    private static readonly string[] Moments = ["change", "write", "flush", "flush", "names"];
    private static readonly int[] GapsMax = [1500, 4000, 8000], CallsMax = [40, 12, 5];

    private static readonly string[] States =
    [
        SimChaos.Synchronizing, SimChaos.Synchronizing, nameof(Phase.InitialReplication), nameof(Phase.Resynchronizing), nameof(Phase.ResynchronizationRequired), nameof(Phase.Paused), nameof(Phase.PlannedFailoverInProgress),
        nameof(Phase.UnplannedFailoverInProgress), nameof(Phase.FailoverCommitPending), nameof(Phase.FailedOver), nameof(Phase.ReverseReplicating),
    ];

    /// <summary>What a seed prefers.</summary>
    /// <param name="Kinds">Faults, each as often as it comes up.</param>
    /// <param name="CallsMax">How many I/Os at most come before the one that is meant.</param>
    /// <param name="Waits">One in so many faults waits for a state of the machine.</param>
    private sealed record Temper(Kind[] Kinds, string[] Hosts, string[] Moments, int GapMax, int CallsMax, int Waits, bool ActsSeldom);

    private enum Kind { Drop, Cut, Mute, Late, Mix, Storm, Crash, CrashWithin, Slow, Full, Fail, Tear, Unreadable, Rot, Dark, Stop, Deafen, Lose, Orphan, Journal, Clock, Wear, Evict }

    /// <summary>A long run is to see many faults in many states, not much data.</summary>
    private const int LongRun = 300_000, LongRunsPace = 160, SegmentBytesLeast = 32 << 10, SegmentBytesMost = 1 << 20, LateMost = 9000;

    internal static SimScript Of(int seed, int until)
    {
        var (random, steps) = (new Random(seed), new List<SimStep>());
        var temper = Draw(random);
        // Now and then one comes upon the other.
        for (var at = random.Next(100, 6000); at < until; at += random.Next(5) == 0 ? random.Next(300) : random.Next(100, temper.GapMax)) steps.Add(new SimStep(at, One(random, temper)));
        if (random.Next(3) == 0) Strike(random, until, steps);
        LeaveLight(steps);
        if (random.Next(6) > 0) Operate(random, until, steps, temper.ActsSeldom);
        var (asks, aged, machines) = (random.Next(4) == 0, random.Next(2) == 0, random.Next(4) > 0 ? 1 : random.Next(2, 4));
        for (var other = 2; other <= machines; other++)
            if (random.Next(6) > 0) Operate(random, until, steps, temper.ActsSeldom, $"db{other} ");
        if (seed % 4 == 0) ChangePolicies(new Random(seed), until, steps);
        return Kept(random, new SimScript(seed, until, [.. steps.OrderBy(s => s.At)]) { Asks = asks, Aged = aged, Machines = machines, Pace = until >= LongRun ? LongRunsPace : SimScript.BusyPace });
    }

    /// <summary>In whatever state the first machine is.</summary>
    private static void ChangePolicies(Random random, int until, List<SimStep> steps)
    {
        for (var at = random.Next(5000, 30_000); at < until; at += random.Next(2000, 60_000)) steps.Add(new SimStep(at, $"do policy {random.Next(1, 10)} {Of(random, "none", "lz4", "zstd")}"));
    }

    /// <summary>How the stores keep it.</summary>
    private static SimScript Kept(Random random, SimScript script) => WithRelays(random,
        script with { Tiers = random.Next(2) == 0, Encrypted = random.Next(4) == 0, SegmentBytes = random.Next(2) == 0 ? 0 : SegmentBytes(random), Flushes = script.Seed % 2 == 1, Repeats = script.Seed % 3 == 0 });

    /// <summary>Of two process servers either has what was meant for the one.</summary>
    private static SimScript WithRelays(Random random, SimScript script) => random.Next(3) > 0 ? script
        : script with { Relays = 2, Steps = [.. script.Steps.Select(s => random.Next(3) > 0 ? s : s with { What = s.What.Replace(" relay ", $" {SimSites.SecondRelay} ", StringComparison.Ordinal) })] };

    /// <summary>After each darkness the site has as much light, or nothing would be written in the whole run.</summary>
    private static void LeaveLight(List<SimStep> steps)
    {
        var lightUntil = 0L;
        steps.RemoveAll(step =>
        {
            if (step.What.Split(' ') is not ["dark", "for", var lasts]) return false;
            if (step.At < lightUntil) return true;
            lightUntil = step.At + 2 * SimScript.Number(lasts);
            return false;
        });
    }

    /// <summary>A short script of blows: what one host loses the others make good, so something rots and in the next moment whoever could tell is gone; and an operator fails over in between.</summary>
    internal static SimScript BlowsOf(int seed)
    {
        var (random, steps) = (new Random(seed), new List<SimStep>());
        var at = random.Next(6000, 16_000);
        for (var rounds = random.Next(1, 4); rounds > 0; rounds--)
        {
            Blow(random, at, steps);
            at += random.Next(1500, 15_000);
            if (random.Next(3) == 0) continue;
            foreach (var action in Stories[random.Next(Stories.Length)])
            {
                steps.Add(new SimStep(at, $"do {action}"));
                at += random.Next(1000, 8000);
                if (random.Next(4) == 0) Blow(random, at, steps);
            }
        }
        return Kept(random, new SimScript(seed, at + random.Next(5000, 20_000), [.. steps.OrderBy(s => s.At)]) { Aged = random.Next(2) == 0, Pace = random.Next(2) == 0 ? LongRunsPace : SimScript.BusyPace });
    }

    /// <summary>
    /// A short script of a host whose disk ails: now and then something fails or rots, the process ends before or behind that, and the power goes at last, which shows what was only in memory; while an operator moves the machine.
    /// </summary>
    internal static SimScript AilmentsOf(int seed)
    {
        var (random, steps) = (new Random(seed), new List<SimStep>());
        var (at, host) = (random.Next(4000, 12_000), Of(random, "source", "target"));
        for (var stories = random.Next(1, 4); stories > 0; stories--)
            foreach (var action in Stories[random.Next(Stories.Length)])
            {
                if (random.Next(2) == 0) Ail(random, random.Next(5) > 0 ? host : Of(random, "source", "relay", "target"), at + random.Next(-2000, 2000), steps);
                steps.Add(new SimStep(at, $"do {action}"));
                at += random.Next(3) == 0 ? random.Next(50, 1000) : random.Next(1000, 7000);
            }
        if (random.Next(3) > 0) steps.Add(new SimStep(at, $"crash {host} power for {random.Next(50, 2000)}"));
        return Kept(random, new SimScript(seed, at + random.Next(2000, 15_000), [.. steps.OrderBy(s => s.At)]) { Aged = random.Next(2) == 0, Asks = random.Next(4) == 0, Pace = random.Next(2) == 0 ? LongRunsPace : SimScript.BusyPace });
    }

    internal static void Ail(Random random, string host, int at, List<SimStep> steps)
    {
        for (var times = random.Next(1, 4); times > 0; times--)
            steps.Add(new SimStep(at + random.Next(1500), random.Next(9) switch
            {
                0 => $"rot {host} {random.Next(1, 3)}",
                1 => $"spoil {host} {random.Next(1, 3)}",
                2 => $"smudge {host} 1",
                7 => $"wear {host} {random.Next(1, 3)}",
                8 => $"evict {host}",
                3 => $"tear {host} {random.Next(1, 12)}",
                _ => $"fail {host} {Of(random, Moments[1..])} {random.Next(1, 12)}",
            }));
        if (random.Next(4) == 0) return;
        var end = random.Next(4) switch
        {
            0 => $"stop {host}",
            1 => $"crash {host} {Way(random)}",
            _ => $"crash {host} {Way(random)} {Of(random, "in", "after")} {Of(random, Moments)} {random.Next(1, 20)}",
        };
        steps.Add(new SimStep(at + random.Next(2500), $"{end} for {Down(random, random.Next(500, 6000))}"));
    }

    private static void Strike(Random random, int until, List<SimStep> steps)
    {
        for (var at = random.Next(5000, 30_000); at < until; at += random.Next(10_000, 60_000)) Blow(random, at, steps);
        steps.RemoveAll(s => s.At >= until);
    }

    private static void Blow(Random random, int at, List<SimStep> steps)
    {
        steps.Add(new SimStep(at, $"{Of(random, "rot", "rot", "spoil")} {Of(random, "target", "target", "relay", "source")} {random.Next(1, 4)}"));
        if (random.Next(3) == 0) steps.Add(new SimStep(at + random.Next(300), $"smudge {Of(random, "target", "target", "relay", "source")} {random.Next(1, 3)}"));
        if (random.Next(4) == 0) steps.Add(new SimStep(at + random.Next(300), $"cut {Of(random, "near", "wan")} for {random.Next(500, 20_000)}"));
        var then = at + random.Next(10, Of(random, "soon", "later") == "soon" ? 100 : 1000);
        foreach (var host in (string[])["target", "target", "relay", "source"])
            if (random.Next(2) == 0) steps.Add(new SimStep(then + random.Next(100), $"crash {host} {Way(random)} for {Down(random, random.Next(500, 12_000))}"));
    }

    /// <summary>One of the stories, from a time on.</summary>
    internal static void Operate(Random random, int at, List<SimStep> steps)
    {
        foreach (var action in Stories[random.Next(Stories.Length)])
        {
            steps.Add(new SimStep(at, $"do {action}"));
            at += random.Next(4) == 0 ? random.Next(50, 1000) : random.Next(1000, 8000);
        }
    }

    internal static string AnyFault(Random random) => One(random, Draw(random));

    internal static int SegmentBytes(Random random) => random.Next(SegmentBytesLeast, SegmentBytesMost);

    private static Temper Draw(Random random)
    {
        List<Kind> kinds = [];
        foreach (var kind in Enum.GetValues<Kind>())
            for (var often = random.Next(2) == 0 ? 0 : random.Next(1, kind is Kind.Crash or Kind.CrashWithin ? 9 : 4); often > 0; often--) kinds.Add(kind);
        if (kinds.Count == 0) kinds.Add(Kind.CrashWithin);
        string[] hosts = random.Next(3) == 0 ? [Of(random, "source", "relay", "target")] : ["source", "relay", "target", "target"];
        return new Temper([.. kinds], hosts, random.Next(3) == 0 ? [Of(random, Moments)] : Moments, GapsMax[random.Next(GapsMax.Length)], CallsMax[random.Next(CallsMax.Length)],
            random.Next(2, 7), random.Next(3) == 0);
    }

    private static void Operate(Random random, int until, List<SimStep> steps, bool seldom, string machine = "")
    {
        for (var at = random.Next(1000, 12_000); at < until;)
        {
            foreach (var action in Stories[random.Next(Stories.Length)])
            {
                steps.Add(new SimStep(at, $"do {machine}{action}"));
                at += random.Next(4) == 0 ? random.Next(50, 1000) : random.Next(1000, 8000);
            }
            at += random.Next(500, seldom ? 30_000 : 6000);
        }
        steps.RemoveAll(s => s.At >= until);
    }

    /// <summary>At once, or as soon as the machine comes to a state that may last for moments only.</summary>
    private static string One(Random random, Temper temper) => random.Next(temper.Waits) > 0 ? Fault(random, temper) : $"when {Of(random, States)} {Fault(random, temper)}";

    private static string Fault(Random random, Temper temper)
    {
        var (wire, host, lasts) = (Of(random, "near", "wan"), Of(random, temper.Hosts), random.Next(50, 6000));
        return temper.Kinds[random.Next(temper.Kinds.Length)] switch
        {
            Kind.Drop => $"drop {wire}",
            Kind.Cut => $"cut {wire} for {lasts}",
            Kind.Mute => $"mute {wire} for {lasts}",
            Kind.Late => $"late {wire} {random.Next(50, random.Next(4) == 0 ? LateMost : 1000)} for {lasts}",
            Kind.Mix => $"mix wan for {lasts}",
            Kind.Storm => $"storm for {random.Next(20, 600)}",
            Kind.Crash => $"crash {host} {Way(random)} for {Down(random, lasts)}",
            Kind.CrashWithin => $"crash {host} {Way(random)} {Of(random, "in", "in", "after")} {Of(random, temper.Moments)} {random.Next(1, temper.CallsMax)} for {Down(random, lasts)}",
            Kind.Slow => $"slow {host} for {lasts}",
            Kind.Full => $"full {Of(random, "source", "relay", "target")} {random.Next(64 << 10)} for {lasts}",
            Kind.Fail => $"fail {host} {Of(random, "write", "flush", "names")} {random.Next(1, temper.CallsMax)}",
            Kind.Tear => $"tear {host} {random.Next(1, temper.CallsMax)}",
            Kind.Unreadable => $"unreadable {Of(random, "source", "relay", "target")} for {random.Next(50, 1500)}",
            Kind.Rot => $"{Of(random, "rot", "spoil")} {Of(random, "source", "relay", "target", "target")} {random.Next(1, 3)}",
            Kind.Wear => $"wear {Of(random, "source", "target")} {random.Next(1, 3)}",
            Kind.Evict => $"evict {host}",
            Kind.Deafen => $"deafen {wire} for {lasts}",
            Kind.Lose => $"lose wan for {lasts}",
            Kind.Orphan => $"orphan for {Down(random, lasts)}",
            Kind.Journal => $"{Of(random, "forget", "doubt")} for {lasts}",
            Kind.Stop => $"stop {host} for {Down(random, lasts)}",
            Kind.Dark => $"dark for {random.Next(3000, 30_000)}",
            _ => random.Next(2) == 0 ? $"jump {host} {random.Next(-600_000, 600_000)}" : $"drift {host} {random.Next(-2000, 2000)}",
        };
    }

    private static int Down(Random random, int lasts) => random.Next(2) == 0 ? random.Next(50, 500) : lasts;

    private static string Way(Random random) => Of(random, "kill", "power", "power");

    private static string Of(Random random, params ReadOnlySpan<string> choices) => choices[random.Next(choices.Length)];
}
