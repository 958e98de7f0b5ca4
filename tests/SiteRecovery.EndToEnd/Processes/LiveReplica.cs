using SiteRecovery.DataPlane.Retention;
using SiteRecovery.DataPlane.Storage;
using SiteRecovery.Domain.History;
using SiteRecovery.Node.Demo;

namespace SiteRecovery.EndToEnd.Processes;

/// <summary>Reads a store's folder under a master target that may be writing to it.</summary>
internal static class LiveReplica
{
    internal static async Task<PrefixVerdict> JudgeAsync(string storeFolder, string ledgerPath, int seed, long workingSetBytes, CancellationToken stop)
    {
        using var store = RetentionStore.Open(storeFolder, RealFileSystem.Instance, TimeProvider.System, readOnly: true);
        Assert.Empty(store.Damage);
        var point = store.ResolvePoint(new PointSelector.Latest()) ?? throw new InvalidOperationException("the store holds no consistent point");
        var disk = store.At(point).Disk(0);
        // Read after the point was chosen, so that it knows all that the point may hold.
        var ledger = Ledger.Read(ledgerPath);
        return await PrefixVerdict.JudgeAsync(ledger, seed, store.Disks[0].SizeBytes, async (offset, into) => await disk.ReadAsync(offset, into, stop), workingSetBytes);
    }
}
