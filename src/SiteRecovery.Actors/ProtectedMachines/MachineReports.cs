using System.Collections.Immutable;
using SiteRecovery.Domain.History;
using SiteRecovery.Domain.ProtectedMachines;
using SiteRecovery.Domain.Results;
using SiteRecovery.Domain.Vaults;

namespace SiteRecovery.Actors.ProtectedMachines;

/// <summary>What the master target measures of a store; kept in memory, never persisted. Bytes.</summary>
/// <param name="Durable">Newest sequence that survives power loss.</param>
/// <param name="Consistent">False while writes are missing between the newest consistent point and now.</param>
/// <param name="Newest">Newest consistent position; its time is the source's clock. Null while there is none.</param>
/// <param name="Site">Where the store is.</param>
/// <param name="FailedReason">Why the store takes no writes; null while it does.</param>
/// <param name="BytesPerSecond">How fast the history grows; negative while more is given up than comes.</param>
/// <param name="LimitAt">When it reaches the policy's limit in bytes at that rate; null: it has none, or will not.</param>
/// <param name="DiskFullAt">When the disk is full at the rate at which all that is on it grows; null: it will not be.</param>
/// <param name="Rot">What the scrub has found damaged; null: nothing.</param>
public sealed record StoreReport(
    MachineId Machine, Epoch Epoch, Sequence Durable, bool Consistent, RecoveryPoint? Newest, RecoveryPoint? Oldest, int Points, long Bytes,
    long FreeBytes, string? FailedReason, SiteName Site, string? Rot = null, long BytesPerSecond = 0, DateTimeOffset? LimitAt = null, DateTimeOffset? DiskFullAt = null) : IForMachine;

/// <summary>How far the layers of the replica that is the machine now are raw files; kept in memory, never persisted. Bytes.</summary>
public sealed record FlatteningReport(MachineId Machine, long BytesDone, long BytesTotal, long BytesPerSecond) : IForMachine;

/// <summary>A disk as the agent serves it to the hypervisor.</summary>
public sealed record CapturedDisk(int Index, string? CaptureUri, string? Error);

/// <summary>What the agent says of a machine, and its process server of the way; kept in memory, never persisted. Bytes.</summary>
/// <param name="Source">The agent's name; null where the source is a replica.</param>
/// <param name="Clients">How many have the machine's disks open.</param>
/// <param name="Failed">The agent cannot capture the machine at all; the error says why.</param>
public sealed record AgentReport(
    MachineId Machine, bool Connected, int Epoch, string Mode, Sequence Newest, Sequence Durable, long DirtyBytes, long BytesDone, long BytesTotal,
    long BytesPerSecond, long BytesShipped, long BytesResent, bool Fenced, string? Reason, string? Error, ImmutableArray<CapturedDisk> Disks,
    SpoolReport? Spool, bool Failed = false, string? Source = null, int Clients = 0) : IForMachine
{
    public static AgentReport Gone(MachineId machine, string agent, AgentReport? last) => last is not null
        ? last with { Connected = false }
        : new(machine, false, 0, "unknown", Sequence.None, Sequence.None, 0, 0, 0, 0, 0, 0, false, null, null, ImmutableArray<CapturedDisk>.Empty, null, Source: agent);
}

/// <summary>What waits at the process server. Bytes.</summary>
/// <param name="OldestAt">Source time of the oldest batch that waits.</param>
/// <param name="LinkUp">Whether the master target is connected.</param>
public sealed record SpoolReport(long Bytes, DateTimeOffset? OldestAt, bool LinkUp, string? Error, TimeSpan? ClockOffset);

/// <summary>Answered with <see cref="MeasuredMachine"/>.</summary>
public sealed record GetMeasuredMachine(MachineId Machine) : IForMachine;

/// <summary>State and last measurements, from which a view is made.</summary>
/// <param name="StoreMeasuredAt">By the clock of the machine's actor; null: not measured since it started.</param>
/// <param name="AgentHeardAt">When the source itself said something last; null: not since <see cref="Listening"/> began.</param>
public sealed record MeasuredMachine(
    ProtectedMachine State, StoreReport? Store, DateTimeOffset? StoreMeasuredAt, AgentReport? Agent, DateTimeOffset? AgentHeardAt, FlatteningReport? Flattening = null) : IClusterMessage;

/// <summary>Answered with <see cref="Listening"/>.</summary>
public sealed record GetListening(MachineId Machine) : IForMachine;

/// <param name="Since">When the machine's actor started, or its source became another.</param>
public sealed record Listening(DateTimeOffset? Since) : IClusterMessage;

/// <summary>Answered with <see cref="ProtectionsEnded"/>.</summary>
public sealed record GetEndedProtections(MachineId Machine) : IForMachine;

/// <summary>Nothing is wanted any more of what was written in an epoch up to <paramref name="UpTo"/>; 0: no protection of the machine has ended.</summary>
public sealed record ProtectionsEnded(MachineId Machine, Epoch UpTo) : IClusterMessage;

/// <summary>Work that should stop, because the machine's state no longer wants it.</summary>
public sealed record WorkEnded(Work Work) : IClusterMessage;
