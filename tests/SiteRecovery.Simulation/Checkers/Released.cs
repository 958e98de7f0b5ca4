using System.Globalization;
using SiteRecovery.Actors.MasterTargets;
using SiteRecovery.Simulation.World;

namespace SiteRecovery.Simulation.Checkers;

/// <summary>A replica whose protection has ended is the machine: its raw files hold what its guest was told is there.</summary>
internal static class Released
{
    private const string Layer = "epoch-";

    /// <summary>Of a store that was kept whole, a segment's map is made of it again, and its name may go with the power; and so may what was about to become a file.</summary>
    internal static bool IsKept(string file) => !file.EndsWith(".tmp", StringComparison.Ordinal) && !(file.EndsWith(".map", StringComparison.Ordinal) && Path.GetFileName(Path.GetDirectoryName(file)) == "log");

    /// <summary>Nobody but its owner takes it away: raw files, or, of what could not be served any more, the store that it lay in.</summary>
    internal static void CheckStay(SimHost host, string[] files)
    {
        if (Array.Find(files, f => !host.Disk.Exists(f)) is { } gone) throw new SimViolation("durable ack", $"of a released replica {gone} is gone at {host.Name}");
    }

    /// <param name="folder">Of a release that was confirmed; by now the machine may have been protected and released again.</param>
    /// <param name="begun">The epochs in which a protection began.</param>
    internal static void Check(SimMachine machine, MasterTargetRoom room, string folder, string host, SortedSet<long> begun)
    {
        // A replica goes on in a later epoch when a failover away from it is cancelled, as long as its protection lasts.
        var first = long.Parse(Path.GetFileName(folder).AsSpan(Layer.Length), CultureInfo.InvariantCulture);
        var next = begun.FirstOrDefault(b => b > first, long.MaxValue);
        if (machine.Guest.LastLedgerAt(host, first, next) is not { } ledger) return;
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
