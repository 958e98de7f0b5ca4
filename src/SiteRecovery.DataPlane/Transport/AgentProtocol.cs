using System.Text.Json;
using System.Text.Json.Serialization;
using SiteRecovery.DataPlane.Hypervisors;
using SiteRecovery.Domain.History;

namespace SiteRecovery.DataPlane.Transport;

/// <summary>A message of the control channel, in either direction.</summary>
[JsonPolymorphic(TypeDiscriminatorPropertyName = "type")]
[JsonDerivedType(typeof(AgentHello), "agentHello")]
[JsonDerivedType(typeof(AgentStatus), "agentStatus")]
[JsonDerivedType(typeof(CommandDone), "commandDone")]
[JsonDerivedType(typeof(DiskInspected), "diskInspected")]
[JsonDerivedType(typeof(DiskList), "diskList")]
[JsonDerivedType(typeof(MachineList), "machineList")]
[JsonDerivedType(typeof(ProtectMachine), "protectMachine")]
[JsonDerivedType(typeof(FenceMachine), "fenceMachine")]
[JsonDerivedType(typeof(ReleaseMachine), "releaseMachine")]
[JsonDerivedType(typeof(TakePoint), "takePoint")]
[JsonDerivedType(typeof(InspectDisk), "inspectDisk")]
[JsonDerivedType(typeof(ListDisks), "listDisks")]
[JsonDerivedType(typeof(ListMachines), "listMachines")]
[JsonDerivedType(typeof(ReportTail), "reportTail")]
[JsonDerivedType(typeof(TailRanges), "tailRanges")]
[JsonDerivedType(typeof(StatusHeard), "statusHeard")]
[JsonDerivedType(typeof(HelloRefused), "helloRefused")]
public abstract record AgentMessage;

// Agent → server.

/// <summary>First message of an agent: who it is and the machines whose state it keeps.</summary>
/// <param name="Instance">Another one for each process: two that bear one name are told apart by it. Empty: an agent that knows none.</param>
public sealed record AgentHello(string Name, string Version, IReadOnlyList<string> Machines, string Instance = "") : AgentMessage;

public sealed record AgentStatus(DateTimeOffset Time, IReadOnlyList<MachineStatus> Machines) : AgentMessage;

public sealed record MachineStatus
{
    public required string Machine { get; init; }
    public required int Epoch { get; init; }
    public required string Mode { get; init; }
    public long NewestSequence { get; init; }
    public long DurableSequence { get; init; }
    public long DirtyBytes { get; init; }
    public bool NeedsResynchronization { get; init; }
    public string? Reason { get; init; }
    public long BytesDone { get; init; }
    public long BytesTotal { get; init; }
    public long BytesPerSecond { get; init; }
    /// <summary>Of <see cref="BytesDone"/>, what differed at the target.</summary>
    public long BytesDiffering { get; init; }
    public long BytesShipped { get; init; }
    /// <summary>The generation of <see cref="ProtectMachine.Synchronize"/> that the agent has completed.</summary>
    public int Synchronized { get; init; }
    public IReadOnlyList<DiskStatus> Disks { get; init; } = [];
    public long BytesResent { get; init; }
    public bool Fenced { get; init; }
    public bool Paused { get; init; }
    public string? Error { get; init; }
    /// <summary>How many have the machine's disks open.</summary>
    public int Clients { get; init; }
    /// <summary>Of the order that it obeys: what a drain of an earlier one found says nothing of a later one.</summary>
    public int Round { get; init; }
    /// <summary>How the machine was seen not to run any more, once a drain has got so far.</summary>
    public string? DrainStopped { get; init; }
    /// <summary>What keeps a drain from going on.</summary>
    public string? DrainWaitsFor { get; init; }
    /// <summary>Set once a drain is complete: the root hash of all disks at <see cref="NewestSequence"/>, which is durable at the target.</summary>
    public string? DrainedHash { get; init; }
    /// <summary>What was drained stays so until a later order, however long nothing is heard.</summary>
    public bool DrainHeld { get; init; }
    /// <summary>Set where the drain of this round is over, because nothing was heard for too long: the machine takes writes again.</summary>
    public string? DrainLapsed { get; init; }
}

