using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.DataPlane.Capture;

namespace SiteRecovery.DataPlane.Tests.Capture;

/// <summary>A source that is drained and then hears nothing: it writes again, unless it has promised not to.</summary>
public sealed class DrainTests : CaptureFixture
{
    private static readonly CaptureOrder Drained = new(Domain.History.Epoch.First, 3, Drain: true);
    private readonly SkippingClock _clock = new();

    [Fact]
    public async Task A_drained_source_that_hears_nothing_writes_again_and_stays_with_it_when_the_order_comes_once_more()
    {
        await using var capture = await OpenAsync();
        await using var running = await RunningAsync(capture);
        await using var orders = OrdersOf(capture);
        await orders.ApplyAsync(Drained);
        await UntilAsync(() => orders.Drain?.Hash is not null);
        Assert.Equal("nobody has the machine's disks open", orders.Drain?.Stopped);
        await Assert.ThrowsAsync<ReadOnlyDeviceException>(() => WriteAsync(capture, 0, 1));

        _clock.Skip(Drain.SilenceMax + TimeSpan.FromSeconds(1));

        await UntilAsync(() => orders.Drain?.Lapsed is not null);
        await WriteAsync(capture, 0, 2);
        await orders.ApplyAsync(Drained with { Hold = true });
        Assert.True(orders.Drain is { Hash: null, Held: false, Lapsed: not null });
        await WriteAsync(capture, 0, 3);
    }

    [Fact]
    public async Task A_lapse_outlives_the_process()
    {
        await using (var capture = await OpenAsync())
        {
            await using var running = await RunningAsync(capture);
            await using var orders = OrdersOf(capture);
            await orders.ApplyAsync(Drained);
            await UntilAsync(() => capture.IsFrozen);
            _clock.Skip(Drain.SilenceMax + TimeSpan.FromSeconds(1));
            await UntilAsync(() => orders.Drain?.Lapsed is not null);
        }
        await using var again = await OpenAsync();
        await using var told = OrdersOf(again, Drained);
        await told.ApplyAsync(Drained with { Hold = true });
        Assert.True(told.Drain is { Lapsed: not null });
        await WriteAsync(again, 0, 1);
        // Another planned failover is another drain.
        await told.ApplyAsync(Drained with { Round = 5 });
        await UntilAsync(() => again.IsFrozen);
    }

    [Fact]
    public async Task A_source_that_has_promised_stays_as_it_is_whatever_it_does_not_hear_and_over_a_restart()
    {
        await using (var capture = await OpenAsync())
        {
            await using var running = await RunningAsync(capture);
            await using var orders = OrdersOf(capture);
            await orders.ApplyAsync(Drained);
            await UntilAsync(() => orders.Drain?.Hash is not null);
            Assert.False(orders.Drain!.Held);
            await orders.ApplyAsync(Drained with { Hold = true });
            Assert.True(orders.Drain is { Held: true, Hash: not null });
            _clock.Skip(Drain.SilenceMax * 100);
            await Task.Delay(200); // long enough for a look at the clock, and for what must not follow from it
            await Assert.ThrowsAsync<ReadOnlyDeviceException>(() => WriteAsync(capture, 0, 1));
            // One of before the promise that was late.
            await orders.ApplyAsync(Drained);
            Assert.True(orders.Drain is { Held: true });
        }
        await using var again = await OpenAsync();
        await using var told = OrdersOf(again, Drained with { Hold = true });
        await told.ApplyAsync(Drained with { Hold = true });
        _clock.Skip(Drain.SilenceMax * 100);
        await Task.Delay(200);
        await Assert.ThrowsAsync<ReadOnlyDeviceException>(() => WriteAsync(again, 0, 1));

        await told.ApplyAsync(Drained with { Round = 4, Drain = false });
        await WriteAsync(again, 0, 1);
        Assert.Null(told.Drain);
    }

    /// <summary>It may be all that was kept, and all that a process server has heard of. Only what was promised outlasts the silence behind it.</summary>
    [Theory, InlineData(false), InlineData(true)]
    public async Task An_order_of_before_the_drain_does_not_end_it_in_a_new_life(bool held)
    {
        await using (var capture = await OpenAsync())
        {
            await using var running = await RunningAsync(capture);
            await using var orders = OrdersOf(capture);
            await orders.ApplyAsync(Drained);
            await UntilAsync(() => orders.Drain?.Hash is not null);
            if (held) await orders.ApplyAsync(Drained with { Hold = true });
        }
        await using var again = await OpenAsync();
        await using var told = OrdersOf(again);
        for (var times = 0; times < 2; times++)
        {
            await told.ApplyAsync(Drained with { Round = 2, Drain = false });
            await Assert.ThrowsAsync<ReadOnlyDeviceException>(() => WriteAsync(again, 0, 1));
            if (times == 0) _clock.Skip(Drain.SilenceMax - TimeSpan.FromSeconds(5));
        }
        if (held) await told.ApplyAsync(Drained with { Round = 4, Drain = false });
        else
        {
            // The order that was repeated said nothing of the drain.
            _clock.Skip(TimeSpan.FromSeconds(6));
            await UntilAsync(() => told.Drain?.Lapsed is not null);
        }
        await WriteAsync(again, 0, 1);
    }

