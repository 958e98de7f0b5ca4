using SiteRecovery.DataPlane.Retention;
using SiteRecovery.Domain.History;
using SiteRecovery.Simulation.World;

namespace SiteRecovery.Simulation.Checkers;

/// <summary>The replica at a position equals the source's disks after exactly a prefix of the acknowledged writes of its epoch.</summary>
internal static class Prefix
{
    private static readonly byte[] Shown = new byte[SimSource.DiskCount * SimSource.DiskBytes];

    internal static void CheckNewest(SimMachine machine, RetentionStore store)
    {
        if (store.ConsistentUpTo is { } newest) Check(machine, store, newest);
    }

    /// <summary>One of its points, or one position between the oldest and the newest of them, if it may be viewed.</summary>
    internal static void CheckAny(SimMachine machine, RetentionStore store, Random random)
    {
        if (store.ConsistentUpTo is not { } newest || store.Points is not { Count: > 0 } points) return;
        var (from, to) = (points[0].Sequence.Value, newest.Sequence.Value);
        if (from < to && random.Next(2) == 0) Check(machine, store, newest with { Sequence = new Sequence(random.NextInt64(from, to)) }, maybe: true);
        else Check(machine, store, points[random.Next(points.Count)]);
    }

    internal static void CheckAll(SimMachine machine, RetentionStore store)
    {
        foreach (var point in (RecoveryPoint[])[.. store.ConsistentUpTo is { } newest ? [newest] : Array.Empty<RecoveryPoint>(), .. store.Points])
        {
            try
            {
                Check(machine, store, point);
            }
            catch (IOException) when (machine.Sites.Rot.Was)
            {
                // A point that has lost something says so; of the last segment, which no scrub has read yet, also the newest.
            }
        }
    }

    private static void Check(SimMachine machine, RetentionStore store, RecoveryPoint point, bool maybe = false)
    {
        machine.Guest.Meet();
        var ledgers = machine.Guest.LedgersOf(point).ToArray();
        if (ledgers.Length == 0) return;
        StoreView view;
        try
        {
            view = store.At(point);
        }
        catch (InvalidDataException) when (maybe)
        {
            return;
        }
        var shown = Shown;
        try
        {
            for (ushort disk = 0; disk < SimSource.DiskCount; disk++) view.File(disk).Read(0, shown.AsSpan(disk * SimSource.DiskBytes, SimSource.DiskBytes));
        }
        finally
        {
            view.Release();
        }
        var from = ledgers.Min(l => l.FirstDifference(point.Sequence.Value, shown));
        if (from >= 0) throw new SimViolation("prefix", $"{point.Id} {point.Label} of the store in {store.Folder} in epoch {store.CurrentEpoch}{(store == machine.StoreOfTarget ? ", the target's," : "")} shows other bytes than the ledger, from {from} on: {ledgers[0]}");
    }
}
