using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.DataPlane.Tests.Retention;

namespace SiteRecovery.DataPlane.Tests.Capture;

/// <summary>A machine that is to be moved is hashed before it stops, so that it stands still only for what it writes meanwhile.</summary>
public sealed class RunningHashTests : CaptureFixture
{
    [Fact]
    public async Task Standing_still_it_reads_only_what_was_written_since()
    {
        var content = new byte[Bytes];
        new Random(1).NextBytes(content.AsSpan(0, Bytes / 2));
        await File.WriteAllBytesAsync(DiskPath, content);
        var files = new CountedReads("disk.img");
        await using var capture = await OpenAsync(files);
        await capture.HashAsync(default);
        Assert.InRange(files.Bytes, Bytes / 2, Bytes);
        await WriteAsync(capture, 3 * RootHash.BlockBytes - 4096, 7, 8192); // two blocks
        await WriteAsync(capture, 50 * RootHash.BlockBytes, 8);
        await capture.Disks[0].WriteZeroesAsync(9 * RootHash.BlockBytes, 4096, true, false, default);
        await capture.FreezeAsync(1, default);

        files.Bytes = 0;
        var root = await capture.RootHashAsync(default);

        Assert.InRange(files.Bytes, 3 * RootHash.BlockBytes, 4 * RootHash.BlockBytes);
        Assert.Equal(ModelRoot.Of(await File.ReadAllBytesAsync(DiskPath)), root);
        capture.EndHashing();
        Assert.DoesNotContain(Directory.GetFiles(StateFolder), f => f.EndsWith("leaves", StringComparison.Ordinal));
        Assert.Equal(root, await capture.RootHashAsync(default));
    }

    [Fact]
    public async Task No_write_that_comes_between_is_missed()
    {
        for (var round = 0; round < 30; round++)
        {
            File.Delete(DiskPath);
            Directory.CreateDirectory(StateFolder);
            Directory.Delete(StateFolder, recursive: true);
            await using var capture = await OpenAsync();
            using var hashed = new CancellationTokenSource();
            var writers = Enumerable.Range(0, 4).Select(w => Task.Run(async () =>
            {
                var random = new Random((round * 4) + w);
                do await WriteAsync(capture, random.Next(Bytes / 4096) * 4096, (byte)random.Next(1, 256));
                while (!hashed.IsCancellationRequested);
            })).ToArray();
            await capture.HashAsync(default);
            await hashed.CancelAsync();
            await Task.WhenAll(writers);
            await capture.FreezeAsync(1, default);
            Assert.Equal(ModelRoot.Of(await File.ReadAllBytesAsync(DiskPath)), await capture.RootHashAsync(default));
            capture.EndHashing();
        }
    }
}
