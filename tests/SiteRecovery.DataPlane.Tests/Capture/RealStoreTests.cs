using SiteRecovery.DataPlane.Capture;
using SiteRecovery.DataPlane.MasterTarget;
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

    private static Task CompleteAsync(MachineCapture capture) =>
        UntilAsync(() => capture.Status() is { Complete: true, DirtyBytes: 0 } s && s.Durable == s.Newest);
}
