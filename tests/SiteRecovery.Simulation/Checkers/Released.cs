using SiteRecovery.Actors.MasterTargets;
using SiteRecovery.Simulation.World;

namespace SiteRecovery.Simulation.Checkers;

/// <summary>A replica whose protection has ended is the machine: its raw files hold what its guest was told is there.</summary>
internal static class Released
{
    /// <param name="folder">Of a release that has just been confirmed.</param>
    internal static void Check(SimMachine machine, MasterTargetRoom room, string folder, string host)
    {
        if (machine.Guest.LastLedgerAt(host) is not { } ledger) return;
        var content = new byte[SimSource.DiskCount * SimSource.DiskBytes];
        for (var disk = 0; disk < SimSource.DiskCount; disk++)
        {
            var raw = room.Files.TryReadAll(Path.Combine(folder, $"disk-{disk}.raw"));
            if (raw?.Length != SimSource.DiskBytes) throw new SimViolation("durable ack", $"the released replica in {folder} has no disk {disk}, or one of {raw?.Length} bytes");
            raw.CopyTo(content, disk * SimSource.DiskBytes);
        }
        if (ledger.FirstLost(content) is >= 0 and var lost) throw new SimViolation("durable ack", $"the released replica in {folder} lacks what its guest was told is there, at {lost}");
    }
}
