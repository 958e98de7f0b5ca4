using System.Collections.Immutable;
using System.Text.Json.Serialization;
using SiteRecovery.Domain.Results;

namespace SiteRecovery.Domain.ProtectedMachines;

/// <summary>What was last measured at the target and at the source's agent.</summary>
/// <param name="NewestConsistentAt">Time of the newest consistent point that is durable at the target (source clock); null if there is none.</param>
/// <param name="MeasuredAt">When the store was last asked; null if it never was.</param>
/// <param name="AgentConnected">Null when not known.</param>
/// <param name="SourceFailure">Why the agent cannot capture the machine; null while it can.</param>
/// <param name="OldSourceClients">How many have the disks of the fenced source open.</param>
/// <param name="ClockOffset">The target's clock minus the source's; null when not known.</param>
/// <param name="StoreFailure">Why the target's store takes no writes; null while it does.</param>
/// <param name="StoreRot">What the scrub has found damaged in the target's store; null: nothing.</param>
/// <param name="AgentHeardAt">When the source was heard last; null: not since <paramref name="ListeningSince"/>.</param>
/// <param name="ListeningSince">From when on this server has listened for this source and its store; null when not known.</param>
public sealed record ReplicationMeasurement(
    DateTimeOffset? NewestConsistentAt, DateTimeOffset? MeasuredAt, bool? AgentConnected, string? StoreFailure = null, string? SourceFailure = null,
    int OldSourceClients = 0, TimeSpan? ClockOffset = null, string? StoreRot = null, DateTimeOffset? AgentHeardAt = null, DateTimeOffset? ListeningSince = null)
{
    public static ReplicationMeasurement None { get; } = new(null, null, null);
}

[JsonConverter(typeof(JsonStringEnumConverter<HealthStatus>))]
public enum HealthStatus
{
    [JsonStringEnumMemberName("unprotected")] Unprotected,
    [JsonStringEnumMemberName("healthy")] Healthy,
    [JsonStringEnumMemberName("degraded")] Degraded,
    [JsonStringEnumMemberName("critical")] Critical,
}

[JsonConverter(typeof(JsonStringEnumConverter<HealthSeverity>))]
public enum HealthSeverity
{
    [JsonStringEnumMemberName("warning")] Warning,
    [JsonStringEnumMemberName("critical")] Critical,
}

/// <param name="Code">Stable, for programs.</param>
public sealed record HealthReason(string Code, HealthSeverity Severity, string Reason, string Remedy);

/// <param name="Rpo">Age of the newest durable consistent point; null when it is not being measured or cannot be trusted.</param>
/// <param name="RpoUnknownSince">Set exactly when the RPO ought to be known and is not.</param>
public sealed record ReplicationHealth(HealthStatus Status, TimeSpan? Rpo, DateTimeOffset? RpoUnknownSince, ImmutableArray<HealthReason> Reasons)
{
    /// <summary>The RPO objective is missed by so many times.</summary>
    public const int WarningFactor = 2;
    public const int CriticalFactor = 3;

    /// <summary>A measurement older than this says nothing about now.</summary>
    public static TimeSpan MeasurementAgeMax { get; } = TimeSpan.FromSeconds(30);

    /// <summary>
    /// The source's clock may differ this much from the target's, or a point lie this far ahead of it, before the clocks are said to
    /// disagree: past it an age is no age, and a source an hour ahead would look fresh an hour after its link died.
    /// </summary>
    public static TimeSpan ClockSkewMax { get; } = TimeSpan.FromSeconds(5);

    /// <summary>A server that has just started has heard nobody yet; an agent that lives is heard within a few seconds.</summary>
    public static TimeSpan UnheardMax { get; } = TimeSpan.FromSeconds(15);

