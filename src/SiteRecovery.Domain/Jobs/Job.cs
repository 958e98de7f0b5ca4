using System.Collections.Immutable;
using System.Text.Json.Serialization;
using SiteRecovery.Domain.History;
using SiteRecovery.Domain.Results;

namespace SiteRecovery.Domain.Jobs;

/// <summary>"{machine}.{command}": whoever holds the id can find the machine that owns the job.</summary>
public readonly record struct JobId(string Value)
{
    public static JobId Of(MachineId machine, CommandId command) => new($"{machine}.{command}");

    public static bool TryParse(string text, out MachineId machine, out CommandId command)
    {
        (machine, command) = (default, default);
        var dot = text.LastIndexOf('.');
        if (dot < 0 || !MachineId.IsValid(text[..dot]) || !CommandId.IsValid(text[(dot + 1)..])) return false;
        (machine, command) = (new MachineId(text[..dot]), new CommandId(text[(dot + 1)..]));
        return true;
    }

    public override string ToString() => Value;
}

[JsonConverter(typeof(JsonStringEnumConverter<JobStatus>))]
public enum JobStatus
{
    [JsonStringEnumMemberName("pending")] Pending,
    [JsonStringEnumMemberName("running")] Running,
    [JsonStringEnumMemberName("waitingForInput")] WaitingForInput,
    [JsonStringEnumMemberName("cancelling")] Cancelling,
    [JsonStringEnumMemberName("succeeded")] Succeeded,
    [JsonStringEnumMemberName("succeededWithWarnings")] SucceededWithWarnings,
    [JsonStringEnumMemberName("failed")] Failed,
    [JsonStringEnumMemberName("cancelled")] Cancelled,
}

/// <param name="Required">False: the job may end without it, with a warning.</param>
/// <param name="At">When it last changed.</param>
public sealed record JobStep(string Name, JobStatus Status, DateTimeOffset At, string? Detail = null, bool Required = true);

/// <summary>One operator command and how far it got. Part of the machine's event-sourced state, never a second truth.</summary>
public sealed record Job(
    JobId Id, string Action, JobStatus Status, DateTimeOffset StartedAt, DateTimeOffset? FinishedAt,
    ImmutableArray<JobStep> Steps, string? Error = null)
{
    /// <summary>The epoch that a failover opens; null where it opens none, or does not yet.</summary>
    public Epoch? Epoch { get; init; }

    /// <summary>Of what brings a replica up; filled in as it is seen, also after the job has ended. Null: nothing was seen.</summary>
    public RecoveryTimes? Times { get; init; }

    [JsonIgnore] public bool IsFinished => FinishedAt is not null;
}
