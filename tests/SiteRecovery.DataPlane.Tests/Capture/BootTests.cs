using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.DataPlane.Capture;
using SiteRecovery.DataPlane.Storage;
using SiteRecovery.Domain.History;

namespace SiteRecovery.DataPlane.Tests.Capture;

/// <summary>A host that was down does not know whether its machine runs elsewhere by now: until somebody says it, writes wait.</summary>
public sealed class BootTests : CaptureFixture
{
    private static readonly Guid Before = new(1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1), After = new(2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2);

    [Fact]
    public async Task After_a_boot_writes_wait_for_an_answer_and_after_the_next_start_they_do_not()
    {
        await (await BootedAsync(Before)).DisposeAsync();
        await using (var capture = await BootedAsync(After))
        {
            var (write, zero) = (WriteAsync(capture, 0, 1), capture.Disks[0].WriteZeroesAsync(4096, 4096, true, false, default).AsTask());
            var read = new byte[4096];
            await capture.Disks[0].ReadAsync(0, read, default);
            Assert.True(capture.IsAsking && !write.IsCompleted && !zero.IsCompleted && read[0] == 0);
            capture.Answer();
            await Task.WhenAll(write, zero);
        }
        await using var again = await BootedAsync(After);
        Assert.False(again.IsAsking);
    }

    [Fact]
    public async Task A_process_that_ended_before_the_answer_asks_again()
    {
        await (await BootedAsync(Before)).DisposeAsync();
        await (await BootedAsync(After)).DisposeAsync();
        await using var again = await BootedAsync(After);
        Assert.True(again.IsAsking);
    }

    [Fact]
    public async Task The_fence_refuses_what_waits()
    {
        await (await BootedAsync(Before)).DisposeAsync();
        await using var capture = await BootedAsync(After);
        var write = WriteAsync(capture, 0, 1);
        await capture.FenceAsync(Epoch.First);
        await Assert.ThrowsAsync<ReadOnlyDeviceException>(() => write);
        Assert.Equal(0, (await File.ReadAllBytesAsync(DiskPath))[0]);
    }

    /// <summary>An agent that only starts again keeps no guest waiting.</summary>
    [Fact]
    public async Task Without_a_boot_nothing_waits()
    {
        await (await BootedAsync(Before)).DisposeAsync();
        await using var capture = await BootedAsync(Before);
        await WriteAsync(capture, 0, 1);
    }

    private Task<MachineCapture> BootedAsync(Guid boot)
    {
        if (!File.Exists(DiskPath)) File.WriteAllBytes(DiskPath, new byte[Bytes]);
        return MachineCapture.OpenAsync(new CaptureOptions
        {
            Machine = new MachineId("m1"), Epoch = Epoch.First, StateFolder = StateFolder, BootId = boot, AsksAfterBoot = true, Disks = [new(new(0, "a", Bytes), DiskPath)],
        }, RealFileSystem.Instance, TimeProvider.System);
    }
}