    public static ReplicationHealth Of(ProtectedMachine machine, ReplicationMeasurement measured, DateTimeOffset now)
    {
        if (machine.Protection is null || machine.Phase is Phase.Unprotected)
        {
            return new(HealthStatus.Unprotected, null, null, [.. OfProblems(machine).Concat(OfFences(machine)).Select(AsSentence)]);
        }
        var replicates = machine.Phase is Phase.InitialReplication or Phase.Protected or Phase.Paused
            or Phase.ResynchronizationRequired or Phase.Resynchronizing or Phase.ReverseReplicating or Phase.PlannedFailoverInProgress { Point: null };
        var fresh = IsFresh(measured, now);
        var rpo = replicates && fresh ? now - measured.NewestConsistentAt : null;
        var clocksDisagree = rpo < -ClockSkewMax || measured.ClockOffset?.Duration() > ClockSkewMax;
        if (clocksDisagree) rpo = null;
        if (rpo < TimeSpan.Zero) rpo = TimeSpan.Zero;

        var reasons = OfPhase(machine).Concat(OfProblems(machine)).Concat(OfFences(machine)).Concat(OfTests(machine, now)).Concat(OfOldSource(machine, measured)).Concat(OfTarget(machine, measured, now)).ToList();
        if (replicates)
        {
            if (WhyUnheard(measured, now) is { } unheard) reasons.Add(machine.Protection.Replica is null
                ? new("agentDisconnected", HealthSeverity.Warning, $"Agent '{machine.Protection.Agent}' {unheard}.", "Check the agent's process, its host and the network.")
                : new("replicaSilent", HealthSeverity.Critical, $"The master target at {machine.Protection.SourceSite} that serves the machine {unheard}.", "Check its node: while it is down, so is the machine."));
            if (clocksDisagree) reasons.Add(new("clocksDisagree", HealthSeverity.Critical,
                measured.ClockOffset is { } offset && offset.Duration() > ClockSkewMax
                    ? $"The source's clock is {Durations.Text(offset.Duration())} {(offset < TimeSpan.Zero ? "ahead of" : "behind")} the target's; the age of a point cannot be told."
                    : "The newest point lies in the target's future.", "Synchronize the clocks of both sites."));
            if (measured.SourceFailure is { } broken) reasons.Add(new("sourceFailed", HealthSeverity.Critical,
                $"Agent '{machine.Protection.Agent}' cannot capture the machine: {broken}", "Mend what it names; the agent tries again by itself."));
            if (fresh && measured.StoreFailure is { } failure) reasons.Add(new("storeFailed", HealthSeverity.Critical,
                $"The retention store takes no writes: {failure}", "Mend what it names: its disk, the room on it, or the key that it is encrypted with; replication goes on by itself."));
            if (measured.StoreRot is { } rot) reasons.Add(new("storeDamaged", HealthSeverity.Critical, $"The retention store does not read back as it was written: {rot}",
                "Check its disk. The newest state is mended from the source, by itself where the policy resynchronizes automatically, else resynchronize; older points stay unreadable in those places, and are marked as damaged."));
            reasons.AddRange(OfRpo(machine, measured, fresh, rpo, now));
        }
        var unknownSince = replicates && rpo is null ? UnknownSince(machine, measured) : null;
        var status = reasons.Count == 0 ? HealthStatus.Healthy
            : reasons.Any(r => r.Severity == HealthSeverity.Critical) ? HealthStatus.Critical : HealthStatus.Degraded;
        return new(status, rpo, unknownSince, [.. reasons.Select(AsSentence)]);
    }

    /// <summary>The remedy is read right behind it.</summary>
    private static HealthReason AsSentence(HealthReason reason) => reason with { Reason = Sentence.Of(reason.Reason) };

    public static bool IsFresh(ReplicationMeasurement measured, DateTimeOffset now) => measured.MeasuredAt is { } at && now - at <= MeasurementAgeMax;

    /// <summary>What is known of a source that is not heard: when it was, not what it does meanwhile. Null: it is heard, or may be in a moment.</summary>
    private static string? WhyUnheard(ReplicationMeasurement measured, DateTimeOffset now) => measured switch
    {
        { AgentConnected: true } => null,
        { AgentConnected: null, ListeningSince: { } since } => now - since > UnheardMax ? $"has not been heard since this server began to listen for it at {since.UtcDateTime:u}" : null,
        { AgentConnected: null } => null,
        { AgentHeardAt: { } at } => $"is not connected; it was heard last at {at.UtcDateTime:u}",
        _ => "is not connected",
    };

