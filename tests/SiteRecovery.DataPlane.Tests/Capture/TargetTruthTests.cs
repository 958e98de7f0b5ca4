using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.DataPlane.Capture;
using SiteRecovery.DataPlane.Storage;
using SiteRecovery.Domain.History;

namespace SiteRecovery.DataPlane.Tests.Capture;

/// <summary>What the target holds, against what the capture believes of it.</summary>
public sealed class TargetTruthTests : CaptureFixture
{
    [Fact]
    public async Task A_lost_write_that_undoes_one_still_under_way_is_not_taken_for_equal()
    {
        const int block = 1 << 20;
        var (capture, memory) = (await OpenAsync(buffer: 1 << 20), new MemoryTarget(Bytes));
        using var stop = new CancellationTokenSource();
        var run = capture.RunAsync(new SlowTarget(memory, TimeSpan.FromMilliseconds(150)), stop.Token);
        await capture.StartSynchronizationAsync();
        await CaughtUpAsync(capture, memory);
        for (var round = 0; round < 4; round++)
        {
            await WriteAsync(capture, block, 1); // shipped and late
            await UntilAsync(() => capture.Status().BytesShipped > 4096 * (round + 1));
            for (var i = 0; capture.Status().Mode == CaptureMode.Streaming; i++) await WriteAsync(capture, 2 << 20, (byte)i, 64 << 10);
            await WriteAsync(capture, block, 0); // tracked only: it is what the target holds while the other is late
            await CaughtUpAsync(capture, memory);
            AssertEqual(memory);
        }
        await stop.CancelAsync();
        await run;
        await capture.DisposeAsync();
    }

    /// <summary>Nobody wrote: the sequences are the same. The source, or its next life, knows how far its stream had come.</summary>
    [Theory, InlineData(false), InlineData(true)]
    public async Task What_the_target_has_lost_of_a_synchronization_is_synchronized_again(bool inANewLife)
    {
        File.WriteAllBytes(DiskPath, [.. Enumerable.Repeat((byte)7, Bytes)]);
        var target = new MemoryTarget(Bytes);
        await StreamingAsync(await OpenAsync(), target, async () =>
        {
            AssertEqual(target);
            if (inANewLife) return;
            var openings = target.Openings;
            target.LoseSynchronized(64 << 10);
            await UntilAsync(() => target.Openings > openings && target.Disks[0][0] == 7 && target.Consistent);
            AssertEqual(target);
        });
        if (!inANewLife) return;
        target.LoseSynchronized(64 << 10);
        var capture = await OpenAsync();
        using var stop = new CancellationTokenSource();
        var run = capture.RunAsync(target, stop.Token);
        await UntilAsync(() => target.Disks[0][0] == 7 && target.Consistent);
        AssertEqual(target);
        await stop.CancelAsync();
        await run;
        await capture.DisposeAsync();
    }

    /// <summary>The target has the gap, and nobody writes: no sequence and no bit tells that it waits for the end.</summary>
    [Theory, InlineData(false), InlineData(true)]
    public async Task A_synchronization_whose_end_was_lost_on_the_way_is_ended_again(bool inANewLife)
    {
        var (target, capture) = (new MemoryTarget(Bytes), await OpenAsync());
        await StreamingAsync(capture, target, async () =>
        {
            // As with a process server's memory: received is not durable.
            target.Applied = batch => target.SaysDurable &= batch.Header.Marker != MarkerKind.StreamStart;
            await capture.StartSynchronizationAsync();
            await UntilAsync(() => target is { Consistent: true, SaysDurable: false });
            Assert.True(capture.Status().Synchronizing);
            target.Applied = null;
            if (inANewLife) return;
            target.LoseUnsynced();
            await UntilAsync(() => target.Consistent && !capture.Status().Synchronizing);
        });
        if (!inANewLife) return;
        target.LoseUnsynced();
        Assert.False(target.Consistent);
        capture = await OpenAsync();
        using var stop = new CancellationTokenSource();
        var run = capture.RunAsync(target, stop.Token);
        await UntilAsync(() => target.Consistent && !capture.Status().Synchronizing);
        await stop.CancelAsync();
        await run;
        await capture.DisposeAsync();
    }

