using SiteRecovery.Simulation.World;

namespace SiteRecovery.Simulation.Checkers;

/// <summary>A test failover that was cleaned up has left no trace.</summary>
internal static class TestFailovers
{
    internal static void Check(SimSites sites)
    {
        if (sites.Control.Machine is not { Tests.Length: 0 } || sites.Target.Room is not { } room) return;
        if (sites.Target.Disk.Files(room.Stores.FolderOf(SimSites.Machine)).FirstOrDefault(f => f.Contains("/test-", StringComparison.Ordinal)) is { } left)
            throw new SimViolation("test leaves no trace", $"no test failover runs, and there is {left}");
    }
}
