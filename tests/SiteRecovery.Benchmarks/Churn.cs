using System.Globalization;
using SiteRecovery.DataPlane.Capture;
using SiteRecovery.Node.Bench;

namespace SiteRecovery.Benchmarks;

/// <summary>Random 16 KiB writes at a steady rate, half of each compressible.</summary>
public static class Churn
{
    private const int WriteBytes = 16 << 10;
    private static readonly TimeSpan Slice = TimeSpan.FromMilliseconds(5);

    /// <returns>MB/s really written, and the writes that no stream carried (the buffer overflowed) as a count of overflows.</returns>
    public static async Task<string> RunAsync(CapturedMachine machine, int megabytesPerSecond, TimeSpan duration)
    {
        var (random, data, disk) = (new Random(1), new byte[WriteBytes], machine.Disk);
        SampleDisk.FillCompressible(data, random);
        var (started, written, outOfStep) = (TimeProvider.System.GetTimestamp(), 0L, 0);
        using var timer = new PeriodicTimer(Slice);
        while (TimeProvider.System.GetElapsedTime(started) is var elapsed && elapsed < duration)
        {
            for (var due = (long)(elapsed.TotalSeconds * megabytesPerSecond * 1e6); written < due; written += WriteBytes)
            {
                random.NextBytes(data.AsSpan(0, WriteBytes / 2));
                await disk.WriteAsync(random.NextInt64(disk.SizeBytes / WriteBytes) * WriteBytes, data, false, CancellationToken.None);
            }
            if (machine.Capture.Status().Mode != CaptureMode.Streaming) outOfStep++;
            await timer.WaitForNextTickAsync();
        }
        return string.Create(CultureInfo.InvariantCulture, $"{written / TimeProvider.System.GetElapsedTime(started).TotalSeconds / 1e6} {outOfStep}");
    }
}
