using SiteRecovery.DataPlane.Capture;
using SiteRecovery.Simulation.World;

namespace SiteRecovery.Simulation.Checkers;

/// <summary>A source that calls itself complete up to its newest write has that write at the target, where all of it is as at the source.</summary>
internal static class NeverSilentlyWrong
{
    internal static void Check(SimSites sites)
    {
        if (sites.Source.Capture?.Status() is not { Complete: true, Mode: CaptureMode.Streaming } status || status.Durable < status.Newest || sites.Store is not { } store) return;
        if (store.ConsistentUpTo?.Sequence < status.Newest) throw new SimViolation("never silently wrong", $"the source says that {status.Newest} is durable, the target shows {store.ConsistentUpTo}");
    }
}
