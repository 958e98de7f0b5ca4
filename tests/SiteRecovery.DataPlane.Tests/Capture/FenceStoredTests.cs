using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.DataPlane.Capture;
using SiteRecovery.DataPlane.Storage;
using SiteRecovery.Domain.History;

namespace SiteRecovery.DataPlane.Tests.Capture;

/// <summary>A machine whose disk is away when the fence comes must not take writes when the disk is back.</summary>
public sealed class FenceStoredTests : CaptureFixture
{
    [Fact]
    public async Task A_capture_that_was_closed_when_it_was_fenced_takes_no_write_when_it_opens()
    {
        await (await OpenAsync()).DisposeAsync();
        MachineCapture.FenceStored(StateFolder, Epoch.First.Next(), RealFileSystem.Instance);
        await using var capture = await OpenAsync();
        Assert.True(capture.IsFenced);
        await Assert.ThrowsAsync<ReadOnlyDeviceException>(() => WriteAsync(capture, 0, 1));
    }

    [Fact]
    public async Task A_fence_that_is_not_on_the_disk_is_not_told_of()
    {
        var capture = await OpenAsync();
        Directory.Move(StateFolder, StateFolder + ".away");
        await Assert.ThrowsAnyAsync<IOException>(() => capture.FenceAsync(Epoch.First.Next()));
        Assert.Equal(Epoch.First, capture.Epoch);
        await Assert.ThrowsAsync<ReadOnlyDeviceException>(() => WriteAsync(capture, 0, 1));
        Directory.Move(StateFolder + ".away", StateFolder);
        await capture.FenceAsync(Epoch.First.Next());
        Assert.Equal(Epoch.First.Next(), capture.Epoch);
        await capture.DisposeAsync();
    }

    [Fact]
    public async Task A_stream_that_learns_that_its_epoch_is_over_does_not_end_a_later_one_that_is_its_own()
    {
        var capture = await OpenAsync();
        using var stop = new CancellationTokenSource();
        var run = capture.RunAsync(new MemoryTarget(Bytes) { RefuseWith = new Epoch(3) }, stop.Token);
        await UntilAsync(() => capture.IsFenced);
        await stop.CancelAsync();
        await run;
        await capture.DisposeAsync();

        await using (var same = await OpenAsync()) Assert.True(same.IsFenced);
        await using var next = await OpenAsync(epoch: 3);
        Assert.False(next.IsFenced);
        await WriteAsync(next, 0, 1);
    }

    [Fact]
    public async Task A_fence_of_an_earlier_epoch_does_not_stop_a_later_protection()
    {
        await (await OpenAsync()).DisposeAsync();
        MachineCapture.FenceStored(StateFolder, new Epoch(0), RealFileSystem.Instance);
        await using var capture = await OpenAsync();
        Assert.False(capture.IsFenced);
    }
}
