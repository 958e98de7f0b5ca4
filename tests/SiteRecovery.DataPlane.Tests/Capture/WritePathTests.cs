using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.DataPlane.Capture;
using SiteRecovery.Domain.History;

namespace SiteRecovery.DataPlane.Tests.Capture;

/// <summary>What every write of the guest pays.</summary>
public sealed class WritePathTests : CaptureFixture
{
    private const int Writes = 20_000;

    [Fact]
    public async Task A_captured_write_allocates_nothing()
    {
        var capture = await OpenAsync(buffer: 256 << 20);
        using var stop = new CancellationTokenSource();
        var run = capture.RunAsync(new AcknowledgingTarget(), stop.Token);
        await capture.StartSynchronizationAsync();
        await UntilAsync(() => capture.Status().Mode == CaptureMode.Streaming);
        var newest = capture.Status().Newest.Value;
        // A lock that is fought for the first time makes its event: once, not per write.
        Assert.InRange(AllocatedBy(capture), 0, 1024);
        Assert.Equal(newest + 2 * Writes, capture.Status().Newest.Value);
        Assert.Equal(CaptureMode.Streaming, capture.Status().Mode);
        await stop.CancelAsync();
        await run;
        await capture.DisposeAsync();
    }

    /// <summary>Bytes that one thread allocated over many writes, after as many that warm it up.</summary>
    private static long AllocatedBy(MachineCapture capture)
    {
        var data = new byte[4096];
        long before = 0;
        for (var i = 0; i < 2 * Writes; i++)
        {
            if (i == Writes) before = GC.GetAllocatedBytesForCurrentThread();
            var write = capture.Disks[0].WriteAsync(i % (Bytes / 4096) * 4096L, data, false, default);
            Assert.True(write.IsCompletedSuccessfully);
        }
        return GC.GetAllocatedBytesForCurrentThread() - before;
    }

    private sealed class AcknowledgingTarget : IStreamTarget
    {
        public ValueTask<IStreamSession> OpenAsync(StreamOpening opening, IPositionListener positions, CancellationToken stop) => new(new Session(positions));

        private sealed class Session(IPositionListener positions) : IStreamSession
        {
            private readonly TaskCompletionSource<Exception?> _closed = new();
            public StreamOpened Opened { get; } = new(default, default, Sequence.None, true);
            public bool LetsGoOfReceived => true;
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
}
