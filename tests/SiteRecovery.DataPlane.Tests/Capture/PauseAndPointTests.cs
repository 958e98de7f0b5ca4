using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.DataPlane.Capture;
using SiteRecovery.Domain.History;

namespace SiteRecovery.DataPlane.Tests.Capture;

public sealed class PauseAndPointTests : CaptureFixture
{
    [Fact]
    public async Task A_pause_tracks_at_once_and_a_resume_sends_what_was_tracked()
    {
        var (capture, target) = (await OpenAsync(), new MemoryTarget(Bytes));
        await StreamingAsync(capture, target, async () =>
        {
            await WriteAsync(capture, 0, 1);
            await CaughtUpAsync(capture, target);
            var synchronized = target.SyncBytes;
            capture.Pause();
            await WriteAsync(capture, 1 << 20, 2);
            Assert.Equal((CaptureMode.Paused, (long)BitmapFile.BlockBytes), (capture.Status().Mode, capture.Status().DirtyBytes));
            Assert.Equal("replication is paused", capture.Status().ResynchronizationReason);
            capture.Resume();
            await CaughtUpAsync(capture, target);
            AssertEqual(target);
            Assert.Equal(4096, target.SyncBytes - synchronized);
        });
    }

    [Fact]
    public async Task A_pause_lasts_over_a_restart_until_the_resume()
    {
        var (capture, target) = (await OpenAsync(), new MemoryTarget(Bytes));
        await StreamingAsync(capture, target, () =>
        {
            capture.Pause();
            return WriteAsync(capture, 0, 7);
        });
        var reopened = await OpenAsync();
        Assert.Equal(CaptureMode.Paused, reopened.Status().Mode);
        using var stop = new CancellationTokenSource();
        var run = reopened.RunAsync(target, stop.Token);
        reopened.Resume();
        await CaughtUpAsync(reopened, target);
        AssertEqual(target);
        await stop.CancelAsync();
        await run;
        await reopened.DisposeAsync();
    }

    [Fact]
    public async Task A_point_stands_at_the_write_before_it()
    {
        var (capture, target, markers) = (await OpenAsync(), new MemoryTarget(Bytes), new List<BatchHeader>());
        await StreamingAsync(capture, target, async () =>
        {
            target.Applied = batch => { if (batch.Header.Kind == BatchKind.Marker) markers.Add(batch.Header); };
            await WriteAsync(capture, 0, 1);
            var newest = capture.Status().Newest;
            var sequence = await capture.TakePointAsync("before the upgrade", PointKind.ApplicationConsistent).WaitAsync(TimeSpan.FromSeconds(30));
            Assert.Equal(newest, sequence);
            lock (target.Disks) Assert.Contains(markers, m => m.Marker == MarkerKind.ApplicationConsistentPoint && m.Last == sequence);
        });
    }

    [Fact]
    public async Task No_point_is_taken_while_writes_are_missing_at_the_target()
    {
        var capture = await OpenAsync();
        await Assert.ThrowsAsync<InvalidOperationException>(() => capture.TakePointAsync("", PointKind.CrashConsistent));
        await capture.DisposeAsync();
    }
}
