using SiteRecovery.Domain.History;
using SiteRecovery.Domain.ProtectedMachines;
using SiteRecovery.Domain.Results;

namespace SiteRecovery.Actors.ProtectedMachines;

/// <summary>What the master target measures of a store; kept in memory, never persisted.</summary>
/// <param name="NewestConsistentAt">Source clock; null while the store has no consistent point.</param>
public sealed record StoreReport(
    MachineId Machine, Epoch Epoch, Sequence Durable, DateTimeOffset? NewestConsistentAt, int Points, long Bytes) : IForMachine;

/// <summary>What the agent says of a machine, or its session of the agent; kept in memory, never persisted.</summary>
public sealed record AgentReport(MachineId Machine, bool Connected, string State, long BytesToSend, long BytesSent) : IForMachine;

/// <summary>Answered with <see cref="MeasuredMachine"/>.</summary>
public sealed record GetMeasuredMachine(MachineId Machine) : IForMachine;

/// <summary>State and last measurements, from which a view is made.</summary>
/// <param name="StoreMeasuredAt">By the clock of the machine's actor; null: not measured since it started.</param>
public sealed record MeasuredMachine(
    ProtectedMachine State, StoreReport? Store, DateTimeOffset? StoreMeasuredAt, AgentReport? Agent, DateTimeOffset? AgentHeardAt) : IClusterMessage;

/// <summary>Work that should stop, because the machine's state no longer wants it.</summary>
public sealed record WorkEnded(Work Work) : IClusterMessage;
