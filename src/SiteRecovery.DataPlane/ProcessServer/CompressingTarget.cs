using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.Domain.History;

namespace SiteRecovery.DataPlane.ProcessServer;

/// <summary>A stage of the process server: compresses what passes, by the policy of the machine, and changes nothing else.</summary>
public sealed class CompressingTarget(IStreamTarget next, Func<StreamOpening, PayloadCompression> policy) : IStreamTarget
{
    public async ValueTask<IStreamSession> OpenAsync(StreamOpening opening, IPositionListener positions, CancellationToken stop)
    {
        var packed = new PackedFrames(positions);
        return new Session(await next.OpenAsync(opening, packed, stop), () => policy(opening), packed);
    }

    private sealed class Session(IStreamSession next, Func<PayloadCompression> policy, PackedFrames packed) : IStreamSession
    {
        public StreamOpened Opened => next.Opened;
        public bool LetsGoOfReceived => next.LetsGoOfReceived;
        public Task<Exception?> Closed => next.Closed;

        public ValueTask OfferAsync(Batch batch, CancellationToken stop)
        {
            var smaller = BatchCodec.Compress(batch, policy());
            if (next.LetsGoOfReceived && smaller != batch) packed.Add(smaller);
            return next.OfferAsync(smaller, stop);
        }

        public ValueTask<ulong[]> HashesAsync(ushort disk, long offset, int blockBytes, int blocks, CancellationToken stop) =>
            next.HashesAsync(disk, offset, blockBytes, blocks, stop);
        public ValueTask DisposeAsync() => next.DisposeAsync();
    }

    /// <summary>The frames made here, until the next room has received them.</summary>
    private sealed class PackedFrames(IPositionListener positions) : IPositionListener
    {
        private readonly Queue<Batch> _frames = new();

        public void Add(Batch batch)
        {
            lock (_frames) _frames.Enqueue(batch);
        }

        public void Received(StreamPosition position)
        {
            lock (_frames)
                while (_frames.TryPeek(out var batch) && batch.Position.CompareTo(position) <= 0) FramePool.Shared.Return(_frames.Dequeue().Frame);
            positions.Received(position);
        }

        public void Durable(StreamPosition position, Sequence sequence) => positions.Durable(position, sequence);
    }
}
