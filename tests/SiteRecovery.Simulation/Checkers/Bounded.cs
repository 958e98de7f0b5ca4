using SiteRecovery.Simulation.World;

namespace SiteRecovery.Simulation.Checkers;

/// <summary>What waits in the process server keeps within its limit.</summary>
internal static class Bounded
{
    private const long FrameBytesMax = 2 << 20;

    internal static void Check(SimSites sites)
    {
        if (sites.Relay.Room?.Spool.StatusOf(SimSites.Machine) is { Bytes: > SimRelay.SpoolBytesMax + FrameBytesMax } status) throw new SimViolation("bounded", $"{status.Bytes} bytes wait in the spool");
    }
}
