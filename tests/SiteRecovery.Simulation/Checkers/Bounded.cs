using SiteRecovery.Actors.ProcessServers;
using SiteRecovery.Simulation.World;

namespace SiteRecovery.Simulation.Checkers;

/// <summary>What waits in the process server keeps within its limit.</summary>
internal static class Bounded
{
    private const long FrameBytesMax = 2 << 20;

    internal static void Check(SimSites sites)
    {
        // A frame that is being taken is not yet counted, of each machine one.
        foreach (var room in sites.Relays.Select(r => r.Room).OfType<ProcessServerRoom>())
            if (sites.Machines.Sum(m => room.Spool.StatusOf(m.Id)?.Bytes ?? 0) is var waits && waits > SimRelay.SpoolBytesMax + sites.Machines.Count * FrameBytesMax)
                throw new SimViolation("bounded", $"{waits} bytes wait in the spool");
    }
}
