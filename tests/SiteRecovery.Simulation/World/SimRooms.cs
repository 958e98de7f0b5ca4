using SiteRecovery.DataPlane.MasterTarget;
using SiteRecovery.DataPlane.ProcessServer;
using SiteRecovery.DataPlane.Retention;

namespace SiteRecovery.Simulation.World;

/// <summary>The host of the real process server.</summary>
internal sealed class SimRelay(SimClock time, Random random, SimSites sites) : SimHost("relay", time, random)
{
    internal const long SpoolBytesMax = 4 << 20;
    private SpoolTarget? _ending;

    internal SpoolTarget? Spool { get; private set; }

    protected override Task RunAsync()
    {
        Spool = new SpoolTarget(new SpoolOptions { Folder = "/spool", BytesMax = SpoolBytesMax, SegmentBytes = 256 << 10 }, _ => sites.ToTarget, Disk, Clock);
        return Task.CompletedTask;
    }

    protected override void Cut()
    {
        (_ending, Spool) = (Spool, null);
        sites.ToRelay.EndFar("the process server has ended");
        sites.ToTarget.Drop("the process server has ended");
    }

    protected override void End() => _ = _ending?.DisposeAsync().AsTask();
}

/// <summary>The host of the real master target.</summary>
internal sealed class SimTarget(SimClock time, Random random, SimSites sites) : SimHost("target", time, random)
{
    internal StoreReceiver? Receiver { get; private set; }
    internal RetentionStore? Store => Receiver is { } receiver && receiver.Has(SimSites.Machine) ? receiver.StoreOf(SimSites.Machine) : null;

    protected override Task RunAsync()
    {
        Receiver = new StoreReceiver("/stores", Disk, Clock);
        return Task.CompletedTask;
    }

    protected override void Cut()
    {
        Receiver = null;
        sites.ToTarget.EndFar("the master target has ended");
    }

    protected override void End()
    {
        // Nothing of it does anything by itself.
    }
}
