namespace SiteRecovery.Simulation.World;

/// <summary>Everything that may go wrong, at any time, and is mended after a while.</summary>
internal sealed class SimChaos(SimSites sites, Random random)
{
    private bool _healed;

    internal int Faults { get; private set; }

    internal async Task RunAsync(TimeSpan until)
    {
        while (!_healed)
        {
            await Task.Delay(TimeSpan.FromMilliseconds(random.Next(100, 8000)), sites.Clock);
            if (sites.Clock.Elapsed >= until) return;
            Faults++;
            _ = OneAsync();
        }
    }

    /// <summary>Nothing is broken any more.</summary>
    internal void Heal()
    {
        _healed = true;
        sites.ToRelay.Mend();
        sites.ToTarget.Mend();
        foreach (var disk in (SimDisk[])[sites.Source.Disk, sites.RelayDisk, sites.TargetDisk]) (disk.CapacityBytes, disk.Cost) = (long.MaxValue, null);
        if (sites.Source.Capture is null) _ = StartSourceAsync();
        sites.StartRelay();
        sites.StartTarget();
        sites.Trace();
    }

    private async Task OneAsync()
    {
        var link = random.Next(2) == 0 ? sites.ToRelay : sites.ToTarget;
        switch (random.Next(10))
        {
            case 0 or 1: link.Drop("reset"); return;
            case 2: link.Break(); break;
            case 3: link.Mute = true; break;
            case 4: sites.Source.Crash(random.Next(2) == 0); break;
            case 5: sites.CrashRelay(random.Next(2) == 0); break;
            case 6 or 7: sites.CrashTarget(random.Next(2) == 0); break;
            case 8:
                var slow = random.Next(3) switch { 0 => sites.Source.Disk, 1 => sites.RelayDisk, _ => sites.TargetDisk };
                slow.Cost = io => sites.Clock.Spend(TimeSpan.FromMicroseconds(io.Kind == IoKind.Flush ? 3000 : 100));
                break;
            default:
                var full = random.Next(2) == 0 ? sites.RelayDisk : sites.TargetDisk;
                full.CapacityBytes = full.UsedBytes + random.Next(64 << 10);
                break;
        }
        await Task.Delay(TimeSpan.FromMilliseconds(random.Next(50, 6000)), sites.Clock);
        if (_healed) return;
        link.Mend();
        foreach (var disk in (SimDisk[])[sites.Source.Disk, sites.RelayDisk, sites.TargetDisk]) (disk.CapacityBytes, disk.Cost) = (long.MaxValue, null);
        if (sites.Source.Capture is null) await StartSourceAsync();
        sites.StartRelay();
        sites.StartTarget();
        sites.Trace();
    }

    private Task StartSourceAsync() => sites.Source.StartAsync();
}
