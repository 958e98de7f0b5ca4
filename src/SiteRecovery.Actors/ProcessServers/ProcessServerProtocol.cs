using SiteRecovery.Domain.History;
using SiteRecovery.Domain.Vaults;

namespace SiteRecovery.Actors.ProcessServers;

/// <summary>Something to ask of an agent, put to the process server that holds its session. Answered with <see cref="AgentAnswer"/>.</summary>
public interface IForAgent
{
    AgentName Agent { get; }
}

/// <summary>How large is the disk at this path on the agent's host, and can it be protected?</summary>
public sealed record InspectAgentDisk(AgentName Agent, string Path) : IForAgent, IClusterMessage;

/// <summary>Marks a recovery point at the newest write.</summary>
public sealed record TakeRecoveryPoint(AgentName Agent, MachineId Machine, string? Label, PointKind Kind) : IForAgent, IClusterMessage;

/// <summary>Which machines has the hypervisor of the agent's host?</summary>
/// <param name="Only">The name of one; null: all, in the order of their names.</param>
public sealed record ListHostMachines(AgentName Agent, string? Only, int Skip, int Limit) : IForAgent, IClusterMessage;

/// <param name="Error">Null: it was done.</param>
/// <param name="SizeBytes">Of an inspected disk.</param>
/// <param name="PointId">Of a point that was taken; it is durable at the target when the store lists it.</param>
/// <param name="Remedy">What can be done about the error; null: the error says it.</param>
/// <param name="Machines">A page of the host's machines, as JSON.</param>
public sealed record AgentAnswer(string? Error, long SizeBytes = 0, string? PointId = null, string? Remedy = null, string? Machines = null) : IClusterMessage;
