using SiteRecovery.Domain.History;

namespace SiteRecovery.DataPlane.Blocks;

/// <summary>One room's door. Batches of one machine arrive in ordinal order, without gaps within an incarnation.</summary>
public interface IBatchSink
{
    /// <summary>Takes a batch; waits for room in this room, never for the WAN.</summary>
    /// <exception cref="StaleEpochException">The batch belongs to an epoch that is over: stop and fence.</exception>
    ValueTask OfferAsync(Batch batch, CancellationToken stop);
}

/// <summary>Acknowledgement flows back as positions. Received: held by the next room. Durable: survives power loss at the target.</summary>
public interface IPositionListener
{
    void Received(StreamPosition position);
    void Durable(StreamPosition position, Sequence sequence);
}

/// <summary>The batch's epoch is over; <see cref="Current"/> is the one that counts.</summary>
public sealed class StaleEpochException(Epoch current) : Exception($"the epoch is over; the current epoch is {current}")
{
    public Epoch Current { get; } = current;
}

/// <summary>The stream does not continue where the receiver stands: reconnect, or start a new incarnation with a resynchronization.</summary>
public sealed class StreamGapException(StreamPosition held) : Exception($"the receiver holds incarnation {held.Incarnation} up to {held.Ordinal}")
{
    public StreamPosition Held { get; } = held;
}
