using SiteRecovery.DataPlane.MasterTarget;
using SiteRecovery.DataPlane.ProcessServer;
using SiteRecovery.DataPlane.Retention;
using SiteRecovery.Domain.History;
using SiteRecovery.Simulation.Checkers;

namespace SiteRecovery.Simulation.World;

/// <summary>One machine's replication, from a seed: the real capture, process server and master target on simulated disks, over a simulated network, on virtual time.</summary>
internal sealed class SimSites
{
    internal const long SpoolBytesMax = 4 << 20;
    internal static readonly MachineId Machine = new("db1");
    private readonly Random _random;
    private readonly SimChaos _chaos;
    private readonly SimTrace _trace;
    private SimDisk _relayDisk = new(), _targetDisk = new();
    private SpoolTarget? _relay;
    private StoreReceiver? _target;
    private SimViolation? _violation;

    internal SimSites(int seed)
    {
        _random = new Random(seed);
        _trace = new SimTrace(Clock);
        ToRelay = new SimLink(() => _relay, Clock, new Random(seed + 1));
        ToTarget = new SimLink(() => _target, Clock, new Random(seed + 2));
        Source = new SimSource(Clock, new Random(seed + 3), ToRelay);
        _chaos = new SimChaos(this, new Random(seed + 4));
    }

    internal SimClock Clock { get; } = new();
    internal SimSource Source { get; }
    internal SimLink ToRelay { get; }
    internal SimLink ToTarget { get; }
    internal SimDisk RelayDisk => _relayDisk;
    internal SimDisk TargetDisk => _targetDisk;
    internal SpoolTarget? Relay => _relay;
    internal RetentionStore? Store => _target is { } target && target.Has(Machine) ? target.StoreOf(Machine) : null;
    /// <summary>The newest sequence that the source has been told is durable.</summary>
    internal long DurableHeard { get; private set; }

    /// <summary>Runs with faults, then without, until everything is at the target. What it returns is the same for the same seed.</summary>
    internal async Task<string> RunAsync(TimeSpan faulty)
    {
        StartTarget();
        StartRelay();
        await Source.StartAsync();
        Trace();
        _ = EveryAsync(40, faulty, Guest);
        _ = _chaos.RunAsync(faulty);
        _ = EveryAsync(2000, faulty + TimeSpan.FromMinutes(5), Look);
        await SimScheduler.RunAsync(Clock, faulty, () => _violation is null);
        _chaos.Heal();
        var deadline = Clock.Elapsed + TimeSpan.FromMinutes(3);
        while (_violation is null && Clock.Elapsed < deadline && !Liveness.IsProtected(this)) await SimScheduler.RunAsync(Clock, Clock.Elapsed + TimeSpan.FromSeconds(1), () => _violation is null);
        if (_violation is not null) throw _violation;
        Liveness.Check(this);
        Prefix.CheckAll(this);
        return $"{Source.Writes} writes, {_chaos.Faults} faults, {Store!.PointCount} points, trace {_trace.Hash:x16}";
    }

    internal void CrashRelay(bool power)
    {
        if (_relay is not { } relay) return;
        Replace(ref _relayDisk, power);
        _relay = null;
        ToRelay.Drop("the process server has ended");
        ToTarget.Drop("the process server has ended");
        _ = relay.DisposeAsync().AsTask();
    }

    internal void CrashTarget(bool power)
    {
        if (_target is null) return;
        Replace(ref _targetDisk, power);
        _target = null;
        ToTarget.Drop("the master target has ended");
    }

    internal void StartRelay() => _relay ??= new SpoolTarget(new SpoolOptions { Folder = "/spool", BytesMax = SpoolBytesMax, SegmentBytes = 256 << 10 }, _ => ToTarget, _relayDisk, Clock);

    internal void StartTarget()
    {
        if (_target is not null) return;
        _target = new StoreReceiver("/stores", _targetDisk, Clock);
        DurableAck.Check(this);
    }

    internal void Trace()
    {
        foreach (var disk in (SimDisk[])[Source.Disk, _relayDisk, _targetDisk]) disk.After = _trace.Add;
    }

    private void Replace(ref SimDisk disk, bool power)
    {
        var image = power ? disk.LosePower(_random.Next()) : disk.Kill();
        disk.TurnOff();
        disk = image;
    }

    private void Guest()
    {
        for (var i = _random.Next(6); i > 0; i--) Source.Write();
        if (Source.Capture is { } capture) DurableHeard = Math.Max(DurableHeard, capture.Status().Durable.Value);
    }

    private void Look()
    {
        try
        {
            Store?.Maintain(new RetentionLimits(TimeSpan.FromSeconds(40), null), CancellationToken.None);
        }
        catch (IOException)
        {
            // The disk is full, say.
        }
        Bounded.Check(this);
        Prefix.CheckNewest(this);
        NeverSilentlyWrong.Check(this);
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
