using SiteRecovery.DataPlane.Capture;
using SiteRecovery.DataPlane.Storage;
using SiteRecovery.Domain.History;

namespace SiteRecovery.DataPlane.Tests.Capture;

/// <summary>A machine of one disk in a folder of its own.</summary>
public abstract class CaptureFixture : IDisposable
{
    protected const int Bytes = 4 << 20;
    private static readonly Guid Boot = new(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11);
    private readonly string _folder = Directory.CreateTempSubdirectory("capture").FullName;

    public void Dispose()
    {
        Directory.Delete(_folder, true);
        GC.SuppressFinalize(this);
    }

    private protected string DiskPath => Path.Combine(_folder, "disk.img");
    private protected string StateFolder => Path.Combine(_folder, "state");

    private protected Task<MachineCapture> OpenAsync(IFileSystem? files = null, int buffer = 16 << 20, long reserve = 1_000_000, TimeProvider? time = null, int epoch = 1, bool automatic = true,
        TimeSpan? reconnect = null, IBlockFile? disk = null)
    {
        if (!File.Exists(DiskPath)) File.WriteAllBytes(DiskPath, new byte[Bytes]);
        return MachineCapture.OpenAsync(new CaptureOptions
        {
            Machine = new MachineId("m1"), Epoch = new Epoch(epoch), StateFolder = StateFolder, BootId = Boot,
            BufferBytes = buffer, SequencesReserved = reserve, ResynchronizeAutomatically = automatic, Disks = [new(new(0, "a", Bytes), DiskPath, disk)],
            ReconnectDelayMax = reconnect ?? TimeSpan.FromSeconds(10),
        }, files ?? RealFileSystem.Instance, time ?? TimeProvider.System);
    }

    private protected static Task WriteAsync(MachineCapture capture, int at, byte value, int count = 4096) =>
        capture.Disks[0].WriteAsync(at, Enumerable.Repeat(value, count).ToArray(), false, default).AsTask();

    private protected static async Task UntilAsync(Func<bool> condition)
    {
        using var deadline = new CancellationTokenSource(TimeSpan.FromSeconds(30));
        while (!condition()) await Task.Delay(5, deadline.Token);
    }

    private protected static Task CaughtUpAsync(MachineCapture capture, MemoryTarget target) => UntilAsync(() =>
        capture.Status() is { Mode: CaptureMode.Streaming, DirtyBytes: 0 } s && s.Durable == s.Newest && target.Consistent);

    private protected void AssertEqual(MemoryTarget target)
    {
        lock (target.Disks) Assert.True(File.ReadAllBytes(DiskPath).AsSpan().SequenceEqual(target.Disks[0]));
    }

    /// <summary>Runs the stream into the target, with the disk synchronized first.</summary>
    private protected async Task StreamingAsync(MachineCapture capture, MemoryTarget target, Func<Task> during)
    {
        using var stop = new CancellationTokenSource();
        var run = capture.RunAsync(target, stop.Token);
        await capture.StartSynchronizationAsync();
        await CaughtUpAsync(capture, target);
        await during();
        await stop.CancelAsync();
        await run;
        await capture.DisposeAsync();
    }
}
