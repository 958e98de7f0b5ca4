using SiteRecovery.DataPlane.Capture;
using SiteRecovery.Simulation.World;

namespace SiteRecovery.Simulation.Checkers;

/// <summary>Once nothing is broken any more, everything comes to the target.</summary>
internal static class Liveness
{
    internal static bool IsProtected(SimSites sites) => sites.Source.Capture?.Status() is { Complete: true, Mode: CaptureMode.Streaming, DirtyBytes: 0 } status && status.Durable == status.Newest;

    internal static void Check(SimSites sites)
    {
        if (!IsProtected(sites)) throw new SimViolation("liveness", $"after the faults: {sites.Source.Capture?.Status()}; spool {sites.Relay.Spool?.StatusOf(SimSites.Machine)}; store {sites.Store?.FailedReason}");
        if (sites.Source.Ledger.FirstDifference(sites.Store!.ConsistentUpTo!.Sequence.Value, sites.Source.Content()) >= 0) throw new SimViolation("liveness", "the target has come to something else than the source");
    }
}
