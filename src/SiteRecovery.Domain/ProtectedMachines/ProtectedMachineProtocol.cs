using System.Collections.Immutable;
using System.Text.Json.Serialization;
using SiteRecovery.Domain.History;
using SiteRecovery.Domain.Jobs;
using SiteRecovery.Domain.Policies;
using SiteRecovery.Domain.Results;
using SiteRecovery.Domain.Vaults;

namespace SiteRecovery.Domain.ProtectedMachines;

/// <summary>Anything addressed to one protected machine; sharding routes by it.</summary>
public interface IForMachine
{
    MachineId Machine { get; }
}

/// <param name="Index">Position in the machine, 0 first; what batches call the disk.</param>
/// <param name="Capture">The agent's capture source: "nbd", "qemu" or "scan".</param>
public sealed record DiskSpec(int Index, string Name, string Path, long SizeBytes, string Capture);

/// <summary>Where a disk of the replica is served, as an NBD URI.</summary>
public sealed record DiskExport(int Disk, string Uri);

// ── Commands ────────────────────────────────────────────────────────────────────────────────────────────────────────

/// <summary>Answered with <see cref="Accepted"/> or <see cref="Refused"/>, after it is durable.</summary>
public abstract record MachineCommand(MachineId Machine, CommandId Id) : IForMachine;

/// <summary>A command of an operator; it becomes a job. <see cref="Transitions"/> says when it is allowed.</summary>
public abstract record OperatorCommand(MachineId Machine, CommandId Id) : MachineCommand(Machine, Id);

/// <param name="TargetNode">The master target that is to hold the store; null: any of the target site.</param>
/// <param name="Definition">What the machine is besides its disks; null: a replica is its disks alone.</param>
public sealed record EnableProtection(
    MachineId Machine, CommandId Id, AgentName Agent, SiteName SourceSite, SiteName TargetSite,
    ImmutableArray<DiskSpec> Disks, string PolicyName, ReplicationPolicy Policy, string? TargetNode = null, string? Definition = null) : OperatorCommand(Machine, Id);

public sealed record DisableProtection(MachineId Machine, CommandId Id) : OperatorCommand(Machine, Id);
public sealed record PauseReplication(MachineId Machine, CommandId Id) : OperatorCommand(Machine, Id);
public sealed record ResumeReplication(MachineId Machine, CommandId Id) : OperatorCommand(Machine, Id);
public sealed record Resynchronize(MachineId Machine, CommandId Id) : OperatorCommand(Machine, Id);

/// <param name="Point">Already resolved against the points the target holds.</param>
public sealed record UnplannedFailover(MachineId Machine, CommandId Id, RecoveryPoint Point) : OperatorCommand(Machine, Id);

public sealed record CommitFailover(MachineId Machine, CommandId Id) : OperatorCommand(Machine, Id);

public sealed record TestFailover(MachineId Machine, CommandId Id, RecoveryPoint Point) : OperatorCommand(Machine, Id);

/// <param name="Test">Null: all that run.</param>
/// <param name="Notes">What was seen, for the record of the drill.</param>
public sealed record TestFailoverCleanup(MachineId Machine, CommandId Id, string? Test = null, string? Notes = null) : OperatorCommand(Machine, Id);

/// <param name="Patience">What is not done after so long is rolled back.</param>
public sealed record PlannedFailover(MachineId Machine, CommandId Id, TimeSpan? Patience = null) : OperatorCommand(Machine, Id)
{
    public static TimeSpan PatienceDefault { get; } = TimeSpan.FromMinutes(10);
    public static TimeSpan PatienceMin { get; } = TimeSpan.FromSeconds(5);
    public static TimeSpan PatienceMax { get; } = TimeSpan.FromHours(24);
}

public sealed record ChangeRecoveryPoint(MachineId Machine, CommandId Id, RecoveryPoint Point) : OperatorCommand(Machine, Id);
public sealed record CancelFailover(MachineId Machine, CommandId Id) : OperatorCommand(Machine, Id);

/// <param name="TargetNode">The master target of the old site that is to hold the store; null: its first, or the one that holds one already.</param>
/// <param name="Full">Compare every block: the old source cannot be asked what it wrote, or its disks are gone.</param>
public sealed record ReverseReplicate(MachineId Machine, CommandId Id, string? TargetNode = null, bool Full = false) : OperatorCommand(Machine, Id);

/// <summary>
/// The policy of this name is so now. Always accepted, and no job: what is no news to the machine, or not its policy, changes nothing. While it is being moved to the other
/// site nothing changes either; it is told again.
/// </summary>
public sealed record ChangePolicy(MachineId Machine, CommandId Id, string PolicyName, ReplicationPolicy Policy) : MachineCommand(Machine, Id);

