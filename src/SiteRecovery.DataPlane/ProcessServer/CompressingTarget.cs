using SiteRecovery.DataPlane.Blocks;

namespace SiteRecovery.DataPlane.ProcessServer;

/// <summary>A stage of the process server: compresses what passes, by the policy of the machine, and changes nothing else.</summary>
public sealed class CompressingTarget(IStreamTarget next, Func<StreamOpening, PayloadCompression> policy) : IStreamTarget
{
    public async ValueTask<IStreamSession> OpenAsync(StreamOpening opening, IPositionListener positions, CancellationToken stop) =>
        new Session(await next.OpenAsync(opening, positions, stop), policy(opening));

    private sealed class Session(IStreamSession next, PayloadCompression how) : IStreamSession
    {
        public StreamOpened Opened => next.Opened;
        public Task<Exception?> Closed => next.Closed;
        public ValueTask OfferAsync(Batch batch, CancellationToken stop) => next.OfferAsync(BatchCodec.Compress(batch, how), stop);
        public ValueTask<ulong[]> HashesAsync(ushort disk, long offset, int blockBytes, int blocks, CancellationToken stop) =>
            next.HashesAsync(disk, offset, blockBytes, blocks, stop);
        public ValueTask DisposeAsync() => next.DisposeAsync();
    }
}
