using SiteRecovery.Domain.ProtectedMachines;
using SiteRecovery.Simulation.World;

namespace SiteRecovery.Simulation.Checkers;

/// <summary>An unplanned failover ends with a replica that runs, or with a reason, whatever becomes of the primary site: only the secondary's own host may keep it waiting.</summary>
internal sealed class SecondaryAlone
{
    private static readonly TimeSpan Bound = TimeSpan.FromSeconds(30);
    private TimeSpan? _since;
    private (int Life, int Felt, int Configuration) _host;

    internal void Check(SimMachine machine, ProtectedMachine state)
    {
        var waits = state.Phase is Phase.UnplannedFailoverInProgress { Failure: null } && state.Protection?.TargetSite == SimSites.Secondary && machine.Sites.Target.IsUp && machine.Sites.Target.Faults.AreNone;
        // A point that was there when it was chosen may be thinned away, or be older than what is kept, before that is written down: whoever chose it is told which are left.
        if (state.Phase is Phase.UnplannedFailoverInProgress { Failure: { } failure } && !IsPassed(failure) && state.Protection?.TargetSite == SimSites.Secondary && !machine.Sites.Target.Faults.WereFelt && !machine.Sites.Rot.WasAt(machine.Sites.Target.Name))
            throw new SimViolation("secondary alone", $"an unplanned failover failed, though nothing has ever been wrong with the secondary's disks: {failure}");
        // What was ahead of its disk for long may come while the failover writes, one after another; and its configuration server, or that one's database, may fail as often.
        var host = (machine.Sites.Target.Lives, machine.Sites.Target.Faults.Felt, machine.Sites.Control.Disturbed);
        if (!waits || _host != host) (_since, _host) = (null, host);
        if (!waits) return;
        _since ??= machine.Sites.Clock.Elapsed;
        if (machine.Sites.Clock.Elapsed - _since > Bound)
            throw new SimViolation("secondary alone", $"an unplanned failover waits for {Bound.TotalSeconds} s: {string.Join("; ", state.Problems.Select(p => p.Reason))}");
    }

    private static bool IsPassed(string failure) => failure.Contains("was thinned away", StringComparison.Ordinal) || failure.Contains("is from before what this store keeps", StringComparison.Ordinal);
}
