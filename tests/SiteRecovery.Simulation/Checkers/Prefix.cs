using SiteRecovery.DataPlane.Retention;
using SiteRecovery.Domain.History;
using SiteRecovery.Simulation.World;

namespace SiteRecovery.Simulation.Checkers;

/// <summary>The replica at a recovery point equals the source's disk after exactly a prefix of the acknowledged writes.</summary>
internal static class Prefix
{
    internal static void CheckNewest(SimSites sites)
    {
        if (sites.Store is { ConsistentUpTo: { } newest } store) Check(sites, store, newest);
    }

    internal static void CheckAll(SimSites sites)
    {
        CheckNewest(sites);
        foreach (var point in sites.Store!.Points) Check(sites, sites.Store, point);
    }

    private static void Check(SimSites sites, RetentionStore store, RecoveryPoint point)
    {
        var view = store.At(point);
        var (shown, expected) = (new byte[SimSource.DiskBytes], sites.Source.Ledger.At(point.Sequence.Value));
        view.File(0).Read(0, shown);
        view.Release();
        if (!shown.AsSpan().SequenceEqual(expected)) throw new SimViolation("prefix", $"{point.Id} shows other bytes than the ledger, from {shown.AsSpan().CommonPrefixLength(expected)} on");
    }
}
