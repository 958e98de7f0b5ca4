using SiteRecovery.DataPlane.Capture;
using SiteRecovery.DataPlane.Storage;
using SiteRecovery.Domain.History;

namespace SiteRecovery.DataPlane.Tests.Capture;

/// <summary>A folder that takes nothing, or is not this user's any more.</summary>
public sealed class UnsavedFenceTests : CaptureFixture
{
    [Theory, InlineData(false), InlineData(true)]
    public async Task A_source_that_hears_that_its_epoch_is_over_is_fenced_for_good_once_that_can_be_saved(bool closed)
    {
        var files = new SlowReplacing { Refusal = closed ? new UnauthorizedAccessException("closed") : new IOException("full") };
        await using var capture = await OpenAsync(files, reconnect: TimeSpan.FromMilliseconds(20));
        var target = new MemoryTarget(Bytes);
        using var stop = new CancellationTokenSource();
        var run = capture.RunAsync(target, stop.Token);
        await capture.StartSynchronizationAsync();
        await CaughtUpAsync(capture, target);
        files.IsFull = true;
        target.RefuseWith = new Epoch(2);
        target.Break();
        await UntilAsync(() => capture.IsFenced && capture.Status().LastError is "closed" or "full");
        files.IsFull = false;
        await UntilAsync(() => CaptureState.TryLoad(RealFileSystem.Instance, Path.Combine(StateFolder, "capture.json"))!.Fenced);
        await stop.CancelAsync();
        await run;
    }

    [Fact]
    public async Task A_guest_hears_of_its_flush_and_not_of_the_folder()
    {
        var files = new SlowReplacing { Refusal = new UnauthorizedAccessException("closed") };
        var capture = await OpenAsync(files, disk: new Unflushed(DiskPath));
        await WriteAsync(capture, 0, 1);
        files.IsFull = true;
        await Assert.ThrowsAsync<IOException>(async () => await capture.Disks[0].FlushAsync(default));
        files.IsFull = false;
        await Assert.ThrowsAsync<IOException>(async () => await capture.DisposeAsync());
        Assert.NotNull(CaptureState.TryLoad(RealFileSystem.Instance, Path.Combine(StateFolder, "capture.json"))!.FlushFailedIn);
    }

    private sealed class Unflushed(string path) : IBlockFile
    {
        private readonly RealBlockFile _file = new(path, FileOpening.Create);

        public long LengthBytes => _file.LengthBytes;
        public void SetLength(long lengthBytes) => _file.SetLength(lengthBytes);
        public void Read(long offset, Span<byte> into) => _file.Read(offset, into);
        public void Write(long offset, ReadOnlySpan<byte> from) => _file.Write(offset, from);
        public void Zero(long offset, long length) => _file.Zero(offset, length);
        public void Flush() => throw new IOException("flush failed");
        public (long Length, bool Hole) RunAt(long offset) => _file.RunAt(offset);
        public void Dispose() => _file.Dispose();
    }
}
