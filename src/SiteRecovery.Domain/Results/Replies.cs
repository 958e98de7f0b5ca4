using System.Collections.Immutable;
using System.Text.Json.Serialization;
using SiteRecovery.Domain.History;
using SiteRecovery.Domain.Jobs;

namespace SiteRecovery.Domain.Results;

/// <summary>The answer to a command.</summary>
[JsonPolymorphic(TypeDiscriminatorPropertyName = "$type")]
[JsonDerivedType(typeof(Accepted), "accepted")]
[JsonDerivedType(typeof(Refused), "refused")]
public abstract record MachineReply(MachineId Machine, CommandId Id);

/// <param name="Job">The job to follow; null for a report of the data plane, which starts none of its own.</param>
public sealed record Accepted(MachineId Machine, CommandId Id, JobId? Job) : MachineReply(Machine, Id);

/// <param name="Code">Stable, for programs: see <see cref="RefusalCode"/>.</param>
public sealed record Refused(
    MachineId Machine, CommandId Id, string Code, string State, string Reason, string Remedy,
    ImmutableArray<string> AllowedActions) : MachineReply(Machine, Id);

public static class RefusalCode
{
    /// <summary>The state does not allow the action (HTTP 409).</summary>
    public const string NotAllowedInState = "notAllowedInState";
    /// <summary>This version cannot do it in any state (HTTP 501).</summary>
    public const string NotYetSupported = "notYetSupported";
    /// <summary>The command itself is malformed (HTTP 400).</summary>
    public const string Invalid = "invalid";
    /// <summary>The same id was used before for a different action (HTTP 422).</summary>
    public const string CommandIdReused = "commandIdReused";
}