/// <summary>
/// The data plane says that an effect is there, or why not. Always accepted; one that no longer matters changes nothing,
/// so it may be repeated freely. Its id is only the cause written into the events.
/// </summary>
public abstract record DataPlaneReport(MachineId Machine, CommandId Id) : MachineCommand(Machine, Id);

/// <param name="Round">Of the <see cref="ReplicateFrom"/> that asked for it.</param>
/// <param name="BytesCompared">What was looked at; <paramref name="BytesSent"/>: what differed.</param>
public sealed record SynchronizationCompleted(MachineId Machine, CommandId Id, Epoch Epoch, int Round, Sequence Sequence, long BytesCompared = 0, long BytesSent = 0) : DataPlaneReport(Machine, Id);

/// <summary>The target's prefix and the source's tracking no longer fit together: a delta cannot mend it.</summary>
/// <param name="Round">Of the <see cref="ReplicateFrom"/> under way; a report of an earlier round is old news.</param>
public sealed record DivergenceReported(MachineId Machine, CommandId Id, Epoch Epoch, int Round, string Reason) : DataPlaneReport(Machine, Id);

/// <summary>A planned failover's source waits for something.</summary>
/// <param name="Stopped">How the machine was seen not to run any more; null: that is what is waited for.</param>
public sealed record DrainWaits(MachineId Machine, CommandId Id, Epoch Epoch, int Round, string Reason, string? Stopped = null) : DataPlaneReport(Machine, Id);

/// <summary>The source takes no writes, all of them are durable at the target, and this is the root hash of its disks.</summary>
/// <param name="Stopped">As in <see cref="DrainWaits"/>.</param>
public sealed record SourceDrained(MachineId Machine, CommandId Id, Epoch Epoch, int Round, DrainedSource Source, string? Stopped = null) : DataPlaneReport(Machine, Id);

/// <summary>The source, still where <paramref name="Source"/> says, takes no write until a later order lets it: however long it hears nothing.</summary>
public sealed record SourceHeld(MachineId Machine, CommandId Id, Epoch Epoch, int Round, DrainedSource Source) : DataPlaneReport(Machine, Id);

/// <summary>The drained source heard nothing for so long that it took up its writes again.</summary>
public sealed record DrainLapsed(MachineId Machine, CommandId Id, Epoch Epoch, int Round, string Reason) : DataPlaneReport(Machine, Id);

/// <param name="Point">The target's point that has the source's hash.</param>
public sealed record TargetVerified(MachineId Machine, CommandId Id, Epoch Epoch, RecoveryPoint Point, string RootHash) : DataPlaneReport(Machine, Id);

/// <summary>Source and target stand at the same write and differ all the same.</summary>
public sealed record TargetDiffers(MachineId Machine, CommandId Id, Epoch Epoch, string RootHash, string Reason) : DataPlaneReport(Machine, Id);

/// <summary>The store of a side that lost goes on in the epoch of the side that won.</summary>
/// <param name="Kept">What the losing side had, as a recovery point; null where it had nothing of its own.</param>
public sealed record StoreContinued(MachineId Machine, CommandId Id, Epoch Epoch, RecoveryPoint? Kept) : DataPlaneReport(Machine, Id);

/// <summary>What the old source wrote beyond the fork is marked at the new source, which will compare it.</summary>
public sealed record TailMarked(MachineId Machine, CommandId Id, Epoch Epoch, Sequence Newest, int Ranges, long Bytes) : DataPlaneReport(Machine, Id);

/// <summary>The target's store has lost some of its newest state to its disk; the source has it still.</summary>
/// <param name="Ranges">At most <see cref="StaleRange.AtOnceMax"/>.</param>
public sealed record StoreDamaged(MachineId Machine, CommandId Id, Epoch Epoch, ImmutableArray<StaleRange> Ranges) : DataPlaneReport(Machine, Id);

/// <summary>Nothing happened but time; what has a deadline is looked at.</summary>
/// <param name="Deadline">It has passed by a clock that nobody sets, whatever the time of day says; null: the time of day decides.</param>
public sealed record TimePassed(MachineId Machine, CommandId Id, DateTimeOffset? Deadline = null) : DataPlaneReport(Machine, Id);

public sealed record EpochOpened(MachineId Machine, CommandId Id, Epoch Epoch) : DataPlaneReport(Machine, Id);

