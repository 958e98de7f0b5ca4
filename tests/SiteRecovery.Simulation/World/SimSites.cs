using SiteRecovery.DataPlane.Retention;
using SiteRecovery.Domain.History;
using SiteRecovery.Simulation.Checkers;

namespace SiteRecovery.Simulation.World;

/// <summary>One machine's replication, from a script: the real capture, process server and master target on simulated disks, over a simulated network, on virtual time.</summary>
internal sealed class SimSites
{
    internal static readonly MachineId Machine = new("db1");
    private static readonly TimeSpan Patience = TimeSpan.FromMinutes(3);
    private readonly Random _random;
    private readonly SimScript _script;
    private readonly SimChaos _chaos;
    private readonly SimTrace _trace;
    private SimViolation? _violation;

    internal SimSites(SimScript script)
    {
        var seed = script.Seed;
        (_script, _random, _trace) = (script, new Random(seed), new SimTrace(Clock));
        ToRelay = new SimLink(() => Relay!.Spool, Clock, new Random(seed + 1));
        ToTarget = new SimLink(() => Target!.Receiver, Clock, new Random(seed + 2)) { Arrived = LookSoon };
        Source = new SimSource(Clock, new Random(seed + 3), ToRelay);
        Relay = new SimRelay(Clock, new Random(seed + 5), this);
        Target = new SimTarget(Clock, new Random(seed + 6), this);
        Hosts = [Source, Relay, Target];
        foreach (var host in Hosts) host.Traced = _trace.Add;
        _chaos = new SimChaos(this, script);
    }

    internal SimClock Clock { get; } = new();
    internal SimSource Source { get; }
    internal SimRelay Relay { get; }
    internal SimTarget Target { get; }
    internal IReadOnlyList<SimHost> Hosts { get; }
    internal SimLink ToRelay { get; }
    internal SimLink ToTarget { get; }
    internal RetentionStore? Store => Target.Store;
    /// <summary>The newest sequence that the source has been told is durable.</summary>
    internal long DurableHeard { get; private set; }

    internal SimHost HostOf(string name) => Hosts.First(h => h.Name == name);

    /// <summary>Runs with faults, then without, until everything is at the target. What it returns is the same for the same script.</summary>
    internal async Task<string> RunAsync()
    {
        var faulty = TimeSpan.FromMilliseconds(_script.Until);
        foreach (var host in Hosts) await host.StartAsync();
        _ = EveryAsync(40, faulty, Guest);
        _ = _chaos.RunAsync();
        _ = EveryAsync(2000, faulty + TimeSpan.FromMinutes(5), Look);
        await SimScheduler.RunAsync(Clock, faulty, () => _violation is null);
        _chaos.Heal();
        var deadline = Clock.Elapsed + Patience;
        while (_violation is null && Clock.Elapsed < deadline && !Liveness.IsProtected(this)) await SimScheduler.RunAsync(Clock, Clock.Elapsed + TimeSpan.FromSeconds(1), () => _violation is null);
        if (_violation is not null) throw _violation;
        Liveness.Check(this);
        Prefix.CheckAll(this);
        return $"{Source.Writes} writes, {_chaos.Faults} faults, {Store!.PointCount} points, trace {_trace.Hash:x16}";
    }

    private void Guest()
    {
        for (var i = _random.Next(6); i > 0; i--) Source.Write();
        if (Source.Capture is { } capture) DurableHeard = Math.Max(DurableHeard, capture.Status().Durable.Value);
    }

    private void Look()
    {
        Bounded.Check(this);
        Unbroken(() => Store?.Maintain(new RetentionLimits(TimeSpan.FromSeconds(40), null), CancellationToken.None));
        Unbroken(CheckStore);
    }

    private void CheckStore()
    {
        DurableAck.Check(this);
        Prefix.CheckNewest(this);
        Prefix.CheckAny(this, _random);
        NeverSilentlyWrong.Check(this);
    }

    /// <summary>A position that is shown for a moment only is looked at in that moment.</summary>
    private void LookSoon() => _ = EveryAsync(1, Clock.Elapsed + TimeSpan.FromMilliseconds(1), () => Unbroken(() => Prefix.CheckNewest(this)));

    /// <summary>Where a disk says that it fails, nothing is shown that could be wrong.</summary>
    private static void Unbroken(Action look)
    {
        try
        {
            look();
        }
        catch (IOException)
        {
            // Full, or broken for now.
        }
    }

    private async Task EveryAsync(int milliseconds, TimeSpan until, Action act)
    {
        try
        {
            for (; Clock.Elapsed < until; await Task.Delay(TimeSpan.FromMilliseconds(_random.Next(1, 2 * milliseconds)), Clock)) act();
        }
        catch (SimViolation found)
        {
            _violation ??= found;
        }
        catch (Exception failed)
        {
            _violation ??= new SimViolation("no exception", failed.ToString());
        }
    }
}
