using SiteRecovery.Domain.History;
using SiteRecovery.Domain.ProtectedMachines;
using SiteRecovery.Domain.Vaults;
using SiteRecovery.Simulation.World;

namespace SiteRecovery.Simulation.Checkers;

/// <summary>What was written to a replica whose failover is cancelled is kept as a recovery point.</summary>
internal sealed class LosingSides
{
    /// <summary>Seen no later: it may be thinned away as any other.</summary>
    private static readonly TimeSpan AtOnce = TimeSpan.FromSeconds(2);
    private Replica? _ran;

    /// <summary>One that ran until its failover was cancelled, and is not taken in yet.</summary>
    private sealed record Replica(Epoch Epoch, SiteName? Site, int PowerLosses, TimeSpan SeenAt);

    internal void Check(SimMachine machine, ProtectedMachine state)
    {
        var (now, site) = (machine.Sites.Clock.Elapsed, state.Protection?.TargetSite);
        SimHost host = site == SimSites.Primary ? machine.Sites.Source : machine.Sites.Target;
        if (state.Phase is Phase.FailoverCommitPending)
        {
            _ran = new Replica(state.Epoch, site, _ran?.Epoch == state.Epoch ? _ran.PowerLosses : host.PowerLosses, now);
            return;
        }
        if (_ran is not { } ran) return;
        // Behind a change of its point or a commit it is not.
        var isCancelled = state.Phase is Phase.Resynchronizing or Phase.ResynchronizationRequired or Phase.Protected or Phase.Paused && state.Epoch.Value == ran.Epoch.Value + 1 && site == ran.Site;
        _ran = isCancelled && state.Continuation is not null ? ran with { SeenAt = now } : null;
        if (isCancelled && _ran is null && now - ran.SeenAt < AtOnce && host.PowerLosses == ran.PowerLosses && !machine.Sites.Rot.WasAt(host.Name)) CheckKept(machine, host, ran.Epoch, state.Epoch);
    }

    private static void CheckKept(SimMachine machine, SimHost host, Epoch lost, Epoch next)
    {
        if (machine.Guest.LedgerOf(lost) is not { } ledger || ledger.Host != host.Name || ledger.FirstAfter(ledger.First) is null) return;
        if (machine.StoreOfTarget is { } store && store.Points.All(p => p.Label != $"kept when epoch {next} began"))
            throw new SimViolation("never silently wrong", $"what was written to the replica of epoch {lost} at {host.Name}, {ledger}, is not kept by epoch {next}, which it was cancelled for");
    }
}
