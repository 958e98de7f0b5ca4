using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.DataPlane.ProcessServer;
using SiteRecovery.Domain.History;

namespace SiteRecovery.DataPlane.Tests.ProcessServer;

public sealed class CompressingTargetTests
{
    [Theory]
    [InlineData(PayloadCompression.None)]
    [InlineData(PayloadCompression.Lz4)]
    [InlineData(PayloadCompression.Zstd)]
    public async Task What_is_compressed_on_the_way_is_whole_at_the_target(PayloadCompression how)
    {
        var payload = Enumerable.Range(0, 64 << 10).Select(i => (byte)(i / 512)).ToArray();
        var batch = BatchCodec.Encode(new BatchHeader
        {
            Kind = BatchKind.Delta, MachineTag = 1, Epoch = Epoch.First, Incarnation = 1, Ordinal = 1, First = new Sequence(1), Last = new Sequence(1), Time = DateTimeOffset.UnixEpoch,
        }, [new Extent(4096, payload.Length, 0, ExtentKind.Data)], payload);
        var target = new LastBatch();
        await using var session = await new CompressingTarget(target, _ => how).OpenAsync(new StreamOpening(new MachineId("m1"), Epoch.First, [], 1), target, default);
        await session.OfferAsync(batch, default);
        var arrived = BatchCodec.Verify(target.Batch!.Frame);
        var raw = new byte[payload.Length];
        BatchCodec.Decompress(arrived, raw);
        Assert.Equal(payload, raw);
        Assert.Equal(how, arrived.Header.Compression);
    }

    private sealed class LastBatch : IStreamTarget, IStreamSession, IPositionListener
    {
        public Batch? Batch { get; private set; }
        public StreamOpened Opened { get; } = new(default, default, Sequence.None, true);
        public Task<Exception?> Closed { get; } = new TaskCompletionSource<Exception?>().Task;
        public ValueTask<IStreamSession> OpenAsync(StreamOpening opening, IPositionListener positions, CancellationToken stop) => new(this);
        public ValueTask OfferAsync(Batch batch, CancellationToken stop) { Batch = batch; return default; }
        public ValueTask<ulong[]> HashesAsync(ushort disk, long offset, int blockBytes, int blocks, CancellationToken stop) => new(new ulong[blocks]);
        public void Received(StreamPosition position) { }
        public void Durable(StreamPosition position, Sequence sequence) { }
        public ValueTask DisposeAsync() => default;
    }
}