public sealed record DiskStatus(int Index, string Name, long SizeBytes, string? CaptureUri, string? Error);

/// <summary>A command came to its end; <paramref name="Error"/> null means that it succeeded.</summary>
/// <param name="Result">What came of it: the id of a point that was taken.</param>
public sealed record CommandDone(string Id, string? Error = null, string? Result = null) : AgentMessage;

public sealed record DiskInspected(string Id, string Path, long SizeBytes, string? Error = null) : AgentMessage;

/// <summary>A part of a machine's tail: disk index, offset and length of each range, one after the other. Bytes.</summary>
/// <param name="Newest">The last sequence that the machine gave out.</param>
/// <param name="Incarnation">With <paramref name="Ordinal"/> where the target stood, as it had told the machine: what is up to there is not among the ranges. 0 from an agent of before.</param>
public sealed record TailRanges(string Id, string Machine, int Epoch, long Newest, IReadOnlyList<long> Numbers, long Incarnation = 0, long Ordinal = 0) : AgentMessage;

public sealed record DiskFound(string Path, long SizeBytes);

public sealed record DiskList(string Id, IReadOnlyList<DiskFound> Disks) : AgentMessage;

/// <summary>Machines of the agent's host, or why they are not known.</summary>
public sealed record MachineList(string Id, HostMachinePage? Page, string? Error = null, string? Remedy = null) : AgentMessage;

// Server → agent. Each carries an id; the same id twice is done once.

/// <param name="SizeBytes">What it had when it was protected; 0: any.</param>
public sealed record DiskAssignment(int Index, string Name, string Path, long SizeBytes = 0);

/// <summary>The desired state of a machine: the agent makes it so, however often it is told.</summary>
public sealed record ProtectMachine : AgentMessage
{
    public required string Id { get; init; }
    public required string Machine { get; init; }
    public required int Epoch { get; init; }
    public required IReadOnlyList<DiskAssignment> Disks { get; init; }
    public int PointEverySeconds { get; init; }
    public bool Paused { get; init; }
    /// <summary>A higher number than the last one asks for a synchronization.</summary>
    public int Synchronize { get; init; }
    /// <summary>That synchronization compares every block, not only those known to differ.</summary>
    public bool Full { get; init; }
    /// <summary>What that synchronization compares besides, because the target has lost it: disk index, offset and length of each range in bytes, one after the other.</summary>
    public IReadOnlyList<long> Stale { get; init; } = [];
    /// <summary>After a lost stream the agent mends the difference by itself.</summary>
    public bool ResynchronizeAutomatically { get; init; } = true;
    /// <summary>Within an epoch an order with a lower one is late, and passed over.</summary>
    public int Round { get; init; }
    /// <summary>Planned failover: take no write any more, send the rest, then tell the root hash. False again: take writes again, as when this is not repeated for long.</summary>
    public bool Drain { get; init; }
    /// <summary>Take no write even when nothing is heard any more, until a later order.</summary>
    public bool Hold { get; init; }
    /// <summary>The configuration server says it now; false: a process server remembers it.</summary>
    public bool Fresh { get; init; }
    /// <summary>The epoch in which this protection began: under another one the bitmaps say nothing. 0: <see cref="Epoch"/>.</summary>
    public int Protection { get; init; }
}

/// <param name="StopMachine">Its machine is stopped by force, where the agent knows the hypervisor, instead of only having its writes refused.</param>
public sealed record FenceMachine(string Id, string Machine, int Epoch, bool StopMachine = false) : AgentMessage;

/// <param name="Epoch">Of the protection that ended; a later one is not touched.</param>
/// <param name="Fence">First: nobody may write to its disks from then on. An agent of before does not know it.</param>
public sealed record ReleaseMachine(string Id, string Machine, int Epoch, bool Fence = false) : AgentMessage;

