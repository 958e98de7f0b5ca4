using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.DataPlane.Capture;
using SiteRecovery.DataPlane.Storage;
using SiteRecovery.Domain.History;

namespace SiteRecovery.Node.Bench;

/// <summary>One machine of one disk under capture, streaming into a target.</summary>
public sealed class CapturedMachine : IAsyncDisposable
{
    private readonly CancellationTokenSource _stop = new();
    private readonly Task _running;

    private CapturedMachine(MachineCapture capture, IStreamTarget target)
    {
        Capture = capture;
        _running = capture.RunAsync(target, _stop.Token);
    }

    public MachineCapture Capture { get; }
    public IBlockDevice Disk => Capture.Disks[0];

    public static async Task<CapturedMachine> OpenAsync(string name, string diskPath, string stateFolder, IStreamTarget target) => new(
        await MachineCapture.OpenAsync(new CaptureOptions
        {
            Machine = new MachineId(name), Epoch = Epoch.First, StateFolder = stateFolder,
            Disks = [new CaptureDisk(new DiskGeometry(0, "disk", new FileInfo(diskPath).Length), diskPath)],
        }, RealFileSystem.Instance, TimeProvider.System), target);

    /// <summary>Makes the target complete; returns when the newest write, the synchronization and its point are durable there.</summary>
    public async Task SynchronizeAsync(CancellationToken stop)
    {
        await Capture.StartSynchronizationAsync();
        await DurableAsync(stop);
    }

    public async Task DurableAsync(CancellationToken stop)
    {
        using var poll = new PeriodicTimer(TimeSpan.FromMilliseconds(2));
        while (Capture.Status() is not { Complete: true, DirtyBytes: 0 } s || s.Durable < s.Newest) await poll.WaitForNextTickAsync(stop);
    }

    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        await _running.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        await Capture.DisposeAsync();
        _stop.Dispose();
    }
}