/// <param name="Console">Where the running replica machine is reached; null where the disks alone are served.</param>
/// <param name="Firsts">What has been seen of the replica so far; told again with every repeat.</param>
public sealed record ReplicaServed(MachineId Machine, CommandId Id, Epoch Epoch, ImmutableArray<DiskExport> Exports, string? Console = null, ReplicaFirsts? Firsts = null) : DataPlaneReport(Machine, Id);

/// <summary>The disks of the replica are raw files of their own now.</summary>
/// <param name="Layer">Whose.</param>
public sealed record ReplicaFlattened(MachineId Machine, CommandId Id, Epoch Epoch, Epoch Layer) : DataPlaneReport(Machine, Id);

/// <summary>The replica is served no more; its disks are files that nobody manages.</summary>
/// <param name="Folder">Where they are, on the host of its master target; what is no full path says in words what became of them.</param>
public sealed record ReplicaReleased(MachineId Machine, CommandId Id, Epoch Epoch, Epoch Layer, string Folder) : DataPlaneReport(Machine, Id);

/// <param name="Newest">The last write of the source; null where it is not known.</param>
public sealed record SourceFenced(MachineId Machine, CommandId Id, Epoch Epoch, Sequence? Newest = null) : DataPlaneReport(Machine, Id);
public sealed record TestServed(MachineId Machine, CommandId Id, string Test, ImmutableArray<DiskExport> Exports, string? Console = null, ReplicaFirsts? Firsts = null) : DataPlaneReport(Machine, Id);
public sealed record TestRemoved(MachineId Machine, CommandId Id, string Test) : DataPlaneReport(Machine, Id);
public sealed record StoreRemoved(MachineId Machine, CommandId Id, Epoch Epoch) : DataPlaneReport(Machine, Id);
public sealed record AgentReleased(MachineId Machine, CommandId Id, Epoch Epoch, AgentName Agent) : DataPlaneReport(Machine, Id);

/// <param name="Id">Of a test the test's: each has a job of its own.</param>
/// <param name="Work">The <see cref="Work.Kind"/>.</param>
/// <param name="Permanent">False: it is being tried again. True: trying again will not help.</param>
public sealed record WorkFailed(MachineId Machine, CommandId Id, Epoch Epoch, string Work, string Reason, bool Permanent) : DataPlaneReport(Machine, Id);

// ── Queries ─────────────────────────────────────────────────────────────────────────────────────────────────────────

/// <summary>Answered with <see cref="MachineState"/>.</summary>
public sealed record GetMachine(MachineId Machine) : IForMachine;

/// <summary>The whole state; a view is made of it and of what was measured: <see cref="ProtectedMachineView.Of"/>.</summary>
public sealed record MachineState(ProtectedMachine State);

/// <summary>Answered with <see cref="MachineJobs"/>: all of them, newest first, or the one asked for.</summary>
public sealed record GetJobs(MachineId Machine, JobId? Only = null) : IForMachine;

public sealed record MachineJobs(MachineId Machine, ImmutableArray<Job> Jobs);

// ── Events ──────────────────────────────────────────────────────────────────────────────────────────────────────────