    /// <summary>It says more than the answer to the opening, which was given before: nothing is lost.</summary>
    [Fact]
    public async Task An_acknowledgement_that_overtakes_the_answer_is_no_loss()
    {
        var (target, synchronizations) = (new MemoryTarget(Bytes), 0);
        var capture = await OpenAsync();
        await StreamingAsync(capture, target, async () =>
        {
            var openings = target.Openings;
            target.Overtakes = opened => (opened.Durable with { Ordinal = opened.Durable.Ordinal + 1 }, new Sequence(opened.DurableSequence.Value + 1));
            target.Applied = batch => synchronizations += batch.Header.Marker == MarkerKind.SyncCompleted ? 1 : 0;
            target.Break();
            await UntilAsync(() => target.Openings > openings && capture.Status().Connected);
            target.Overtakes = null;
            await WriteAsync(capture, 0, 3);
            await CaughtUpAsync(capture, target);
        });
        Assert.Equal(0, synchronizations);
    }

    /// <summary>The order for one may come when the stream has closed the gap by itself: who gave it waits for its end.</summary>
    [Theory, InlineData(0), InlineData(200)]
    public async Task A_synchronization_that_is_asked_of_a_stream_without_a_gap_comes_to_its_end(int writes)
    {
        var (target, ends) = (new MemoryTarget(Bytes), 0);
        target.Applied = batch => ends += batch.Header.Marker == MarkerKind.SyncCompleted ? 1 : 0;
        var capture = await OpenAsync();
        await StreamingAsync(capture, target, async () =>
        {
            await UntilAsync(() => capture.Status() is { Complete: true, Synchronizing: false });
            var (before, orders) = (ends, new CaptureOrders(capture, new CaptureOrder(Epoch.First, 1), () => 0, TimeProvider.System));
            Assert.True(await orders.ApplyAsync(new CaptureOrder(Epoch.First, 2, Synchronize: 2)));
            for (var i = 0; i < writes; i++) await WriteAsync(capture, i % 32 * 4096, (byte)i);
            await UntilAsync(() => orders.Current.SynchronizedBy(capture.Status()) == 2);
            Assert.Equal(before + 1, ends);
            await CaughtUpAsync(capture, target);
            AssertEqual(target);
            await orders.DisposeAsync();
        });
    }

    /// <summary>Under a policy that asks, whoever waits for the end of a synchronization asks again where the stream was lost before that end was heard; else it waits for an operator.</summary>
    [Theory, InlineData(2, true), InlineData(0, false)]
    public async Task A_synchronization_that_is_waited_for_is_asked_for_again(int waitsFor, bool asks)
    {
        var (capture, target) = (await OpenAsync(automatic: false), new MemoryTarget(Bytes));
        await StreamingAsync(capture, target, async () =>
        {
            var orders = new CaptureOrders(capture, new CaptureOrder(Epoch.First, 1), () => 0, TimeProvider.System);
            await orders.ApplyAsync(new CaptureOrder(Epoch.First, 2, Synchronize: 2));
            await UntilAsync(() => orders.Current.SynchronizedBy(capture.Status()) == 2);
            capture.MarkAllUnsynced("lost before anybody has heard of it");
            Assert.True(capture.WaitsToBeAsked);
            await orders.ApplyAsync(new CaptureOrder(Epoch.First, 2, Synchronize: waitsFor));
            Assert.Equal(!asks, capture.WaitsToBeAsked);
            if (asks) await UntilAsync(() => orders.Current.SynchronizedBy(capture.Status()) == 2);
            await orders.DisposeAsync();
        });
    }

