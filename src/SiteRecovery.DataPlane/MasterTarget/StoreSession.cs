using System.Threading.Channels;
using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.DataPlane.Retention;

namespace SiteRecovery.DataPlane.MasterTarget;

/// <summary>
/// One stream into one store: a bounded queue, an appender that takes what comes, and a flusher beside it that makes all that was appended
/// meanwhile durable with one flush, then acknowledges.
/// </summary>
internal sealed class StoreSession : IStreamSession
{
    private const int QueueMax = 16;
    private readonly Channel<Batch> _queue = Channel.CreateBounded<Batch>(new BoundedChannelOptions(QueueMax) { SingleReader = true });
    private readonly Channel<bool> _appended = Channel.CreateBounded<bool>(new BoundedChannelOptions(1) { FullMode = BoundedChannelFullMode.DropWrite });
    private readonly TaskCompletionSource<Exception?> _closed = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly RetentionStore _store;
    private readonly IPositionListener _positions;
    private readonly TimeProvider _time;
    private readonly Task _committing;
    private Exception? _reason;
    private volatile bool _isHeld; // whoever stopped it tells why

    internal StoreSession(RetentionStore store, StreamPosition known, IPositionListener positions, TimeProvider time)
    {
        (_store, _positions, _time) = (store, positions, time);
        Opened = new StreamOpened(store.Held, store.Durable, store.DurableSequence, store.IsEmpty, store.HasLost || store.Lacks(known));
        _committing = Task.Run(CommitAsync);
    }

    public StreamOpened Opened { get; }
    public bool LetsGoOfReceived => true;
    public Task<Exception?> Closed => _closed.Task;
    internal DateTimeOffset? ReceivedAt { get; private set; }

    public async ValueTask OfferAsync(Batch batch, CancellationToken stop)
    {
        try
        {
            await _queue.Writer.WriteAsync(BatchCodec.Verify(batch.Frame), stop);
        }
        catch (ChannelClosedException)
        {
            throw _reason ?? new IOException("this session takes nothing any more");
        }
        ReceivedAt = _time.GetUtcNow();
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

    /// <summary>Takes nothing more; what it has taken is durable when this returns, where that can be. Who sends hears of it by <see cref="Tell"/>.</summary>
    internal async Task StopAsync()
    {
        _isHeld = true;
        await EndAsync(null);
    }

    internal void Tell(Exception reason)
    {
        _reason ??= reason;
        _closed.TrySetResult(_reason);
    }

    private async Task CommitAsync()
    {
        await Task.WhenAll(Guard(AppendAsync), Guard(FlushAsync));
        if (!_isHeld) _closed.TrySetResult(_reason);
    }

    private async Task AppendAsync()
    {
        var heard = false;
        await foreach (var batch in _queue.Reader.ReadAllAsync())
        {
            _store.Append(batch);
            // Whoever sends was told, and has it on record.
            if (Opened.TargetLost && !heard) _store.LossIsKnown();
            heard = true;
            _positions.Received(batch.Position);
            _appended.Writer.TryWrite(true);
        }
    }

    private async Task FlushAsync()
    {
        while (await _appended.Reader.WaitToReadAsync())
        {
            _appended.Reader.TryRead(out _);
            var (position, sequence) = _store.Flush();
            _positions.Durable(position, sequence);
        }
    }

    /// <summary>Runs one of the two; its end, good or bad, ends the other, which still finishes what is there.</summary>
    private async Task Guard(Func<Task> work)
    {
        try
        {
            await work();
        }
        catch (Exception failure)
        {
            _reason ??= failure;
        }
        _queue.Writer.TryComplete();
        _appended.Writer.TryComplete();
    }
}