/// <param name="Kind">crash-consistent or application-consistent.</param>
public sealed record TakePoint(string Id, string Machine, string? Label, string Kind) : AgentMessage;

/// <summary>What a fenced machine wrote that may not have reached the target. Answered with <see cref="TailRanges"/>, then <see cref="CommandDone"/>.</summary>
public sealed record ReportTail(string Id, string Machine) : AgentMessage;

public sealed record InspectDisk(string Id, string Path) : AgentMessage;

public sealed record ListDisks(string Id) : AgentMessage;

/// <summary>Which machines has the host's hypervisor? Answered with <see cref="MachineList"/>.</summary>
/// <param name="Only">The name of one; null: all, in the order of their names.</param>
public sealed record ListMachines(string Id, string? Only, int Skip, int Limit) : AgentMessage;

/// <summary>The answer to every status, so that an agent knows that somebody is there.</summary>
public sealed record StatusHeard : AgentMessage;

/// <summary>The answer to a hello that is not let in; the connection ends.</summary>
public sealed record HelloRefused(string Reason) : AgentMessage;

/// <summary>Messages as bytes, without reflection.</summary>
public static class AgentProtocol
{
    public static byte[] Encode(AgentMessage message) => JsonSerializer.SerializeToUtf8Bytes(message, AgentJson.Default.AgentMessage);

    /// <exception cref="InvalidDataException">The bytes are no message of this protocol.</exception>
    public static AgentMessage Decode(ReadOnlySpan<byte> bytes)
    {
        try
        {
            var message = JsonSerializer.Deserialize(bytes, AgentJson.Default.AgentMessage);
            return message is not null && IsWhole(message) ? message : throw new InvalidDataException("the agent message is empty, or lacks what it must say");
        }
        catch (Exception error) when (error is JsonException or NotSupportedException)
        {
            throw new InvalidDataException($"not an agent message: {error.Message}", error);
        }
    }

    /// <summary>JSON may leave out, or hold a null, where a message has a value; nobody who takes one looks again.</summary>
    private static bool IsWhole(AgentMessage message) => message switch
    {
        AgentHello m => m is { Name: not null, Version: not null, Machines: not null, Instance: not null } && m.Machines.All(MachineId.IsValid),
        AgentStatus m => m.Machines?.All(s => s is { Mode: not null, Disks: not null } && MachineId.IsValid(s.Machine) && s.Disks.All(d => d is { Name: not null })) == true,
        CommandDone m => m.Id is not null,
        DiskInspected m => m is { Id: not null, Path: not null },
        TailRanges m => m is { Id: not null, Numbers: not null } && MachineId.IsValid(m.Machine),
        DiskList m => m is { Id: not null, Disks: not null } && m.Disks.All(d => d is { Path: not null }),
        MachineList m => m.Id is not null && (m.Page is null || m.Page.Machines?.All(p => p is not null) == true),
        ProtectMachine m => m is { Id: not null, Disks: not null, Stale: not null } && MachineId.IsValid(m.Machine) && m.Disks.All(d => d is { Name: not null, Path: not null }),
        FenceMachine m => m.Id is not null && MachineId.IsValid(m.Machine),
        ReleaseMachine m => m.Id is not null && MachineId.IsValid(m.Machine),
        TakePoint m => m is { Id: not null, Kind: not null } && MachineId.IsValid(m.Machine),
        ReportTail m => m.Id is not null && MachineId.IsValid(m.Machine),
        InspectDisk m => m is { Id: not null, Path: not null },
        ListDisks m => m.Id is not null,
        ListMachines m => m.Id is not null,
        HelloRefused m => m.Reason is not null,
        _ => true,
    };
}

[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase, DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull,
    AllowOutOfOrderMetadataProperties = true, RespectRequiredConstructorParameters = false)]
[JsonSerializable(typeof(AgentMessage))]
internal sealed partial class AgentJson : JsonSerializerContext;
