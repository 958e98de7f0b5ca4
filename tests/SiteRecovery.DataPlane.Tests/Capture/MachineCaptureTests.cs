using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.DataPlane.Capture;
using SiteRecovery.DataPlane.Storage;
using SiteRecovery.Domain.History;

namespace SiteRecovery.DataPlane.Tests.Capture;

public sealed class MachineCaptureTests : IDisposable
{
    private const int Bytes = (4 << 20) + 4096;
    private readonly string _folder = Directory.CreateTempSubdirectory("capture").FullName;
    private readonly Guid _boot = new(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11);

    public void Dispose() => Directory.Delete(_folder, true);

    private Task<MachineCapture> OpenAsync(Guid? boot = null, int buffer = 16 << 20, int epoch = 1)
    {
        foreach (var i in new[] { 0, 1 })
            if (!File.Exists(DiskPath(i))) File.WriteAllBytes(DiskPath(i), new byte[Bytes]);
        return MachineCapture.OpenAsync(new CaptureOptions
        {
            Machine = new MachineId("m1"), Epoch = new Epoch(epoch), StateFolder = Path.Combine(_folder, "state"), BootId = boot ?? _boot, BufferBytes = buffer,
            Disks = [new(new(0, "a", Bytes), DiskPath(0)), new(new(1, "b", Bytes), DiskPath(1))],
        }, RealFileSystem.Instance, TimeProvider.System);
    }

    private string DiskPath(int index) => Path.Combine(_folder, $"disk{index}.img");

    private static async Task UntilAsync(Func<bool> condition)
    {
        using var deadline = new CancellationTokenSource(TimeSpan.FromSeconds(20));
        while (!condition()) await Task.Delay(5, deadline.Token);
    }

    private static async Task WriteRandomAsync(MachineCapture capture, int seed, int count)
    {
        var random = new Random(seed);
        for (var i = 0; i < count; i++)
        {
            var length = random.Next(1, 100_000);
            var offset = random.Next(0, Bytes - length);
            var disk = capture.Disks[random.Next(2)];
            if (random.Next(8) == 0) await disk.WriteZeroesAsync(offset, length, true, false, default);
            else
            {
                var data = new byte[length];
                random.NextBytes(data);
                await disk.WriteAsync(offset, data, random.Next(16) == 0, default);
            }
            if (i % 4 == 0) await Task.Yield();
        }
    }

    private void AssertEqual(MemoryTarget target)
    {
        lock (target.Disks)
            for (var i = 0; i < 2; i++) Assert.True(File.ReadAllBytes(DiskPath(i)).AsSpan().SequenceEqual(target.Disks[i]), $"disk {i} differs");
    }

    private static Task CaughtUpAsync(MachineCapture capture, MemoryTarget target) => UntilAsync(() =>
        capture.Status() is { Mode: CaptureMode.Streaming, DirtyBytes: 0 } s && s.Durable == s.Newest && target.Consistent);

    private async Task SynchronizeAsync(MachineCapture capture, MemoryTarget target, Func<Task>? during = null)
    {
        using var stop = new CancellationTokenSource();
        var run = capture.RunAsync(target, stop.Token);
        await capture.StartSynchronizationAsync();
        if (during is not null) await during();
        await CaughtUpAsync(capture, target);
        AssertEqual(target);
        await stop.CancelAsync();
        await run;
    }

    [Theory, InlineData(1), InlineData(2), InlineData(3), InlineData(4), InlineData(5), InlineData(6)]
    public async Task The_replica_equals_the_source_after_synchronization_under_concurrent_writes(int seed)
    {
        var (capture, target) = (await OpenAsync(), new MemoryTarget(Bytes, Bytes));
        await WriteRandomAsync(capture, seed, 50);
        await SynchronizeAsync(capture, target, () => Task.WhenAll(Enumerable.Range(0, 3).Select(w => Task.Run(() => WriteRandomAsync(capture, seed * 100 + w, 150)))));
        await capture.DisposeAsync();
    }

    [Theory, InlineData(1), InlineData(2)]
    public async Task A_broken_session_continues_without_loss(int seed)
    {
        var (capture, target) = (await OpenAsync(), new MemoryTarget(Bytes, Bytes));
        await SynchronizeAsync(capture, target, async () =>
        {
            for (var i = 0; i < 6; i++)
            {
                await WriteRandomAsync(capture, seed + i, 40);
                target.Break();
            }
        });
        await capture.DisposeAsync();
    }

    [Fact]
    public async Task An_overflow_turns_to_tracking_and_only_the_delta_is_synchronized()
    {
        var (capture, target) = (await OpenAsync(buffer: 256 << 10), new MemoryTarget(Bytes, Bytes));
        await WriteRandomAsync(capture, 1, 300);
        await SynchronizeAsync(capture, target);
        var before = target.SyncBytes;
        for (var i = 0; i < 8; i++) await capture.Disks[0].WriteAsync(i * 65536, Enumerable.Repeat((byte)i, 65536).ToArray(), false, default);
        Assert.Equal(CaptureMode.Tracking, capture.Status().Mode);
        await SynchronizeAsync(capture, target);
        Assert.InRange(target.SyncBytes - before, 0, 8 * 65536);
        await capture.DisposeAsync();
    }

