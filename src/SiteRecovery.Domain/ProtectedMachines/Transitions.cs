using System.Collections.Immutable;
using SiteRecovery.Domain.Results;
using Act = SiteRecovery.Domain.ProtectedMachines.MachineActions;

namespace SiteRecovery.Domain.ProtectedMachines;

/// <param name="Code">A <see cref="RefusalCode"/>; null when allowed, as are reason and remedy.</param>
public sealed record ActionAvailability(string Action, bool Allowed, string? Code = null, string? Reason = null, string? Remedy = null);

/// <summary>What beside the phase decides on what is allowed.</summary>
/// <param name="TestRuns">A test failover runs beside the phase.</param>
/// <param name="FromReplica">The machine has been failed over and reversed: its source is a replica.</param>
/// <param name="StoreIsBehind">The target's store has not taken in yet what its own side wrote.</param>
/// <param name="Flattened">The disks of the replica that is the machine are raw files of their own.</param>
/// <param name="Unservable">The replica that is the machine cannot be served, and trying again does not help.</param>
public readonly record struct Circumstances(bool TestRuns, bool FromReplica, bool StoreIsBehind = false, bool Flattened = false, bool Unservable = false);

/// <summary>
/// THE table: state × action → allowed, or why not and what to do. Refusals, the API, greyed buttons and the CLI's hints
/// all read it; Transitions.approved.md in the tests shows the whole of it.
/// </summary>
public static class Transitions
{
    public static ImmutableArray<ActionAvailability> Allowed(Phase phase, Circumstances beside) => [.. Act.All.Select(action => Of(phase, action, beside))];

    public static ImmutableArray<string> AllowedNames(Phase phase, Circumstances beside) => [.. Allowed(phase, beside).Where(a => a.Allowed).Select(a => a.Action)];

    public static ActionAvailability Of(Phase phase, string action, Circumstances beside)
    {
        var refusal = action switch
        {
            Act.Enable => Enable(phase),
            Act.Disable when beside.TestRuns => ("A test failover runs on the retention store that disabling would remove.", "Clean the test failover up first."),
            Act.Disable when phase is Phase.FailedOver && beside.FromReplica => ("The replica that was left is not taken in yet.", "Reverse the replication first; with full if that site is lost."),
            // Nobody could flatten what cannot be served: what is left of it is handed over as it is.
            Act.Disable when ((phase is Phase.FailedOver && !beside.Unservable) || (beside.FromReplica && phase is Phase.Protected or Phase.Paused or Phase.Resynchronizing or Phase.ResynchronizationRequired)) && !beside.Flattened =>
                ("The machine's disks are not raw files yet: what nobody wrote since the failover is read out of the retention store.", "Wait until the job 'flatten' has ended."),
            Act.Disable => Disable(phase),
            Act.Pause => Pause(phase),
            Act.Resume => Resume(phase),
            Act.Resynchronize => Resynchronize(phase),
            // The layer of the replica that was left lies beside that store, in none of its points, and a new replica there would take its place.
            Act.UnplannedFailover when beside.StoreIsBehind && phase is Phase.ReverseReplicating =>
                ("The target's store has not taken in yet what its own side wrote.", "Wait for the job's step continue-store; if the source is lost, reverse the replication again, with full."),
            Act.UnplannedFailover => UnplannedFailover(phase),
            Act.Commit => Commit(phase),
            Act.TestFailover => TestFailover(phase),
            Act.ReverseReplicate when beside.TestRuns => ("A test failover runs on the store beside the replica.", "Clean the test failover up first."),
            Act.PlannedFailover => PlannedFailover(phase),
            Act.CancelFailover => CancelFailover(phase),
            // Nothing is there yet that would be lost: where its master target does not come to it, another one may.
            Act.ReverseReplicate when phase is Phase.ReverseReplicating && beside.StoreIsBehind => null,
            Act.ReverseReplicate => ReverseReplicate(phase),
            Act.TestFailoverCleanup => beside.TestRuns ? ((string, string)?)null : ("No test failover runs.", "Nothing needs to be done."),
            Act.ChangeRecoveryPoint => ChangeRecoveryPoint(phase),
            _ => throw new ArgumentOutOfRangeException(nameof(action), action, "no such action"),
        };
        return refusal is var (reason, remedy)
            ? new(action, false, RefusalCode.NotAllowedInState, reason, remedy)
            : new(action, true);
    }

