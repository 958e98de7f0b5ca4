using System.Collections.Immutable;
using SiteRecovery.Domain.History;
using SiteRecovery.Domain.Vaults;

namespace SiteRecovery.Domain.ProtectedMachines;

/// <summary>What API, CLI and console show of a machine; its jobs are shown apart.</summary>
/// <param name="ActiveSite">Where the machine may write; null when unprotected, and while a failover is in progress.</param>
/// <param name="Direction">"source->target" by site names; null when unprotected.</param>
/// <param name="CanFailOver">The machine could run at the target now: its store was heard lately, works and has a point; of one that was failed over, its replica is served.</param>
/// <param name="SourceFenced">False while the old source has not confirmed that its epoch is over; null when that is not asked of it.</param>
public sealed record ProtectedMachineView(
    string Name, string State, ReplicationHealth Health, TimeSpan? Rpo, DateTimeOffset? RpoUnknownSince,
    SiteName? ActiveSite, string? Direction, SiteName? SourceSite, SiteName? TargetSite, int Epoch, AgentName? Agent, string? Policy,
    ImmutableArray<DiskSpec> Disks, ImmutableArray<DiskExport> Exports, string? FailoverPoint, bool? SourceFenced,
    ImmutableArray<ActionAvailability> AllowedActions, bool CanFailOver)
{
    public static ProtectedMachineView Of(ProtectedMachine machine, ReplicationMeasurement measured, DateTimeOffset now)
    {
        var health = ReplicationHealth.Of(machine, measured, now);
        var protection = machine.Protection;
        var point = PointOf(machine.Phase);
        // While a failover is in progress nobody may write: the old epoch is over, the replica does not run yet.
        SiteName? active = machine.Phase switch
        {
            Phase.Unprotected or Phase.UnplannedFailoverInProgress or Phase.PlannedFailoverInProgress { Drained: not null } => null,
            Phase.FailoverCommitPending or Phase.FailedOver => protection?.TargetSite,
            _ => protection?.SourceSite,
        };
        return new(
            machine.Id.Value, machine.Phase.Name, health, health.Rpo, health.RpoUnknownSince, active,
            protection is null ? null : $"{protection.SourceSite}->{protection.TargetSite}",
            protection?.SourceSite, protection?.TargetSite, machine.Epoch.Value, protection?.Agent, protection?.PolicyName,
            protection?.Disks ?? [], machine.Exports, point?.Id, point is null ? null : machine.Fence is null && machine.FormerFences.IsEmpty,
            Transitions.Allowed(machine.Phase, machine.Circumstances), Can(machine, measured, now));
    }

    /// <summary>What the phase allows says nothing of a target that is gone.</summary>
    private static bool Can(ProtectedMachine machine, ReplicationMeasurement measured, DateTimeOffset now) => ReplicationHealth.IsFresh(measured, now) && machine.Phase switch
    {
        Phase.FailoverCommitPending or Phase.FailedOver => !machine.Exports.IsEmpty,
        _ => Transitions.Of(machine.Phase, MachineActions.UnplannedFailover, machine.Circumstances).Allowed && measured is { NewestConsistentAt: not null, StoreFailure: null },
    };

    private static RecoveryPoint? PointOf(Phase phase) => phase switch
    {
        Phase.UnplannedFailoverInProgress p => p.Point,
        Phase.PlannedFailoverInProgress p => p.Point,
        Phase.FailoverCommitPending p => p.Point,
        Phase.FailedOver p => p.Point,
        _ => null,
    };
}
