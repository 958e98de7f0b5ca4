using SiteRecovery.Domain.History;
using SiteRecovery.Domain.ProtectedMachines;
using SiteRecovery.Simulation.World;

namespace SiteRecovery.Simulation.Checkers;

/// <summary>A planned failover loses no write: none is acknowledged in the epoch that it ends beyond the point that it begins at, before or after.</summary>
internal sealed class PlannedFailovers
{
    private readonly HashSet<RecoveryPoint> _points = [];

    internal void Check(SimMachine machine, ProtectedMachine state)
    {
        if (state.Phase is Phase.PlannedFailoverInProgress { Point: { } point }) _points.Add(point);
        // It may have been done between two looks.
        if (state.Phase is Phase.FailoverCommitPending { Point: var moved } && state.Jobs.FindByEpoch(state.Epoch)?.Action == MachineActions.PlannedFailover) _points.Add(moved);
        foreach (var at in _points)
            if (machine.Guest.LedgerOf(at.Epoch)?.FirstAfter(at.Sequence.Value) is { } lost)
                throw new SimViolation("one writer", $"the source was moved at {at.Id}, and {lost.Sequence} was acknowledged in that epoch");
    }
}