    [Fact]
    public async Task A_source_that_is_told_again_and_again_stays_drained()
    {
        await using var capture = await OpenAsync();
        await using var running = await RunningAsync(capture);
        await using var orders = OrdersOf(capture);
        for (var i = 0; i < 4; i++)
        {
            await orders.ApplyAsync(Drained);
            await UntilAsync(() => orders.Drain?.Hash is not null);
            _clock.Skip(Drain.SilenceMax - TimeSpan.FromSeconds(5));
        }
        Assert.True(capture.IsFrozen && orders.Drain is { Lapsed: null, Hash: not null });
    }

    public static TheoryData<string> Refusals => ["full", "closed"];

    private static SlowReplacing Refusing(string how) => new() { Refusal = how == "full" ? new IOException("it is full") : new UnauthorizedAccessException("it is closed") };

    /// <summary>Nobody would do its steps any more.</summary>
    [Theory, MemberData(nameof(Refusals))]
    public async Task A_drain_whose_lapse_could_not_be_saved_goes_on_when_its_order_comes_again(string how)
    {
        var files = Refusing(how);
        await using var capture = await OpenAsync(files);
        await using var running = await RunningAsync(capture);
        await using var orders = OrdersOf(capture);
        await orders.ApplyAsync(Drained);
        await UntilAsync(() => orders.Drain?.Hash is not null);
        files.IsFull = true;
        _clock.Skip(Drain.SilenceMax + TimeSpan.FromSeconds(1));
        await UntilAsync(() => orders.Drain?.WaitsFor?.Contains("cannot take up its writes again", StringComparison.Ordinal) is true);
        await orders.ApplyAsync(Drained);
        files.IsFull = false;
        await UntilAsync(() => orders.Drain is { Hash: not null, WaitsFor: null });
    }

    [Theory, MemberData(nameof(Refusals))]
    public async Task A_lapse_that_could_not_be_saved_is_tried_again(string how)
    {
        var files = Refusing(how);
        await using var capture = await OpenAsync(files);
        await using var running = await RunningAsync(capture);
        await using var orders = OrdersOf(capture);
        await orders.ApplyAsync(Drained);
        await UntilAsync(() => orders.Drain?.Hash is not null);
        files.IsFull = true;
        _clock.Skip(Drain.SilenceMax + TimeSpan.FromSeconds(1));
        await UntilAsync(() => orders.Drain?.WaitsFor?.Contains("cannot take up its writes again", StringComparison.Ordinal) is true);
        files.IsFull = false;
        await UntilAsync(() => orders.Drain?.Lapsed is not null);
        await WriteAsync(capture, 0, 1);
    }

    [Theory, MemberData(nameof(Refusals))]
    public async Task What_a_drain_has_hashed_may_stay_where_it_cannot_be_deleted(string how)
    {
        var files = Refusing(how);
        await using var capture = await OpenAsync(files);
        await using var running = await RunningAsync(capture);
        await using var orders = OrdersOf(capture);
        (files.KeepsNames, files.IsFull) = (true, true);
        await orders.ApplyAsync(Drained);
        await UntilAsync(() => orders.Drain?.WaitsFor?.Contains("tried again", StringComparison.Ordinal) is true);
        files.IsFull = false;
        await UntilAsync(() => orders.Drain?.Hash is not null);
    }

    /// <summary>The order that ended the drain before is lost, say.</summary>
    [Fact]
    public async Task What_was_promised_to_one_drain_is_not_promised_to_the_next()
    {
        await using var capture = await OpenAsync();
        await using var running = await RunningAsync(capture);
        await using var orders = OrdersOf(capture);
        await orders.ApplyAsync(Drained);
        await UntilAsync(() => orders.Drain?.Hash is not null);
        await orders.ApplyAsync(Drained with { Hold = true });
        Assert.True(orders.Drain is { Held: true });
        await orders.ApplyAsync(Drained with { Round = 5 });
        await UntilAsync(() => orders.Drain?.Hash is not null);
        Assert.True(orders.Drain is { Held: false });
        _clock.Skip(Drain.SilenceMax + TimeSpan.FromSeconds(1));
        await UntilAsync(() => orders.Drain?.Lapsed is not null);
    }

    private CaptureOrders OrdersOf(MachineCapture capture, CaptureOrder? before = null) => new(capture, before ?? Drained with { Round = 2, Drain = false }, () => 0, _clock);

    private static async Task<Running> RunningAsync(MachineCapture capture)
    {
        var (target, stop) = (new MemoryTarget(Bytes), new CancellationTokenSource());
        var running = new Running(capture.RunAsync(target, stop.Token), stop);
        await capture.StartSynchronizationAsync();
        await CaughtUpAsync(capture, target);
        return running;
    }

    private sealed class Running(Task run, CancellationTokenSource stop) : IAsyncDisposable
    {
        public async ValueTask DisposeAsync()
        {
            await stop.CancelAsync();
            await run;
            stop.Dispose();
        }
    }

    /// <summary>The system's, except that time may be skipped.</summary>
    private sealed class SkippingClock : TimeProvider
    {
        private long _skipped;

        internal void Skip(TimeSpan time) => Interlocked.Add(ref _skipped, (long)(time.TotalSeconds * TimestampFrequency));

        public override long GetTimestamp() => base.GetTimestamp() + Interlocked.Read(ref _skipped);
    }
}
