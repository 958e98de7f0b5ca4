using SiteRecovery.Domain.ProtectedMachines;
using SiteRecovery.Simulation.World;

namespace SiteRecovery.Simulation.Checkers;

/// <summary>
/// What was failed over to runs until something else is asked for: only the secondary's own host may keep it from that. A master target that was killed serves it again by itself, with no configuration server
/// there to say so. Nor does a failover that leads away from it end it before its target has begun.
/// </summary>
internal sealed class ReplicaRuns
{
    private static readonly TimeSpan Bound = TimeSpan.FromSeconds(30);
    /// <summary>So long after the configuration server's death all that it had ordered is done.</summary>
    private static readonly TimeSpan Settled = TimeSpan.FromSeconds(5);
    private bool _isToRun, _ranUnmanned;
    private TimeSpan? _since, _unmanned;
    private int _powerLosses;
    private (int Life, int Felt, int Configuration) _host;

    internal void Check(SimMachine machine)
    {
        var (target, now, runs) = (machine.Sites.Target, machine.Sites.Clock.Elapsed, machine.ReplicaAt(machine.Sites.Target.Room) is { HasFailed: false });
        Learn(machine.State, target, now, runs);
        var isKnown = machine.State is not null || (_ranUnmanned && target.PowerLosses == _powerLosses); // behind a loss of power whoever starts the machine says so
        var waits = _isToRun && isKnown && !runs && target.IsUp && target.Faults.AreNone && !machine.Sites.Rot.WasAt(target.Name);
        var host = (target.Lives, target.Faults.Felt, machine.Sites.Control.Disturbed);
        if (!waits || _host != host) (_since, _host) = (null, host);
        if (!waits) return;
        _since ??= now;
        if (now - _since > Bound)
            throw new SimViolation("secondary alone", $"the replica does not run for {Bound.TotalSeconds} s: {machine.State?.Phase.Name ?? "nobody manages it"}, {string.Join("; ", machine.State?.Problems.Select(p => p.Reason) ?? [])}");
    }

    private void Learn(ProtectedMachine? state, SimHost target, TimeSpan now, bool runs)
    {
        if (state is not null)
        {
            _isToRun = state is { Phase: Phase.FailoverCommitPending or Phase.FailedOver, Protection.TargetSite: var site } && site == SimSites.Secondary || IsSource(state);
            (_unmanned, _ranUnmanned, _powerLosses) = (null, false, target.PowerLosses);
            return;
        }
        _unmanned ??= now;
        _ranUnmanned |= runs && now - _unmanned > Settled;
    }

    /// <summary>The machine is the secondary's replica. Where a failover was cancelled that had begun, and while a planned one stops it, it waits.</summary>
    private static bool IsSource(ProtectedMachine state) => state.Protection is { Replica: not null, SourceSite: var site } && site == SimSites.Secondary && state.Phase switch
    {
        Phase.UnplannedFailoverInProgress { EpochIsOpen: false } => state.StoreEpoch <= state.SourceEpoch,
        Phase.Paused or Phase.ResynchronizationRequired or Phase.Resynchronizing => state.Continuation is not { Fold: not null },
        Phase.Protected or Phase.ReverseReplicating => true,
        _ => false,
    };
}
