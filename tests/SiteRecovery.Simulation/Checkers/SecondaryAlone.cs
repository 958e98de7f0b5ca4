using SiteRecovery.Domain.ProtectedMachines;
using SiteRecovery.Simulation.World;

namespace SiteRecovery.Simulation.Checkers;

/// <summary>An unplanned failover ends with a replica that runs, or with a reason, whatever becomes of the primary site: only the secondary's own host may keep it waiting.</summary>
internal sealed class SecondaryAlone
{
    private static readonly TimeSpan Bound = TimeSpan.FromSeconds(30);
    private TimeSpan? _since;
    private int _life;

    internal void Check(SimSites sites, ProtectedMachine machine)
    {
        var waits = machine.Phase is Phase.UnplannedFailoverInProgress { Failure: null } && machine.Protection?.TargetSite == SimSites.Secondary && sites.Target.IsUp && sites.Target.Faults.AreNone;
        if (!waits || _life != sites.Target.Lives) (_since, _life) = (null, sites.Target.Lives);
        if (!waits) return;
        _since ??= sites.Clock.Elapsed;
        if (sites.Clock.Elapsed - _since > Bound)
            throw new SimViolation("secondary alone", $"an unplanned failover waits for {Bound.TotalSeconds} s: {string.Join("; ", machine.Problems.Select(p => p.Reason))}");
    }
}
