using System.Collections.Immutable;
using System.Text.Json.Serialization;
using SiteRecovery.Domain.History;

namespace SiteRecovery.Domain.ProtectedMachines;

/// <summary>
/// The closed set of states, each with exactly its own data. <see cref="Transitions"/> says which action leaves which.
/// <code>
///                  enable                    complete
///   Unprotected ───────────► InitialReplication ───────► Protected ◄───────────────┐ complete
///        ▲                        │      ▲                │  ▲  │ divergence        │
///        │ disable (while the     │pause │resume     pause│  │  └──► Resynchronization  resynchronize
///        │ source is active)      ▼      │                ▼  │       Required ────────► Resynchronizing
///        └───────────────────── Paused ──┴─────────────  Paused ─────── resume ────────►  │ ▲  │
///                                                                                         └─┘ divergence
///   Protected │ Paused │ ResynchronizationRequired │ Resynchronizing │ ReverseReplicating
///        │ unplanned-failover
///        ▼                       replica served                        commit
///   UnplannedFailoverInProgress ────────────────► FailoverCommitPending ──────► FailedOver
///        ├─▲ unplanned-failover again, after it failed      │ ▲                   │ reverse-replicate
///        │                    change-recovery-point: the ◄──┤ │                   ▼
///        │                    same from another point       │ │           ReverseReplicating ──► Protected,
///        │                                                  │ │                      complete    direction swapped
///        └────► Resynchronizing ◄───────────────────────────┘ │
///                    ▲            cancel-failover             │ replica served
///                    │                                        │
///   Protected ──► PlannedFailoverInProgress ──────────────────┘
///        ▲  planned-failover   │
///        └─────────────────────┘ cancel-failover, or a step that cannot be confirmed; once the target's epoch is open, through Resynchronizing
///
///   A test failover is no phase: it runs beside any that has a point (<see cref="TestRun"/>). Which way the machine is replicated is none either:
///   after a reverse replication the source is the replica that was failed over to (<see cref="ReplicaSource"/>).
/// </code>
/// </summary>
[JsonPolymorphic(TypeDiscriminatorPropertyName = "$type")]
[JsonDerivedType(typeof(Unprotected), nameof(Unprotected))]
[JsonDerivedType(typeof(InitialReplication), nameof(InitialReplication))]
[JsonDerivedType(typeof(Protected), nameof(Protected))]
[JsonDerivedType(typeof(Paused), nameof(Paused))]
[JsonDerivedType(typeof(ResynchronizationRequired), nameof(ResynchronizationRequired))]
[JsonDerivedType(typeof(Resynchronizing), nameof(Resynchronizing))]
[JsonDerivedType(typeof(PlannedFailoverInProgress), nameof(PlannedFailoverInProgress))]
[JsonDerivedType(typeof(UnplannedFailoverInProgress), nameof(UnplannedFailoverInProgress))]
[JsonDerivedType(typeof(FailoverCommitPending), nameof(FailoverCommitPending))]
[JsonDerivedType(typeof(FailedOver), nameof(FailedOver))]
[JsonDerivedType(typeof(ReverseReplicating), nameof(ReverseReplicating))]
public abstract record Phase
{
    private Phase() { }

    /// <summary>The state's name in the API, the CLI and the pages: stable.</summary>
    [JsonIgnore] public string Name => GetType().Name;

    /// <param name="StoreRemovalPending">The store of the former protection is not gone yet.</param>
    public sealed record Unprotected(bool StoreRemovalPending = false) : Phase;
    public sealed record InitialReplication : Phase;
    public sealed record Protected : Phase;

    /// <param name="ResumesTo">What was interrupted, or has become necessary meanwhile.</param>
    public sealed record Paused(ResumeTo ResumesTo) : Phase;
    public sealed record ResynchronizationRequired(string Reason) : Phase;

    /// <param name="Full">Every block is compared: nothing was known to differ when it was asked for.</param>
    /// <param name="Stale">What the target cannot read any more, and gets anew; null: it is the source that knows what differs.</param>
    public sealed record Resynchronizing(bool Full = false, ImmutableArray<StaleRange>? Stale = null) : Phase;

    /// <summary>Stop the machine, drain, verify, hold, open the epoch, start the replica: in this order, each seen to be done before the next.</summary>
    /// <param name="Deadline">What is not done by then is rolled back.</param>
    /// <param name="Drained">Where the drained source stands, and the root hash of its disks; null until then.</param>
    /// <param name="Point">The target's point that has the same hash; null until the source has promised to stay as it is.</param>
    /// <param name="Matched">The same point, from when it was compared.</param>
    /// <param name="Stopped">The machine was seen not to run any more.</param>
    public sealed record PlannedFailoverInProgress(
        DateTimeOffset Deadline, DrainedSource? Drained = null, RecoveryPoint? Point = null, bool EpochIsOpen = false, RecoveryPoint? Matched = null, bool Stopped = false) : Phase;

    /// <param name="Failure">Why it failed for good; null while it goes on.</param>
    public sealed record UnplannedFailoverInProgress(RecoveryPoint Point, bool EpochIsOpen, string? Failure = null) : Phase;

    /// <param name="CommitAt">When the policy commits it; null: an operator does.</param>
    public sealed record FailoverCommitPending(RecoveryPoint Point, DateTimeOffset? CommitAt = null) : Phase;
    public sealed record FailedOver(RecoveryPoint Point) : Phase;

    /// <param name="Full">Every block is compared, because the old source cannot be asked what it wrote.</param>
    /// <param name="TailIsKnown">What the old source wrote beyond the fork is marked at the new source.</param>
    public sealed record ReverseReplicating(bool Full = false, bool TailIsKnown = false) : Phase;
}

[JsonConverter(typeof(JsonStringEnumConverter<ResumeTo>))]
public enum ResumeTo { InitialReplication, Protected, Resynchronizing }

/// <param name="RootHash">64 hex digits over all disks of the machine.</param>
public sealed record DrainedSource(Sequence At, string RootHash);