    private static (string Reason, string Remedy)? Enable(Phase phase) => phase switch
    {
        Phase.Unprotected { StoreRemovalPending: false } => null,
        Phase.Unprotected => ("The retention store of its former protection is still being removed.", "Wait until the disable job has ended; where its master target is gone for good, join a new node under the same name."),
        _ => ("The machine is protected already.", "To protect it differently, disable protection first."),
    };

    private static (string, string)? Disable(Phase phase) => phase switch
    {
        Phase.InitialReplication or Phase.Protected or Phase.Paused or Phase.ResynchronizationRequired or Phase.Resynchronizing or Phase.FailedOver => null,
        Phase.Unprotected => NotProtected,
        Phase.UnplannedFailoverInProgress { Failure: not null } => ("The retention store holds the only copy of the points.", "Repeat the unplanned failover, with another point if need be."),
        Phase.PlannedFailoverInProgress or Phase.UnplannedFailoverInProgress => FailoverRuns,
        Phase.ReverseReplicating => ReverseRuns,
        _ => ("The replica runs on the retention store that disabling would remove.", "Commit the failover; when its disks are flattened, protection can end."),
    };

    private static (string, string)? Pause(Phase phase) => phase switch
    {
        Phase.InitialReplication or Phase.Protected or Phase.Resynchronizing => null,
        Phase.Paused => ("Replication is paused already.", "Resume it when it should go on."),
        Phase.ResynchronizationRequired => ("Nothing is being sent until a resynchronization starts.", "Resynchronize first; that can be paused."),
        Phase.ReverseReplicating => ReverseRuns,
        _ => NoDelta(phase),
    };

    private static (string, string)? Resume(Phase phase) => phase switch
    {
        Phase.Paused => null,
        Phase.ResynchronizationRequired => ("Replication is not paused; source and target have diverged.", "Resynchronize."),
        Phase.InitialReplication or Phase.Protected or Phase.Resynchronizing or Phase.ReverseReplicating => ("Replication is not paused.", "Nothing needs to be done."),
        _ => NoDelta(phase),
    };

    private static (string, string)? Resynchronize(Phase phase) => phase switch
    {
        Phase.Protected or Phase.ResynchronizationRequired => null,
        Phase.InitialReplication => ("The initial replication is still under way and compares every block anyway.", "Wait until it completes."),
        Phase.Resynchronizing => ("A resynchronization is under way already.", "Wait until it completes."),
        Phase.ReverseReplicating => ReverseRuns,
        Phase.Paused => ("Replication is paused.", "Resume first; a resynchronization that has become necessary starts with it."),
        _ => NoDelta(phase),
    };

    private static (string, string)? UnplannedFailover(Phase phase) => phase switch
    {
        Phase.Protected or Phase.ResynchronizationRequired or Phase.Resynchronizing or Phase.ReverseReplicating => null,
        Phase.Paused { ResumesTo: not ResumeTo.InitialReplication } => null,
        Phase.UnplannedFailoverInProgress { Failure: not null } => null,
        Phase.Unprotected => NotProtected,
        Phase.InitialReplication or Phase.Paused => NoPointYet,
        Phase.PlannedFailoverInProgress or Phase.UnplannedFailoverInProgress => FailoverRuns,
        _ => ("The machine has failed over already.", "Its replica is at the target; see its exports."),
    };

    private static (string, string)? PlannedFailover(Phase phase) => phase switch
    {
        Phase.Protected => null,
        Phase.Unprotected => NotProtected,
        Phase.InitialReplication or Phase.Paused { ResumesTo: ResumeTo.InitialReplication } => NoPointYet,
        Phase.Paused => ("Replication is paused, so that the target lacks writes.", "Resume, and wait until the machine is protected."),
        Phase.ResynchronizationRequired => ("Source and target have diverged.", "Resynchronize first; if the source is lost, start an unplanned failover."),
        Phase.Resynchronizing => ("A resynchronization is under way.", "Wait until it completes; if the source is lost, start an unplanned failover."),
        Phase.ReverseReplicating => ReverseRuns,
        Phase.PlannedFailoverInProgress or Phase.UnplannedFailoverInProgress => FailoverRuns,
        _ => ("The machine has failed over already.", "Commit, and reverse the replication; then it can be moved back."),
    };

