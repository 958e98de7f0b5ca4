using System.Threading.Channels;
using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.DataPlane.Retention;

namespace SiteRecovery.DataPlane.MasterTarget;

/// <summary>One stream into one store: a bounded queue and a committer that appends all it finds, flushes once, then acknowledges.</summary>
internal sealed class StoreSession : IStreamSession
{
    private const int QueueMax = 64;
    private readonly Channel<Batch> _queue = Channel.CreateBounded<Batch>(new BoundedChannelOptions(QueueMax) { SingleReader = true });
    private readonly TaskCompletionSource<Exception?> _closed = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly RetentionStore _store;
    private readonly IPositionListener _positions;
    private readonly TimeProvider _time;
    private readonly Task _committing;
    private Exception? _reason;

    internal StoreSession(RetentionStore store, IPositionListener positions, TimeProvider time)
    {
        (_store, _positions, _time) = (store, positions, time);
        Opened = new StreamOpened(store.Held, store.Durable, store.DurableSequence, store.IsEmpty);
        _committing = Task.Run(CommitAsync);
    }

    public StreamOpened Opened { get; }
    public Task<Exception?> Closed => _closed.Task;
    internal DateTimeOffset? ReceivedAt { get; private set; }

    public async ValueTask OfferAsync(Batch batch, CancellationToken stop)
    {
        try
        {
            await _queue.Writer.WriteAsync(BatchCodec.Verify(batch.Frame), stop);
        }
        catch (ChannelClosedException) when (_reason is { } reason)
        {
            throw reason;
        }
        ReceivedAt = _time.GetUtcNow();
        _positions.Received(batch.Position);
    }

    public ValueTask<ulong[]> HashesAsync(ushort disk, long offset, int blockBytes, int blocks, CancellationToken stop) =>
        _store.HashesAsync(disk, offset, blockBytes, blocks, stop);

    public async ValueTask DisposeAsync() => await EndAsync(null);

    internal async Task EndAsync(Exception? reason)
    {
        _reason ??= reason;
        _queue.Writer.TryComplete();
        await _committing;
    }

    private async Task CommitAsync()
    {
        try
        {
            while (await _queue.Reader.WaitToReadAsync())
            {
                for (var taken = 0; taken < QueueMax && _queue.Reader.TryRead(out var batch); taken++) _store.Append(batch);
                _store.Flush();
                _positions.Durable(_store.Durable, _store.DurableSequence);
            }
        }
        catch (Exception failure)
        {
            _reason ??= failure;
            _queue.Writer.TryComplete();
        }
        _closed.TrySetResult(_reason);
    }
}
