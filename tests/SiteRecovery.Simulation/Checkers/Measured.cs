using SiteRecovery.Actors.ProtectedMachines;
using SiteRecovery.DataPlane.Retention;
using SiteRecovery.Simulation.World;

namespace SiteRecovery.Simulation.Checkers;

/// <summary>What the configuration server says of a machine's store is so: up to when it has everything, that it is damaged, and that it takes no writes.</summary>
internal sealed class Measured(SimMachine machine)
{
    /// <summary>Measurements that come behind what is seen at the store itself, and for how long; those before may have been under way, up to nine seconds.</summary>
    private const int Behind = 8;
    private static readonly TimeSpan Late = TimeSpan.FromSeconds(12);
    private RetentionStore? _store;
    private DateTimeOffset? _last;
    private int _rotten, _failed;
    private TimeSpan _wellUntil, _takesUntil; // when the store was last seen without damage, and taking writes

    internal void Check(MeasuredMachine measured)
    {
        if (measured.Store is not { } told || measured.StoreMeasuredAt is not { } at || at == _last) return;
        _last = at;
        // Once another epoch was forked from it, the writes behind it are nobody's; and where an epoch begins, the time is of the other side's clock.
        if (told.Newest is { } newest && newest.Epoch == told.Epoch && machine.Guest.LedgerOf(newest.Epoch) is { } ledger && machine.Sites.Hosts.All(h => h.Clock.IsTrue) && ledger.FirstAfter(newest.Sequence.Value) is { } missing && missing.At < newest.At)
            throw new SimViolation("never silently wrong", $"it is told that {newest.Id} has all until {newest.At:O}, and it lacks {missing.Sequence} of {missing.At:O}");
        RetentionStore? store = null;
        try
        {
            store = machine.StoreOfTarget;
        }
        catch (IOException)
        {
            // It says so in another way.
        }
        var now = machine.Sites.Clock.Elapsed;
        if (store != _store) (_store, _rotten, _failed) = (store, 0, 0);
        if (store is null) return;
        // Of another one until a moment ago.
        if (told.Epoch != store.CurrentEpoch) (_rotten, _failed) = (0, 0);
        (_rotten, _failed) = (store.Rot.Count > 0 ? _rotten + 1 : 0, store.FailedReason is not null ? _failed + 1 : 0);
        if (_rotten <= 1) _wellUntil = now;
        if (_failed <= 1) _takesUntil = now;
        if (_rotten > Behind && now - _wellUntil > Late && told.Rot is null) throw new SimViolation("never silently wrong", $"the store of {machine.Id} is damaged ({store.Rot[0].Reason}), and nothing is told of it");
        if (_failed > Behind && now - _takesUntil > Late && told.FailedReason is null) throw new SimViolation("never silently wrong", $"the store of {machine.Id} takes no writes ({store.FailedReason}), and nothing is told of it");
    }
}