    private static (string, string)? CancelFailover(Phase phase) => phase switch
    {
        // Its target may never come to begin it, or to run it. What a replica wrote that ran before is laid over nothing but the point that it ran from: the store knows whether it is still there.
        Phase.PlannedFailoverInProgress or Phase.UnplannedFailoverInProgress or Phase.FailoverCommitPending => null,
        Phase.Unprotected => NotProtected,
        Phase.FailedOver => ("The failover is committed.", "Reverse the replication, then move the machine back with a planned failover."),
        Phase.ReverseReplicating => ("The failover is committed, and the replication reversed.", "Wait until it completes, then move the machine back with a planned failover."),
        _ => ("There is no failover to cancel.", "Nothing needs to be done."),
    };

    private static (string, string)? ReverseReplicate(Phase phase) => phase switch
    {
        Phase.FailedOver or Phase.ReverseReplicating { Full: false } => null,
        Phase.Unprotected => NotProtected,
        Phase.FailoverCommitPending => ("The failover is not committed.", "Commit it first."),
        Phase.ReverseReplicating => (ReverseRuns.Item1, "Wait until it completes; where its master target is gone for good, join a new node under the same name."),
        Phase.PlannedFailoverInProgress or Phase.UnplannedFailoverInProgress => FailoverRuns,
        _ => ("The machine has not failed over.", "Fail over and commit first."),
    };

    private static (string, string)? Commit(Phase phase) => phase switch
    {
        Phase.FailoverCommitPending => null,
        Phase.FailedOver or Phase.ReverseReplicating => ("The failover is committed already.", "Nothing needs to be done."),
        Phase.PlannedFailoverInProgress or Phase.UnplannedFailoverInProgress => ("The replica does not run yet.", "Wait until the failover job has ended, look at the replica, then commit."),
        Phase.Unprotected => NotProtected,
        _ => ("There is no failover to commit.", "Fail over first."),
    };

    private static (string, string)? TestFailover(Phase phase) => phase switch
    {
        Phase.Unprotected => NotProtected,
        Phase.InitialReplication or Phase.Paused { ResumesTo: ResumeTo.InitialReplication } => NoPointYet,
        Phase.ReverseReplicating => ReverseRuns,
        _ => null,
    };

    private static (string, string)? ChangeRecoveryPoint(Phase phase) => phase switch
    {
        Phase.FailoverCommitPending => null,
        Phase.Unprotected => NotProtected,
        Phase.UnplannedFailoverInProgress { Failure: not null } => ("The failover has failed.", "Repeat the unplanned failover with the point you want."),
        Phase.PlannedFailoverInProgress or Phase.UnplannedFailoverInProgress => FailoverRuns,
        Phase.FailedOver or Phase.ReverseReplicating => ("The failover is committed; its point is final.", "Start a test failover from the point to look at it."),
        _ => ("There is no failover whose point could be changed.", "Fail over, and name the point there."),
    };

    private static (string, string) NoPointYet => ("The target has no consistent point until the initial replication completes.", "Let the initial replication complete.");

    private static (string, string) NotProtected => ("The machine is not protected.", "Enable protection first.");

    private static (string, string) ReverseRuns => ("The reverse replication is under way.", "Wait until it completes.");

    private static (string, string) FailoverRuns => ("A failover is in progress.", "Wait until its job has ended, or cancel it if that is allowed.");

    private static (string, string)? NoDelta(Phase phase) => phase switch
    {
        Phase.Unprotected => NotProtected,
        Phase.PlannedFailoverInProgress or Phase.UnplannedFailoverInProgress => FailoverRuns,
        _ => ("The machine has failed over; nothing is replicated from the old source any more.", "See the allowed actions."),
    };
}
