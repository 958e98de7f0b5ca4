using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.DataPlane.Capture;
using SiteRecovery.DataPlane.MasterTarget;
using SiteRecovery.DataPlane.ProcessServer;
using SiteRecovery.DataPlane.Storage;
using SiteRecovery.Domain.History;

namespace SiteRecovery.DataPlane.Tests.Capture;

/// <summary>Capture streaming straight into a store: what one says the other must take.</summary>
public sealed class RealStoreTests : CaptureFixture
{
    private readonly string _stores = Directory.CreateTempSubdirectory("stores").FullName;

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task After_writes_that_no_stream_carried_the_store_is_completed_by_a_delta(bool pauses)
    {
        await using var receiver = new StoreReceiver(_stores, RealFileSystem.Instance, TimeProvider.System);
        var capture = await OpenAsync(buffer: 1 << 20);
        using var stop = new CancellationTokenSource();
        var run = capture.RunAsync(receiver, stop.Token);
        await capture.StartSynchronizationAsync();
        await CompleteAsync(capture);
        if (pauses)
        {
            capture.Pause();
            await WriteAsync(capture, 1 << 20, 1);
            capture.Resume();
        }
        else
        {
            // More than the buffer holds, at once.
            await WriteAsync(capture, 1 << 20, 2, 2 << 20);
            Assert.NotEqual(CaptureMode.Streaming, capture.Status().Mode);
        }
        await CompleteAsync(capture);
        var store = receiver.StoreOf(new MachineId("m1"));
        var replica = new byte[Bytes];
        await store.At(store.ResolvePoint(new PointSelector.Latest())!).Disk(0).ReadAsync(0, replica, default);
        Assert.True(File.ReadAllBytes(DiskPath).AsSpan().SequenceEqual(replica));
        await stop.CancelAsync();
        await run;
        await capture.DisposeAsync();
    }

    [Fact]
    public async Task A_log_that_another_writer_has_begun_takes_nothing_of_this_one_for_a_repeat()
    {
        await using var receiver = new StoreReceiver(_stores, RealFileSystem.Instance, TimeProvider.System);
        receiver.Hold(new MachineId("m1"), [new(0, "a", Bytes)], Epoch.First);
        var store = receiver.StoreOf(new MachineId("m1"));
        store.Fold([], Sequence.None, DateTimeOffset.UnixEpoch, "kept");
        var capture = await OpenAsync();
        await WriteAsync(capture, 0, 7);
        using var stop = new CancellationTokenSource();
        var run = capture.RunAsync(receiver, stop.Token);
        await capture.StartSynchronizationAsync();
        await CompleteAsync(capture);
        var replica = new byte[4096];
        await store.At(store.ConsistentUpTo!).Disk(0).ReadAsync(0, replica, default);
        Assert.Equal(7, replica[0]);
        await stop.CancelAsync();
        await run;
        await capture.DisposeAsync();
    }

    /// <summary>Production takes no writes once it is fenced: an epoch that was not opened must not do that.</summary>
    [Theory, InlineData(true), InlineData(false)]
    public async Task An_epoch_that_could_not_be_opened_fences_nobody(bool throughASpool)
    {
        var machine = new MachineId("m1");
        await using var receiver = new StoreReceiver(_stores, RealFileSystem.Instance, TimeProvider.System);
        await using var spool = new SpoolTarget(new SpoolOptions { Folder = Path.Combine(_stores, "spool") }, _ => receiver, RealFileSystem.Instance, TimeProvider.System);
        var capture = await OpenAsync();
        using var stop = new CancellationTokenSource();
        var run = capture.RunAsync(throughASpool ? spool : receiver, stop.Token);
        await capture.StartSynchronizationAsync();
        await WriteAsync(capture, 0, 1);
        await CompleteAsync(capture);
        await UntilAsync(() => receiver.StoreOf(machine).ConsistentUpTo is not null);
        var newest = receiver.StoreOf(machine).ConsistentUpTo!;
        await Assert.ThrowsAsync<InvalidDataException>(() => receiver.OpenEpochAsync(machine, new Epoch(2), newest with { Sequence = new Sequence(newest.Sequence.Value + 1000) }, default));
        await WriteAsync(capture, 4096, 2);
        await CompleteAsync(capture);
        Assert.False(capture.IsFenced);
        // One that is opened does.
        await receiver.OpenEpochAsync(machine, new Epoch(2), newest, default);
        await UntilAsync(() => capture.IsFenced);
        await Assert.ThrowsAsync<ReadOnlyDeviceException>(() => WriteAsync(capture, 8192, 3));
        await stop.CancelAsync();
        await run;
        await capture.DisposeAsync();
    }

    /// <summary>Neither the source, in a life that remembers nothing, nor a later epoch takes for there what was acknowledged.</summary>
    [Theory, InlineData(false), InlineData(true)]
    public async Task What_a_store_has_lost_of_what_it_acknowledged_comes_again(bool inANewEpoch)
    {
        var machine = new MachineId("m1");
        await StreamAsync(await OpenAsync(), Epoch.First, capture => WriteAsync(capture, 1 << 20, 1, 2 << 20));
        var segment = Directory.GetFiles(Path.Combine(_stores, "m1", "log"), "*.seg")[^1];
        var bytes = File.ReadAllBytes(segment);
        bytes[bytes.Length / 2] ^= 1;
        File.WriteAllBytes(segment, bytes);
        if (inANewEpoch)
        {
            await using var alone = new StoreReceiver(_stores, RealFileSystem.Instance, TimeProvider.System);
            await alone.ContinueEpochAsync(machine, new Epoch(2), Epoch.First, default);
        }
        var epoch = inANewEpoch ? new Epoch(2) : Epoch.First;
        await StreamAsync(await OpenAsync(epoch: epoch.Value), epoch, _ => Task.CompletedTask);
        await using var receiver = new StoreReceiver(_stores, RealFileSystem.Instance, TimeProvider.System);
        var store = receiver.StoreOf(machine);
        var replica = new byte[Bytes];
        await store.At(store.ConsistentUpTo!).Disk(0).ReadAsync(0, replica, default);
        Assert.True(File.ReadAllBytes(DiskPath).AsSpan().SequenceEqual(replica));
        // It is told once: who sends has it on record.
        Assert.Equal((false, epoch), (store.HasLost, store.CurrentEpoch));
        Assert.Single(Directory.GetFiles(Path.Combine(_stores, "m1", "log"), "*.damaged-*"));
    }

    private async Task StreamAsync(MachineCapture capture, Epoch epoch, Func<MachineCapture, Task> story)
    {
        await using var receiver = new StoreReceiver(_stores, RealFileSystem.Instance, TimeProvider.System);
        using var stop = new CancellationTokenSource();
        var run = capture.RunAsync(receiver, stop.Token);
        await capture.StartSynchronizationAsync();
        await CompleteAsync(capture);
        await story(capture);
        await CompleteAsync(capture);
        await UntilAsync(() => receiver.StoreOf(new MachineId("m1")) is { Consistent: true } store && store.CurrentEpoch == epoch);
        await stop.CancelAsync();
        await run;
        await capture.DisposeAsync();
    }

    private static Task CompleteAsync(MachineCapture capture) =>
        UntilAsync(() => capture.Status() is { Complete: true, DirtyBytes: 0 } s && s.Durable == s.Newest);
}
