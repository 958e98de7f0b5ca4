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
///   Protected │ Paused │ ResynchronizationRequired │ Resynchronizing
///        │ unplanned-failover
///        ▼                       replica served                        commit
///   UnplannedFailoverInProgress ────────────────► FailoverCommitPending ──────► FailedOver
///        ├─▲ unplanned-failover again, after it failed for good
///        └──◄ change-recovery-point, from FailoverCommitPending: the same again from another point, in an epoch of its own
///
///   A test failover is no phase: it runs beside any that has a point (<see cref="TestRun"/>).
///
///   Not reachable yet: PlannedFailoverInProgress (Protected → FailoverCommitPending)
///                      ReverseReplicating        (FailedOver → Protected, direction swapped)
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
    public sealed record Resynchronizing(bool Full = false) : Phase;
    public sealed record PlannedFailoverInProgress : Phase;

    /// <param name="Failure">Why it failed for good; null while it goes on.</param>
    public sealed record UnplannedFailoverInProgress(RecoveryPoint Point, bool EpochIsOpen, string? Failure = null) : Phase;
    public sealed record FailoverCommitPending(RecoveryPoint Point) : Phase;
    public sealed record FailedOver(RecoveryPoint Point) : Phase;
    public sealed record ReverseReplicating : Phase;
}

[JsonConverter(typeof(JsonStringEnumConverter<ResumeTo>))]
public enum ResumeTo { InitialReplication, Protected, Resynchronizing }