    /// <summary>A server that was started anew knows nothing of what was measured before.</summary>
    private static DateTimeOffset? UnknownSince(ProtectedMachine machine, ReplicationMeasurement measured) => measured.MeasuredAt
        ?? new[] { measured.ListeningSince, machine.Jobs.NewestFirst.FirstOrDefault(j => j.Action == MachineActions.Enable)?.StartedAt }.Max();

    private static IEnumerable<HealthReason> OfRpo(ProtectedMachine machine, ReplicationMeasurement measured, bool fresh, TimeSpan? rpo, DateTimeOffset now)
    {
        if (!fresh)
        {
            yield return measured is { MeasuredAt: null, ListeningSince: { } since } && now - since <= UnheardMax
                ? new("rpoUnknown", HealthSeverity.Warning, "The target's store has not been measured yet since this server began to listen.", "Wait some seconds.")
                : new("rpoUnknown", HealthSeverity.Warning, "The target's store is not being measured.", "Check the master target and its connection to this node.");
            yield break;
        }
        if (machine.Phase is Phase.InitialReplication or Phase.ReverseReplicating) yield break;
        if (measured.NewestConsistentAt is null)
        {
            yield return new("noConsistentPoint", HealthSeverity.Critical, "The target holds no consistent point.", "Resynchronize; until then the machine cannot fail over.");
            yield break;
        }
        var objective = machine.Protection!.Policy.RpoThreshold;
        if (rpo >= objective * CriticalFactor)
        {
            yield return new("rpoCritical", HealthSeverity.Critical, OldPoint(rpo.Value, objective), Bringing(machine, measured) ?? "Check link, process server and master target.");
        }
        else if (rpo >= objective * WarningFactor)
        {
            yield return new("rpoExceeded", HealthSeverity.Warning, OldPoint(rpo.Value, objective), Bringing(machine, measured) ?? "Check the link's rate against the machine's rate of change.");
        }
    }

    private static string OldPoint(TimeSpan age, TimeSpan objective) => $"The newest point is {Durations.Text(age)} old; the objective is {Durations.Text(objective)}.";

    /// <summary>Where nothing comes from the source, nothing on the way is to blame.</summary>
    private static string? Bringing(ProtectedMachine machine, ReplicationMeasurement measured) => measured.AgentConnected != false ? null
        : machine.Protection!.Replica is null ? $"Bring agent '{machine.Protection.Agent}' back: nothing new comes without it." : $"Bring the master target at {machine.Protection.SourceSite} back: nothing new comes without it.";

    private static IEnumerable<HealthReason> OfPhase(ProtectedMachine machine) => machine.Phase switch
    {
        Phase.InitialReplication => [new("initialReplication", HealthSeverity.Warning, "The initial replication is not complete; there is no point to fail over to.", "Wait until it completes.")],
        Phase.Paused { ResumesTo: ResumeTo.Resynchronizing } => [new("paused", HealthSeverity.Warning, "Replication is paused, and must resynchronize afterwards.", "Resume.")],
        Phase.Paused => [new("paused", HealthSeverity.Warning, "Replication is paused.", "Resume.")],
        Phase.ResynchronizationRequired p => [new("resynchronizationRequired", HealthSeverity.Critical, p.Reason, "Resynchronize; older points can still be failed over to.")],
        Phase.Resynchronizing => [new("resynchronizing", HealthSeverity.Warning, "A resynchronization is under way; only older points are consistent.", "Wait until it completes.")],
        Phase.UnplannedFailoverInProgress { Failure: { } failure } => [new("failoverFailed", HealthSeverity.Critical, failure, "Repeat the unplanned failover, with another point if need be.")],
        Phase.PlannedFailoverInProgress => [new("plannedFailover", HealthSeverity.Warning, "A planned failover is in progress: the machine is being stopped and moved.", "Wait until its job has ended, or cancel it.")],
        Phase.ReverseReplicating => [new("reverseReplicating", HealthSeverity.Warning, "The reverse replication is not complete; the machine has no current replica.", "Wait until it completes.")],
        Phase.FailoverCommitPending => [new("commitPending", HealthSeverity.Warning, "The replica runs and the failover is not committed.", "Look at the replica, then commit.")],
        Phase.FailedOver => [new("notReplicating", HealthSeverity.Warning, "The machine runs at the target without a replica of its own.", "Start reverse replication when the old site is back.")],
        _ => [],
    };

