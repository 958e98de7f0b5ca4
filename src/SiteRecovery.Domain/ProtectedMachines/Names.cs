using System.Collections.Immutable;
using SiteRecovery.Domain.Results;

namespace SiteRecovery.Domain.ProtectedMachines;

/// <summary>The actions as the HTTP API, the CLI and the jobs name them.</summary>
public static class MachineActions
{
    public const string Enable = "enable";
    public const string Disable = "disable";
    public const string Pause = "pause";
    public const string Resume = "resume";
    public const string Resynchronize = "resynchronize";
    public const string TestFailover = "test-failover";
    public const string TestFailoverCleanup = "test-failover-cleanup";
    public const string PlannedFailover = "planned-failover";
    public const string UnplannedFailover = "unplanned-failover";
    public const string ChangeRecoveryPoint = "change-recovery-point";
    public const string Commit = "commit";
    public const string CancelFailover = "cancel-failover";
    public const string ReverseReplicate = "reverse-replicate";

    /// <summary>Not an operator's: a commit starts it.</summary>
    public const string Flatten = "flatten";

    public static ImmutableArray<string> All { get; } =
    [
        Enable, Disable, Pause, Resume, Resynchronize, TestFailover, TestFailoverCleanup, PlannedFailover, UnplannedFailover,
        ChangeRecoveryPoint, Commit, CancelFailover, ReverseReplicate,
    ];
}

/// <summary>Job steps bear the name of the work that brings them about, except replication, which has two.</summary>
public static class StepNames
{
    public const string InitialReplication = "initial-replication";
    public const string Resynchronization = "resynchronization";
    public const string StopSource = "stop-source";
    public const string DrainSource = "drain-source";
    public const string HoldSource = "hold-source";

    /// <summary>The steps that wait for a kind of work.</summary>
    public static ImmutableArray<string> Of(string work) => work switch
    {
        WorkKind.Replicate or WorkKind.HoldStore => [InitialReplication, Resynchronization, StopSource, DrainSource],
        _ => [work],
    };
}
