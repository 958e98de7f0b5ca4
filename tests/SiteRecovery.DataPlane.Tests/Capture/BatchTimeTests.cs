using System.Collections.Concurrent;
using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.DataPlane.Capture;

namespace SiteRecovery.DataPlane.Tests.Capture;

/// <summary>A batch's time is what a recovery point promises and what RPO is measured from: behind a slow link it must not run ahead of the data.</summary>
public sealed class BatchTimeTests : CaptureFixture
{
    [Theory]
    [InlineData(16 << 20, 800)] // the backlog is several batches
    [InlineData(1 << 20, 400)] // the backlog overflows the buffer, and the stream goes on with what it holds
    public async Task A_backlog_is_not_younger_than_the_oldest_write_it_lacks(int buffer, int writes)
    {
        var clock = new ShiftedClock();
        var (capture, target) = (await OpenAsync(buffer: buffer, time: clock), new MemoryTarget(Bytes));
        await StreamingAsync(capture, target, async () =>
        {
            var before = capture.Status().Newest.Value;
            var batches = new ConcurrentQueue<BatchHeader>();
            target.Applied = b => batches.Enqueue(b.Header);
            target.HoldOffers.Reset();
            var shipped = capture.Status().BytesShipped;
            await UntilAsync(() => capture.Status().BytesShipped > shipped); // a batch waits at the door, so that the writes queue up behind it
            for (var i = 0; i < writes; i++) await WriteAsync(capture, i * 4096, 1);
            var acknowledged = clock.GetUtcNow();
            clock.Shift = TimeSpan.FromMinutes(1);
            target.HoldOffers.Set();
            var newest = before + writes;
            await UntilAsync(() => batches.Any(b => b.Last.Value == newest));
            var early = batches.TakeWhile(b => b.Last.Value < newest && b.Marker != MarkerKind.StreamStart).ToArray(); // after a gap nothing is claimed
            Assert.NotEmpty(early);
            Assert.All(early, b => Assert.True(b.Time <= acknowledged, $"the batch up to {b.Last} of {newest} writes claims to be complete until {b.Time - acknowledged} after the last of them"));
        });
    }

    private sealed class ShiftedClock : TimeProvider
    {
        public TimeSpan Shift { get; set; }
        public override DateTimeOffset GetUtcNow() => System.GetUtcNow() + Shift;
    }
}