    // Its writes are refused; but whoever uses it there believes to be on the machine.
    private static IEnumerable<HealthReason> OfOldSource(ProtectedMachine machine, ReplicationMeasurement measured) =>
        measured.OldSourceClients > 0 && machine.Phase is Phase.UnplannedFailoverInProgress or Phase.FailoverCommitPending or Phase.FailedOver
            ? [new("splitBrainSuspected", HealthSeverity.Critical, $"The old machine runs at {machine.Protection!.SourceSite} beside its replica: it has its disks open, and its writes are refused.",
                "Shut it down; what it wrote after the failover's point is taken back by the reverse replication. To keep it instead of the replica, cancel the failover before the commit.")]
            : [];

    /// <summary>All that a failover brings about is at the target, and then production is.</summary>
    private static IEnumerable<HealthReason> OfTarget(ProtectedMachine machine, ReplicationMeasurement measured, DateTimeOffset now)
    {
        if (!((measured.MeasuredAt ?? measured.ListeningSince) is { } at && now - at > MeasurementAgeMax)) return [];
        var since = $"has told nothing of its store since {(measured.MeasuredAt is null ? "this server began to listen for it at " : "")}{at.UtcDateTime:u}";
        return machine.Phase switch
        {
            Phase.FailoverCommitPending or Phase.FailedOver =>
                [new("replicaSilent", HealthSeverity.Critical, $"The master target at {machine.Protection!.TargetSite} that serves the machine {since}.", "Check its node: while it is down, so is the machine.")],
            Phase.UnplannedFailoverInProgress or Phase.PlannedFailoverInProgress { Point: not null } =>
                [new("targetSilent", HealthSeverity.Critical, $"The master target at {machine.Protection!.TargetSite} that the machine is failed over to {since}.", "Check its node: the failover waits for it.")],
            _ => [],
        };
    }

    private static IEnumerable<HealthReason> OfTests(ProtectedMachine machine, DateTimeOffset now) => machine.Tests
        .Where(t => now - t.StartedAt > TestRun.ForgottenAfter)
        .Select(t => new HealthReason("testForgotten", HealthSeverity.Warning, $"The test failover of {t.StartedAt:yyyy-MM-dd} still runs.", "Clean it up."));

    private static IEnumerable<HealthReason> OfProblems(ProtectedMachine machine) => machine.Problems.Where(p => p.Work != WorkKind.FenceSource)
        .Select(p => new HealthReason("workFailed", p.Permanent ? HealthSeverity.Critical : HealthSeverity.Warning, $"{p.Work}: {p.Reason}",
            p.Permanent ? "Mend the cause, then repeat the action." : "It is being tried again; mend the cause if it stays."));

    /// <summary>Whoever has not confirmed its end may write on, whatever has become of the machine, and of what was said of it, since then.</summary>
    private static IEnumerable<HealthReason> OfFences(ProtectedMachine machine)
    {
        var said = machine.Problems.FirstOrDefault(p => p.Work == WorkKind.FenceSource)?.Reason;
        // A failover that is in progress has only just asked for it.
        if (machine.Fence is { } fence && (said is not null || machine.Phase is not (Phase.UnplannedFailoverInProgress or Phase.PlannedFailoverInProgress)))
            yield return new("sourceNotFenced", HealthSeverity.Warning, said ?? $"{NameOf(fence)} has not confirmed that it stopped.", "Make sure that the old machine is off before clients use the replica.");
        foreach (var former in machine.FormerFences)
            yield return new("sourceNotFenced", HealthSeverity.Warning, $"{NameOf(former)}, which a failover before the last led away from, has not confirmed that it stopped.", "Make sure that the old machine there is off.");
    }

    private static string NameOf(UnconfirmedFence fence) => fence.Replica is null ? $"The source at {fence.SourceSite}, agent '{fence.Agent}'" : $"The replica at {fence.SourceSite}";
}