    [Fact]
    public async Task Complete_means_that_the_target_has_the_marker_too()
    {
        var (capture, target) = (await OpenAsync(), new MemoryTarget(Bytes));
        using var stop = new CancellationTokenSource();
        var (early, seen) = (false, false);
        target.Applied = batch =>
        {
            // Applied, but not yet said to be durable.
            if (batch.Header.Marker != MarkerKind.SyncCompleted) return;
            (seen, early) = (true, capture.Status().Complete);
        };
        await WriteAsync(capture, 0, 1);
        var run = capture.RunAsync(target, stop.Token);
        await capture.StartSynchronizationAsync();
        await UntilAsync(() => capture.Status().Complete);
        Assert.True(seen && target.Consistent && !early);
        capture.Pause();
        Assert.False(capture.Status().Complete);
        await stop.CancelAsync();
        await run;
        await capture.DisposeAsync();
    }

    [Fact]
    public async Task A_stream_that_continues_is_complete_when_its_start_is_durable()
    {
        var target = new MemoryTarget(Bytes);
        await StreamingAsync(await OpenAsync(), target, () => Task.CompletedTask);
        var reopened = await OpenAsync();
        Assert.False(reopened.Status().Complete);
        using var stop = new CancellationTokenSource();
        var run = reopened.RunAsync(target, stop.Token);
        await UntilAsync(() => reopened.Status().Complete);
        await stop.CancelAsync();
        await run;
        await reopened.DisposeAsync();
    }

    [Theory, InlineData(false), InlineData(true)]
    public async Task A_target_that_lost_durable_data_makes_everything_unsynced(bool afterARestart)
    {
        var (capture, target) = (await OpenAsync(), new MemoryTarget(Bytes));
        await StreamingAsync(capture, target, async () =>
        {
            await WriteAsync(capture, 0, 1);
            await CaughtUpAsync(capture, target);
            if (afterARestart) return;
            target.Lose(1 << 16);
            await UntilAsync(() => capture.Status().ResynchronizationReason == "the target lost durable data" || target.Disks[0][0] == 1);
            await CaughtUpAsync(capture, target);
            AssertEqual(target);
        });
        if (!afterARestart) return;
        target.Lose(1 << 16);
        var reopened = await OpenAsync();
        using var stop = new CancellationTokenSource();
        var run = reopened.RunAsync(target, stop.Token);
        await UntilAsync(() => target.Disks[0][0] == 1);
        await CaughtUpAsync(reopened, target);
        AssertEqual(target);
        await stop.CancelAsync();
        await run;
        await reopened.DisposeAsync();
    }

    [Fact]
    public async Task A_spool_that_knows_nothing_of_the_target_yet_does_not_make_everything_unsynced()
    {
        var (capture, target) = (await OpenAsync(), new MemoryTarget(Bytes));
        await StreamingAsync(capture, target, async () =>
        {
            await WriteAsync(capture, 0, 1);
            await CaughtUpAsync(capture, target);
            var durable = capture.Status().Durable;
            target.Says = _ => new StreamOpened(default, default, Domain.History.Sequence.None, false);
            var opened = target.Openings;
            target.Break();
            await UntilAsync(() => target.Openings > opened);
            Assert.Equal(durable, capture.Status().Durable);
            Assert.InRange(capture.Status().DirtyBytes, 0, 2 * BitmapFile.BlockBytes);
            target.Says = null;
            target.Break();
            await CaughtUpAsync(capture, target);
            AssertEqual(target);
        });
    }

    [Fact]
    public async Task A_capture_that_lost_its_state_streams_above_what_the_target_has_seen()
    {
        var target = new MemoryTarget(Bytes);
        for (var i = 0; i < 3; i++) await StreamingAsync(await OpenAsync(), target, () => Task.CompletedTask);
        var before = target.Held.Incarnation;
        Directory.Delete(StateFolder, true);
        var capture = await OpenAsync();
        await WriteAsync(capture, 0, 3);
        await StreamingAsync(capture, target, () => Task.CompletedTask);
        AssertEqual(target);
        Assert.True(target.Held.Incarnation > before);
    }
}