    [Theory, InlineData(false), InlineData(true)]
    public async Task A_crash_costs_a_delta_only(bool powerLoss)
    {
        var (capture, target) = (await OpenAsync(), new MemoryTarget(Bytes, Bytes));
        await WriteRandomAsync(capture, 1, 300);
        await SynchronizeAsync(capture, target);
        var newest = capture.Status().Newest;
        await capture.Disks[1].WriteAsync(70_000, new byte[] { 1, 2, 3 }, false, default);
        var reopened = await OpenAsync(powerLoss ? Guid.Empty : _boot);
        Assert.True(reopened.Status().Newest > newest);
        if (!powerLoss) Assert.InRange(reopened.Status().DirtyBytes, 65536, 4 * Bytes);
        var before = target.SyncBytes;
        await SynchronizeAsync(reopened, target);
        Assert.Equal(4096, target.SyncBytes - before);
        await reopened.DisposeAsync();
    }

    [Fact]
    public async Task A_damaged_bitmap_makes_everything_unsynced_with_a_reason()
    {
        var (capture, target) = (await OpenAsync(), new MemoryTarget(Bytes, Bytes));
        await SynchronizeAsync(capture, target);
        await capture.DisposeAsync();
        using (var file = File.OpenWrite(Path.Combine(_folder, "state", "disk-0.bitmap"))) file.WriteByte(0);
        var reopened = await OpenAsync();
        Assert.Equal("the bitmap file is damaged", reopened.Status().ResynchronizationReason);
        Assert.True(reopened.Status().DirtyBytes >= Bytes);
        await SynchronizeAsync(reopened, target);
        await reopened.DisposeAsync();
    }

    [Fact]
    public async Task A_fence_refuses_writes_and_survives_reopening()
    {
        var capture = await OpenAsync();
        using var stop = new CancellationTokenSource();
        var run = capture.RunAsync(new MemoryTarget(Bytes, Bytes) { RefuseWith = new Epoch(2) }, stop.Token);
        await UntilAsync(() => capture.Status() is { Mode: CaptureMode.Fenced, Epoch.Value: 1 });
        await Assert.ThrowsAsync<ReadOnlyDeviceException>(async () => await capture.Disks[0].WriteAsync(0, new byte[1], false, default));
        await stop.CancelAsync();
        await run;
        await capture.DisposeAsync();
        var reopened = await OpenAsync();
        Assert.True(reopened.IsFenced && reopened.Disks[0].ReadOnly);
        await reopened.DisposeAsync();
    }

    [Fact]
    public async Task A_target_that_never_acknowledges_does_not_stall_writes()
    {
        var (capture, target) = (await OpenAsync(buffer: 1 << 20), new MemoryTarget(Bytes, Bytes) { Acknowledges = false });
        using var stop = new CancellationTokenSource();
        var run = capture.RunAsync(target, stop.Token);
        await capture.StartSynchronizationAsync();
        await WriteRandomAsync(capture, 1, 2000).WaitAsync(TimeSpan.FromSeconds(20));
        await stop.CancelAsync();
        await run;
        await capture.DisposeAsync();
    }

    [Theory, InlineData(1), InlineData(2), InlineData(3)]
    public async Task Every_batch_of_deltas_leaves_the_replica_at_a_prefix_of_the_history(int seed)
    {
        var (capture, target) = (await OpenAsync(), new MemoryTarget(Bytes, Bytes));
        using var stop = new CancellationTokenSource();
        var run = capture.RunAsync(target, stop.Token);
        await capture.StartSynchronizationAsync();
        await CaughtUpAsync(capture, target);
        // One writer: write n of this ledger has sequence start + n.
        var (start, ledger, applied) = (capture.Status().Newest.Value, new List<byte[]> { new byte[64] }, 0);
        var failures = new List<long>();
        target.Applied = batch =>
        {
            if (batch.Header.Kind != BatchKind.Delta) return;
            applied++;
            lock (ledger)
                if (!target.Disks[0].AsSpan(0, 64).SequenceEqual(ledger[(int)(batch.Header.Last.Value - start)])) failures.Add(batch.Header.Last.Value);
        };
        var random = new Random(seed);
        for (var i = 0; i < 2000; i++)
        {
            var (offset, value) = (random.Next(63), new[] { (byte)random.Next(1, 255) });
            lock (ledger)
            {
                var state = ledger[^1].ToArray();
                state[offset] = value[0];
                ledger.Add(state);
            }
            await capture.Disks[0].WriteAsync(offset, value, false, default);
            if (i % 50 == 0) await Task.Yield();
        }
        await CaughtUpAsync(capture, target);
        AssertEqual(target);
        await stop.CancelAsync();
        await run;
        Assert.True(applied > 0);
        Assert.Empty(failures);
        await capture.DisposeAsync();
    }

    [Fact]
    public async Task Overlapping_concurrent_writes_reach_the_target_in_the_order_in_which_they_landed()
    {
        var (capture, target) = (await OpenAsync(), new MemoryTarget(Bytes, Bytes));
        await SynchronizeAsync(capture, target, async () =>
        {
            for (var round = 0; round < 40; round++)
                await Task.WhenAll(Enumerable.Range(1, 4).Select(w => Task.Run(async () =>
                    await capture.Disks[0].WriteAsync(w * 512, Enumerable.Repeat((byte)(w + round), 8192).ToArray(), false, default))));
        });
        await capture.DisposeAsync();
    }
}
