using System.Threading.Channels;
using SiteRecovery.DataPlane.Blocks;

namespace SiteRecovery.DataPlane.Tests.Capture;

/// <summary>Receives at once, applies later; hashes describe what is applied.</summary>
internal sealed class SlowTarget(IStreamTarget next, TimeSpan delay) : IStreamTarget
{
    public async ValueTask<IStreamSession> OpenAsync(StreamOpening opening, IPositionListener positions, CancellationToken stop) =>
        new Session(await next.OpenAsync(opening, positions, stop), positions, delay);

    private sealed class Session : IStreamSession
    {
        private readonly Channel<Batch> _late = Channel.CreateUnbounded<Batch>();
        private readonly IStreamSession _next;
        private readonly IPositionListener _positions;
        private readonly Task _applying;

        public Session(IStreamSession next, IPositionListener positions, TimeSpan delay)
        {
            (_next, _positions) = (next, positions);
            _applying = Task.Run(async () =>
            {
                while (await _late.Reader.WaitToReadAsync())
                {
                    await Task.Delay(delay);
                    while (_late.Reader.TryRead(out var batch)) await next.OfferAsync(batch, default);
                }
            });
        }

        public StreamOpened Opened => _next.Opened;
        public Task<Exception?> Closed => _next.Closed;

        public ValueTask OfferAsync(Batch batch, CancellationToken stop)
        {
            _late.Writer.TryWrite(batch);
            _positions.Received(batch.Position);
            return ValueTask.CompletedTask;
        }

        public ValueTask<ulong[]> HashesAsync(ushort disk, long offset, int blockBytes, int blocks, CancellationToken stop) => _next.HashesAsync(disk, offset, blockBytes, blocks, stop);

        public async ValueTask DisposeAsync()
        {
            _late.Writer.TryComplete();
            await _applying;
            await _next.DisposeAsync();
        }
    }
}
