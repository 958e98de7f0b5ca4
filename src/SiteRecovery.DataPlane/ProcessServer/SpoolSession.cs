using SiteRecovery.DataPlane.Blocks;

namespace SiteRecovery.DataPlane.ProcessServer;

/// <summary>An agent's stream into the spool. The upstream side comes and goes without it noticing.</summary>
internal sealed class SpoolSession(MachineSpool spool, StreamOpening opening, IPositionListener positions) : IStreamSession
{
    private readonly TaskCompletionSource<Exception?> _closed = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private Exception? _reason;
    private volatile bool _ended;

    /// <summary>What it says to be known is what the source goes on by once it was answered.</summary>
    public StreamOpening Opening { get; private set; } = opening;
    public IPositionListener Positions => positions;
    public StreamOpened Opened { get; private set; } = null!;
    public Task<Exception?> Closed => _closed.Task;
    // What was received is on disk.
    public bool LetsGoOfReceived => true;
    public bool IsEnded => _ended;

    public void Answer(StreamOpened opened)
    {
        Opened = opened;
        if (opened is { TargetEmpty: false, TargetLost: false, Durable.Incarnation: 0 }) return; // which says nothing
        Opening = Opening with { KnownDurable = opened.DurableSequence, KnownPosition = opened.Durable };
    }

    public ValueTask OfferAsync(Batch batch, CancellationToken stop) => spool.OfferAsync(this, batch, stop);

    public ValueTask<ulong[]> HashesAsync(ushort disk, long offset, int blockBytes, int blocks, CancellationToken stop) =>
        spool.HashesAsync(this, disk, offset, blockBytes, blocks, stop);

    public void End(Exception? reason)
    {
        if (_ended) return;
        Volatile.Write(ref _reason, reason);
        _ended = true;
        _closed.TrySetResult(reason);
    }

    public void ThrowIfEnded()
    {
        if (_ended) throw Volatile.Read(ref _reason) ?? new ObjectDisposedException("the stream into the spool");
    }

    public ValueTask DisposeAsync()
    {
        End(null);
        spool.Leave(this);
        return ValueTask.CompletedTask;
    }
}
