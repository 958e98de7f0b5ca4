using System.Collections.Immutable;
using SiteRecovery.Domain.History;

namespace SiteRecovery.Domain.ProtectedMachines;

/// <summary>A test failover: a fork of the history that is thrown away. It runs beside any phase, and replication goes on under it.</summary>
/// <param name="Id">That of the command which started it.</param>
/// <param name="Exports">Empty until its disks are served.</param>
/// <param name="Console">Where the machine that runs on them is reached; null where there is none.</param>
/// <param name="CleanupNotes">Set once its cleanup has been asked for.</param>
public sealed record TestRun(
    string Id, RecoveryPoint Point, DateTimeOffset StartedAt, ImmutableArray<DiskExport> Exports, DateTimeOffset? ServedAt = null, string? CleanupNotes = null, string? Console = null)
{
    /// <summary>A test that runs longer was forgotten.</summary>
    public static TimeSpan ForgottenAfter { get; } = TimeSpan.FromDays(14);
}

/// <summary>A test failover from its start to its cleanup: only now does it count.</summary>
public sealed record Drill(string Test, string PointId, DateTimeOffset StartedAt, DateTimeOffset? ServedAt, DateTimeOffset CleanedUpAt, string Notes)
{
    /// <summary>From the command to the first sector served.</summary>
    public TimeSpan? Rto => ServedAt - StartedAt;
}
