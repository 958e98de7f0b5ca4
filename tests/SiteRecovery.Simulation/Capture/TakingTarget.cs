using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.Domain.History;

namespace SiteRecovery.Simulation.Capture;

/// <summary>Takes whatever comes, says at once that it is durable, and differs in every block that it is asked for.</summary>
internal sealed class TakingTarget : IStreamTarget
{
    private volatile Batch? _last;
    private Sequence _newest;

    internal StreamPosition Held => _last?.Position ?? default;
    internal StreamOpening? Opening { get; private set; }

    public ValueTask<IStreamSession> OpenAsync(StreamOpening opening, IPositionListener positions, CancellationToken stop)
    {
        Opening = opening;
        return new(new Session(this, positions, new StreamOpened(Held, Held, _newest, _last is null)));
    }

    /// <summary>Streams until what is written is durable here, and no bit says otherwise.</summary>
    internal async Task CatchUpAsync(DataPlane.Capture.MachineCapture capture, Func<bool>? until = null)
    {
        using var stop = new CancellationTokenSource();
        using var deadline = new CancellationTokenSource(TimeSpan.FromSeconds(30));
        var run = capture.RunAsync(this, stop.Token);
        await capture.StartSynchronizationAsync();
        while (capture.Status() is not { Synchronizing: false, Complete: true, DirtyBytes: 0 } status || status.Durable != status.Newest || until?.Invoke() == false) await Task.Delay(2, deadline.Token);
        await stop.CancelAsync();
        await run;
    }

    private sealed class Session(TakingTarget target, IPositionListener positions, StreamOpened opened) : IStreamSession
    {
        private readonly TaskCompletionSource<Exception?> _closed = new(TaskCreationOptions.RunContinuationsAsynchronously);

        public StreamOpened Opened => opened;
        public Task<Exception?> Closed => _closed.Task;

        public ValueTask<ulong[]> HashesAsync(ushort disk, long offset, int blockBytes, int blocks, CancellationToken stop) => new(Enumerable.Repeat(1UL, blocks).ToArray());

        public ValueTask OfferAsync(Batch batch, CancellationToken stop)
        {
            target._last = batch;
            if (batch.Header.Last > target._newest) target._newest = batch.Header.Last;
            positions.Received(batch.Position);
            positions.Durable(batch.Position, target._newest);
            return default;
        }

        public ValueTask DisposeAsync()
        {
            _closed.TrySetResult(null);
            return default;
        }
    }
}
