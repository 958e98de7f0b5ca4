using SiteRecovery.DataPlane.Storage;
using SiteRecovery.Domain.History;
using SiteRecovery.Domain.Results;

namespace SiteRecovery.Actors.MasterTargets;

/// <summary>Since when a disk has not given what orders need of a point: one bad sector must not keep a failover waiting for ever. Not safe for concurrent calls.</summary>
internal sealed class UnreadableOrders(TimeProvider time)
{
    private readonly Dictionary<(string Kind, Epoch Epoch, string Of), long> _since = [];

    /// <summary>Whether what failed is damaged, or has not been readable for long: whoever ordered it has to choose another point.</summary>
    internal bool IsLost(Work work, Exception failure)
    {
        if (KeyOf(work) is not { } key) return false;
        if (work is ContinueStore)
        {
            // Who takes a layer in tells damage by itself; one that failed later has read it.
            if (failure is UnreadLayerException) _since.TryAdd(key, time.GetTimestamp());
            else _since.Remove(key);
            return false;
        }
        if (work is TakeBackTail or ReleaseReplica)
        {
            // Nothing but its operator ends the one: who tells the tail tells that too, once it has waited. The other is done without.
            if (DiskFailure.IsUnreadable(failure)) _since.TryAdd(key, time.GetTimestamp());
            return false;
        }
        if (DiskFailure.IsDamage(failure)) return true;
        return DiskFailure.IsUnreadable(failure) && !_since.TryAdd(key, time.GetTimestamp()) && IsOverdue(key);
    }

    /// <summary>Whether what the work needs has not been readable for long when it is tried once more.</summary>
    internal bool IsOverdue(Work work) => _since.Count > 0 && KeyOf(work) is { } key && _since.ContainsKey(key) && IsOverdue(key);

    private bool IsOverdue((string Kind, Epoch Epoch, string Of) key) => time.GetElapsedTime(_since[key]) >= DiskFailure.Patience;

    /// <summary>It was done, or nobody asks for it any more.</summary>
    internal void Forget(Work work)
    {
        if (_since.Count > 0 && KeyOf(work) is { } key) _since.Remove(key);
    }

    private static (string Kind, Epoch Epoch, string Of)? KeyOf(Work work) => work switch
    {
        OpenEpoch open => (open.Kind, open.Epoch, open.Point.Id),
        ServeReplica serve => (serve.Kind, serve.Epoch, serve.Point.Id),
        ServeTest test => (test.Kind, test.Epoch, test.Point.Id),
        VerifyTarget verify => (verify.Kind, verify.Epoch, verify.Source.RootHash), // an epoch may have several attempts
        ContinueStore next => (next.Kind, next.Epoch, ""), // also when it may go on without what it could not read
        TakeBackTail tail => (tail.Kind, tail.Epoch, ""),
        ReleaseReplica release => (release.Kind, release.Epoch, ""),
        _ => null,
    };
}