/// <summary>What happened, as the journal keeps it for ever: fields may be added with a default, never changed.</summary>
/// <param name="Cause">The command that led to it.</param>
[JsonPolymorphic(TypeDiscriminatorPropertyName = "$type")]
[JsonDerivedType(typeof(ProtectionEnabled), "protection-enabled")]
[JsonDerivedType(typeof(PolicyChanged), "policy-changed")]
[JsonDerivedType(typeof(SynchronizationFinished), "synchronization-finished")]
[JsonDerivedType(typeof(ProtectionPaused), "protection-paused")]
[JsonDerivedType(typeof(ProtectionResumed), "protection-resumed")]
[JsonDerivedType(typeof(DivergenceDetected), "divergence-detected")]
[JsonDerivedType(typeof(ResynchronizationStarted), "resynchronization-started")]
[JsonDerivedType(typeof(FailoverStarted), "failover-started")]
[JsonDerivedType(typeof(FailoverEpochOpened), "failover-epoch-opened")]
[JsonDerivedType(typeof(ReplicaStarted), "replica-started")]
[JsonDerivedType(typeof(ReplicaMoved), "replica-moved")]
[JsonDerivedType(typeof(FailoverCommitted), "failover-committed")]
[JsonDerivedType(typeof(SourceFenceConfirmed), "source-fence-confirmed")]
[JsonDerivedType(typeof(ProtectionDisabled), "protection-disabled")]
[JsonDerivedType(typeof(AgentReleaseConfirmed), "agent-release-confirmed")]
[JsonDerivedType(typeof(StoreRemovalConfirmed), "store-removal-confirmed")]
[JsonDerivedType(typeof(WorkFailureNoted), "work-failure-noted")]
[JsonDerivedType(typeof(RecoveryPointChanged), "recovery-point-changed")]
[JsonDerivedType(typeof(TestFailoverStarted), "test-failover-started")]
[JsonDerivedType(typeof(TestFailoverServed), "test-failover-served")]
[JsonDerivedType(typeof(TestCleanupStarted), "test-cleanup-started")]
[JsonDerivedType(typeof(TestFailoverRemoved), "test-failover-removed")]
[JsonDerivedType(typeof(PlannedFailoverStarted), "planned-failover-started")]
[JsonDerivedType(typeof(SourceStopConfirmed), "source-stop-confirmed")]
[JsonDerivedType(typeof(SourceDrainConfirmed), "source-drain-confirmed")]
[JsonDerivedType(typeof(TargetMatched), "target-matched")]
[JsonDerivedType(typeof(TargetVerificationConfirmed), "target-verification-confirmed")]
[JsonDerivedType(typeof(PlannedFailoverRolledBack), "planned-failover-rolled-back")]
[JsonDerivedType(typeof(FailoverCancelled), "failover-cancelled")]
[JsonDerivedType(typeof(StoreContinuationConfirmed), "store-continuation-confirmed")]
[JsonDerivedType(typeof(ReverseReplicationStarted), "reverse-replication-started")]
[JsonDerivedType(typeof(TailTakenBack), "tail-taken-back")]
[JsonDerivedType(typeof(DisksFlattened), "disks-flattened")]
[JsonDerivedType(typeof(ReplicaReleaseConfirmed), "replica-release-confirmed")]
[JsonDerivedType(typeof(ReplicaTimed), "replica-timed")]
public abstract record MachineEvent(DateTimeOffset At, CommandId Cause);

public sealed record ProtectionEnabled(
    DateTimeOffset At, CommandId Cause, Epoch Epoch, int Round, AgentName Agent, SiteName SourceSite, SiteName TargetSite,
    ImmutableArray<DiskSpec> Disks, string PolicyName, ReplicationPolicy Policy, string? TargetNode = null, string? Definition = null) : MachineEvent(At, Cause);

/// <summary>The policy that it is protected by was changed, under its name.</summary>
public sealed record PolicyChanged(DateTimeOffset At, CommandId Cause, ReplicationPolicy Policy) : MachineEvent(At, Cause);

public sealed record SynchronizationFinished(DateTimeOffset At, CommandId Cause, Sequence Sequence, long BytesCompared = 0, long BytesSent = 0) : MachineEvent(At, Cause);
public sealed record ProtectionPaused(DateTimeOffset At, CommandId Cause) : MachineEvent(At, Cause);
public sealed record ProtectionResumed(DateTimeOffset At, CommandId Cause) : MachineEvent(At, Cause);
/// <param name="Anywhere">Nobody knows which blocks differ.</param>
public sealed record DivergenceDetected(DateTimeOffset At, CommandId Cause, string Reason, int Round, bool Anywhere = false) : MachineEvent(At, Cause);

/// <param name="Full">Compares every block, not only those known to differ.</param>
/// <param name="Stale">The target has lost these, and gets them anew.</param>
public sealed record ResynchronizationStarted(DateTimeOffset At, CommandId Cause, int Round, bool Full = false, ImmutableArray<StaleRange>? Stale = null) : MachineEvent(At, Cause);

public sealed record FailoverStarted(DateTimeOffset At, CommandId Cause, RecoveryPoint Point, Epoch Epoch) : MachineEvent(At, Cause);
public sealed record FailoverEpochOpened(DateTimeOffset At, CommandId Cause, Epoch Epoch) : MachineEvent(At, Cause);
public sealed record ReplicaStarted(DateTimeOffset At, CommandId Cause, ImmutableArray<DiskExport> Exports, string? Console = null) : MachineEvent(At, Cause);

/// <summary>The running replica is served at other addresses, for example after a restart of its master target.</summary>
public sealed record ReplicaMoved(DateTimeOffset At, CommandId Cause, ImmutableArray<DiskExport> Exports, string? Console = null) : MachineEvent(At, Cause);

public sealed record FailoverCommitted(DateTimeOffset At, CommandId Cause) : MachineEvent(At, Cause);
public sealed record SourceFenceConfirmed(DateTimeOffset At, CommandId Cause, Epoch Epoch, Sequence? Newest = null) : MachineEvent(At, Cause);
public sealed record ProtectionDisabled(DateTimeOffset At, CommandId Cause) : MachineEvent(At, Cause);
public sealed record AgentReleaseConfirmed(DateTimeOffset At, CommandId Cause, AgentName Agent) : MachineEvent(At, Cause);
public sealed record StoreRemovalConfirmed(DateTimeOffset At, CommandId Cause) : MachineEvent(At, Cause);
/// <summary>Shown at the job's step; a permanent failure of a required step fails its job.</summary>
public sealed record WorkFailureNoted(DateTimeOffset At, CommandId Cause, string Work, string Reason, bool Permanent) : MachineEvent(At, Cause);

