using System.Collections.Immutable;
using SiteRecovery.Domain.ProtectedMachines;

namespace SiteRecovery.Domain.Results;

/// <summary>What a command leads to: persist the events, and only when they are durable send the reply.</summary>
public sealed record Decision(ImmutableArray<MachineEvent> Events, MachineReply Reply)
{
    public bool IsAccepted => Reply is Accepted;

    public static Decision Accept(MachineReply reply, params ReadOnlySpan<MachineEvent> events) => new([.. events], reply);

    public static Decision Refuse(Refused refused) => new([], refused);
}
