namespace SiteRecovery.DataPlane.Tests.Capture;

/// <summary>Changes are tracked by blocks of 64 KiB, and only the pages of them that differ travel.</summary>
public sealed class SmallDifferenceTests : CaptureFixture
{
    private const int Block = 64 << 10, Page = 4096;

    [Fact]
    public async Task Only_the_pages_that_differ_are_sent()
    {
        var target = new MemoryTarget(Bytes);
        var content = new byte[Bytes];
        new Random(1).NextBytes(content);
        await File.WriteAllBytesAsync(DiskPath, content);
        var capture = await OpenAsync();
        await StreamingAsync(capture, target, () => Task.CompletedTask);
        capture = await OpenAsync();
        var before = target.SyncBytes;
        await WriteAsync(capture, Block + Page, 1);
        await WriteAsync(capture, Block + (2 * Page), 2);
        await WriteAsync(capture, (9 * Block) - Page, 3);
        await capture.Disks[0].WriteZeroesAsync(20 * Block, Page, mayTrim: false, forceUnitAccess: false, default);
        await StreamingAsync(capture, target, () => Task.CompletedTask);
        AssertEqual(target);
        Assert.Equal(3 * Page, target.SyncBytes - before);
    }
}