/// <summary>The failover that waits for its commit starts again from another point, in an epoch of its own.</summary>
public sealed record RecoveryPointChanged(DateTimeOffset At, CommandId Cause, RecoveryPoint Point, Epoch Epoch) : MachineEvent(At, Cause);

public sealed record TestFailoverStarted(DateTimeOffset At, CommandId Cause, RecoveryPoint Point) : MachineEvent(At, Cause);
public sealed record TestFailoverServed(DateTimeOffset At, CommandId Cause, string Test, ImmutableArray<DiskExport> Exports, string? Console = null) : MachineEvent(At, Cause);
public sealed record TestCleanupStarted(DateTimeOffset At, CommandId Cause, ImmutableArray<string> Tests, string Notes) : MachineEvent(At, Cause);
public sealed record TestFailoverRemoved(DateTimeOffset At, CommandId Cause, string Test) : MachineEvent(At, Cause);

public sealed record PlannedFailoverStarted(DateTimeOffset At, CommandId Cause, int Round, DateTimeOffset Deadline) : MachineEvent(At, Cause);
public sealed record SourceStopConfirmed(DateTimeOffset At, CommandId Cause, string Detail) : MachineEvent(At, Cause);
public sealed record SourceDrainConfirmed(DateTimeOffset At, CommandId Cause, DrainedSource Source) : MachineEvent(At, Cause);

/// <summary>The target has what the source has; the source is asked to stay as it is until it is told otherwise.</summary>
public sealed record TargetMatched(DateTimeOffset At, CommandId Cause, RecoveryPoint Point) : MachineEvent(At, Cause);

/// <summary>And the source has promised that: from here on the target's epoch may begin.</summary>
/// <param name="Epoch">Opened next, at the point.</param>
public sealed record TargetVerificationConfirmed(DateTimeOffset At, CommandId Cause, RecoveryPoint Point, Epoch Epoch) : MachineEvent(At, Cause);

/// <summary>Before the target's epoch: the source takes writes again and nothing else has changed.</summary>
/// <param name="Reason">Null: an operator cancelled it.</param>
public sealed record PlannedFailoverRolledBack(DateTimeOffset At, CommandId Cause, int Round, string? Reason) : MachineEvent(At, Cause);

/// <summary>The source goes on in an epoch of its own, and what was written to the replica is only kept as a point.</summary>
/// <param name="Reason">Null: an operator cancelled it.</param>
public sealed record FailoverCancelled(DateTimeOffset At, CommandId Cause, Epoch Epoch, int Round, string? Reason) : MachineEvent(At, Cause);

public sealed record StoreContinuationConfirmed(DateTimeOffset At, CommandId Cause, Epoch Epoch, RecoveryPoint? Kept) : MachineEvent(At, Cause);
/// <param name="Retargeted">On the same way: the store goes to <paramref name="TargetNode"/> in place of the master target named before. Events of before never did that.</param>
public sealed record ReverseReplicationStarted(DateTimeOffset At, CommandId Cause, int Round, string? TargetNode, bool Full, bool Retargeted = false) : MachineEvent(At, Cause);

/// <param name="Newest">The last write of the old source.</param>
/// <param name="Bytes">Of the ranges that it may have written beyond the fork.</param>
public sealed record TailTakenBack(DateTimeOffset At, CommandId Cause, Sequence Newest, int Ranges, long Bytes) : MachineEvent(At, Cause);

/// <summary>The replica that is the machine now no longer reads from the store.</summary>
public sealed record DisksFlattened(DateTimeOffset At, CommandId Cause, Epoch Layer) : MachineEvent(At, Cause);

/// <summary>The replica goes on as a machine of its own.</summary>
public sealed record ReplicaReleaseConfirmed(DateTimeOffset At, CommandId Cause, string Folder) : MachineEvent(At, Cause);

/// <summary>More is known of how soon a replica was back.</summary>
/// <param name="Job">The one that asked for it, which may have ended.</param>
/// <param name="Times">All that is known now.</param>
public sealed record ReplicaTimed(DateTimeOffset At, CommandId Cause, JobId Job, RecoveryTimes Times) : MachineEvent(At, Cause);
