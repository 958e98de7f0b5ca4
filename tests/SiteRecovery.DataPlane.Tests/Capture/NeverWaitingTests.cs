using SiteRecovery.DataPlane.Capture;
using SiteRecovery.DataPlane.Storage;

namespace SiteRecovery.DataPlane.Tests.Capture;

public sealed class NeverWaitingTests : CaptureFixture
{
    [Fact]
    public async Task Writes_go_on_while_the_next_sequences_are_being_reserved()
    {
        var files = new SlowReplacing();
        var capture = await OpenAsync(files, reserve: 1000);
        files.Door.Reset();
        for (var i = 0; i < 999; i++) await WriteAsync(capture, 0, 1, 1).WaitAsync(TimeSpan.FromSeconds(30));
        Assert.Equal(999, capture.Status().Newest.Value);
        files.Door.Set();
        while (capture.Status().Newest.Value < 4999)
        {
            await WriteAsync(capture, 0, 1, 1).WaitAsync(TimeSpan.FromSeconds(30));
            // As one that is opened after a crash would find it; this one may still be reserving more.
            Assert.True(CaptureState.TryLoad(RealFileSystem.Instance, Path.Combine(StateFolder, "capture.json"))!.Reserved >= capture.Status().Newest.Value);
        }
        await capture.DisposeAsync();
    }

    /// <summary>A full state folder, say: the guest must not hear of it.</summary>
    [Theory, InlineData(true), InlineData(false)]
    public async Task Where_no_sequence_can_be_reserved_writes_land_and_are_made_up_for(bool thenWrites)
    {
        var files = new SlowReplacing();
        var (capture, target) = (await OpenAsync(files, reserve: 100), new MemoryTarget(Bytes));
        await StreamingAsync(capture, target, async () =>
        {
            var before = capture.Status().Newest.Value;
            files.IsFull = true;
            for (var i = 0; i < 300; i++) await WriteAsync(capture, i * 4096, (byte)i).WaitAsync(TimeSpan.FromSeconds(30));
            Assert.InRange(capture.Status().Newest.Value, before + 1, before + 200);
            Assert.Contains("no sequences could be reserved in time", capture.Status().ResynchronizationReason, StringComparison.Ordinal);
            var newest = capture.Status().Newest.Value;
            files.IsFull = false;
            if (thenWrites) await WriteAsync(capture, 0, 77);
            await CaughtUpAsync(capture, target);
            AssertEqual(target);
            // What was written meanwhile is a state of its own.
            Assert.True(target.Newest.Value > newest);
        });
    }

    [Fact]
    public async Task What_has_no_sequence_when_its_capture_ends_is_made_up_for_by_the_next()
    {
        var files = new SlowReplacing();
        var capture = await OpenAsync(files, reserve: 100);
        files.IsFull = true;
        for (var i = 0; i < 300; i++) await WriteAsync(capture, i * 4096, (byte)i).WaitAsync(TimeSpan.FromSeconds(30));
        var newest = capture.Status().Newest;
        await Assert.ThrowsAsync<IOException>(() => capture.DisposeAsync().AsTask());
        var again = await OpenAsync(reserve: 100);
        Assert.True(again.Status().Newest > newest);
        var target = new MemoryTarget(Bytes);
        await StreamingAsync(again, target, () =>
        {
            AssertEqual(target);
            return Task.CompletedTask;
        });
    }

    [Fact]
    public async Task A_target_that_stops_acknowledging_turns_the_stream_to_tracking_and_writes_finish()
    {
        var (capture, target) = (await OpenAsync(buffer: 1 << 20), new MemoryTarget(Bytes));
        await StreamingAsync(capture, target, async () =>
        {
            target.HoldOffers.Reset();
            for (var i = 0; i < 1000; i++) await WriteAsync(capture, i * 4096, (byte)i).WaitAsync(TimeSpan.FromSeconds(30));
            Assert.Equal(CaptureMode.Tracking, capture.Status().Mode);
            target.HoldOffers.Set();
            await CaughtUpAsync(capture, target);
            AssertEqual(target);
        });
    }

    [Fact]
    public async Task A_target_that_lost_what_it_had_received_costs_a_delta()
    {
        var (capture, target) = (await OpenAsync(), new MemoryTarget(Bytes));
        await StreamingAsync(capture, target, async () =>
        {
            await WriteAsync(capture, 0, 1);
            await CaughtUpAsync(capture, target);
            var (synchronized, incarnation) = (target.SyncBytes, target.Held.Incarnation);
            target.SaysDurable = false;
            await WriteAsync(capture, 1 << 20, 2);
            await UntilAsync(() => target.Newest == capture.Status().Newest);
            target.LoseUnsynced();
            await CaughtUpAsync(capture, target);
            AssertEqual(target);
            Assert.True(target.Held.Incarnation > incarnation);
            Assert.InRange(target.SyncBytes - synchronized, 4096, 2 * 4096);
        });
    }
}
