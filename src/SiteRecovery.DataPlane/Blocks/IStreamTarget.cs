using SiteRecovery.Domain.History;

namespace SiteRecovery.DataPlane.Blocks;

/// <summary>A disk of a protected machine as the data plane names it: its index on the wire, its name, its size in bytes.</summary>
public sealed record DiskGeometry(ushort Index, string Name, long SizeBytes);

/// <summary>What a source says when it opens its stream.</summary>
/// <param name="Incarnation">Grows with every new stream; within one, ordinals are 1, 2, 3 … without gap.</param>
public sealed record StreamOpening(MachineId Machine, Epoch Epoch, IReadOnlyList<DiskGeometry> Disks, long Incarnation)
{
    /// <summary>Newest sequence that the source was told is durable at the master target: a process server that remembers nothing of it must not pass on anything to a target that has less.</summary>
    public Sequence KnownDurable { get; init; }
    /// <summary>How far it was told that its stream is durable there: a synchronization gives out no sequences.</summary>
    public StreamPosition KnownPosition { get; init; }
}

/// <summary>Where the receiving side stands.</summary>
/// <param name="Held">Newest batch that this receiver holds: a source continues after it, or starts a new incarnation.</param>
/// <param name="Durable">Newest batch that is durable at the master target (ordinal 0: none, or, where the target is not said to be empty, unknown).</param>
/// <param name="DurableSequence">Newest sequence that is durable at the master target.</param>
/// <param name="TargetEmpty">The target holds nothing yet and reads as zeroes: no hashes are worth asking for.</param>
/// <param name="TargetLost">The target has lost what it had acknowledged, in this epoch or one before, and nobody that sent something since was told: nothing that a source has on record as being there counts.</param>
public sealed record StreamOpened(StreamPosition Held, StreamPosition Durable, Sequence DurableSequence, bool TargetEmpty, bool TargetLost = false);

/// <summary>Whoever takes streams: the process server for agents, the master target for process servers. Stages stack over it.</summary>
public interface IStreamTarget
{
    /// <exception cref="StaleEpochException">The opening's epoch is over: fence.</exception>
    ValueTask<IStreamSession> OpenAsync(StreamOpening opening, IPositionListener positions, CancellationToken stop);
}

/// <summary>An open stream. After any exception from it the session is dead: dispose it and open a new one.</summary>
public interface IStreamSession : IBatchSink, IAsyncDisposable
{
    StreamOpened Opened { get; }

    /// <summary>True: once a batch's position was received, nobody here reads its frame any more, and its memory may be used again.</summary>
    bool LetsGoOfReceived => false;

    /// <summary>XxHash3 of each block of the target's newest state; 0 stands for a block that reads as zeroes.</summary>
    ValueTask<ulong[]> HashesAsync(ushort disk, long offset, int blockBytes, int blocks, CancellationToken stop);

    /// <summary>Completes (never faults) when the session is over; the result is why, null after a clean close.</summary>
    Task<Exception?> Closed { get; }
}
