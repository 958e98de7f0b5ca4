using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.Domain.History;

namespace SiteRecovery.Node.Bench;

/// <summary>Takes every batch, keeps nothing and says at once that it is durable: what remains is the source's own cost.</summary>
public sealed class NullTarget : IStreamTarget
{
    public ValueTask<IStreamSession> OpenAsync(StreamOpening opening, IPositionListener positions, CancellationToken stop) => new(new Session(positions));

    private sealed class Session(IPositionListener positions) : IStreamSession
    {
        private readonly TaskCompletionSource<Exception?> _closed = new(TaskCreationOptions.RunContinuationsAsynchronously);

        public bool LetsGoOfReceived => true;
        public StreamOpened Opened { get; } = new(default, default, Sequence.None, true);
        public Task<Exception?> Closed => _closed.Task;

        public ValueTask OfferAsync(Batch batch, CancellationToken stop)
        {
            positions.Received(batch.Position);
            positions.Durable(batch.Position, batch.Header.Last);
            return default;
        }

        public ValueTask<ulong[]> HashesAsync(ushort disk, long offset, int blockBytes, int blocks, CancellationToken stop) => new(new ulong[blocks]);

        public ValueTask DisposeAsync()
        {
            _closed.TrySetResult(null);
            return default;
        }
    }
}
