using SiteRecovery.Actors.ProcessServers;
using SiteRecovery.Actors.ProtectedMachines;
using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.DataPlane.Capture;
using SiteRecovery.DataPlane.Export;
using SiteRecovery.DataPlane.Retention;
using SiteRecovery.DataPlane.Storage;
using SiteRecovery.DataPlane.Transport;
using SiteRecovery.Domain.History;
using SiteRecovery.Domain.Policies;
using SiteRecovery.Domain.Results;

namespace SiteRecovery.Actors.MasterTargets;

/// <summary>
/// A replica that was failed over to. Its writes are captured from the first one on, so that the way back is a delta; it streams once it is told to.
/// </summary>
public sealed class ReplicaMachine : IReplicaDisks
{
    private const string CaptureFolder = "capture";
    private readonly MachineId _machine;
    private readonly Func<int> _clients;
    private readonly MachineCapture _capture;
    private readonly CaptureOrders _orders;
    private readonly CancellationTokenSource _stop = new();
    private CancellationTokenSource _stopRunning = new();
    private Task _running = Task.CompletedTask;
    private IStreamTarget? _target;
    private volatile ReplicateFrom? _work;
    private volatile bool _isAskedToStop;
    private readonly ReplicaLayers _layers;
    private readonly LayerFlattening _flattening;
    private volatile Task? _flattened;

    /// <summary>In which it writes.</summary>
    public Epoch Epoch { get; }

    /// <summary>Where its layers lie.</summary>
    public string Folder { get; }

    /// <summary>It is being moved away: nobody may write to it.</summary>
    public bool IsFrozen => _capture.IsFrozen;

    /// <summary>A layer takes nothing more: only opened anew it is as its disk has it.</summary>
    public bool HasFailed => _layers.Disks.Any(d => d.File.HasFailed);

    private ReplicaMachine(MachineId machine, string folder, ReplicaLayers layers, MachineCapture capture, LayerFlattening flattening, Epoch epoch, Func<ReplicaMachine, int> clients, TimeProvider time)
    {
        Folder = folder;
        (_layers, _flattening) = (layers, flattening);
        (_machine, _capture, _clients, Epoch) = (machine, capture, () => clients(this), epoch);
        Disks = [.. layers.Disks.Zip(capture.Disks, (layer, disk) => (layer.Disk, (IBlockDevice)disk))];
        _orders = new CaptureOrders(capture, new CaptureOrder(epoch, 0, capture.IsPaused), _clients, time, isAskedToStop: () => _isAskedToStop);
    }

    public IReadOnlyList<(DiskRecord Disk, IBlockDevice Device)> Disks { get; }

    internal MachineCapture Capture => _capture;

    /// <summary>What it was last told; null before that.</summary>
    public ReplicateFrom? Work => _work;

    /// <exception cref="InvalidDataException">The point is not viewable, or a layer is damaged.</exception>
    /// <param name="epoch">In which it writes.</param>
    public static async Task<ReplicaMachine> OpenAsync(
        RetentionStore store, RecoveryPoint point, string folder, Epoch epoch, ReplicationPolicy policy, Func<ReplicaMachine, int> clients, MasterTargetRoom room,
        CancellationToken stop = default)
    {
        var (files, time) = (room.Files, room.Time);
        // What a layer could not note of itself the capture beside it may have.
        var mayHaveForgotten = MayHaveForgotten(folder, files);
        // It is made behind them all.
        if (WasServed(folder, files)) ThrowIfLost(folder, store.Disks, files);
        var isCaptured = EndOf(folder, files) is not null;
        var layers = new ReplicaLayers(store, point, folder, files, mayStandAlone: true, mayHaveForgotten, stop: stop);
        MachineCapture? capture = null;
        try
        {
            capture = await MachineCapture.OpenAsync(new CaptureOptions
            {
                Machine = store.Machine, Epoch = epoch, StateFolder = Path.Combine(folder, CaptureFolder), ForkedAt = point.Sequence, HasLostState = !isCaptured && layers.Disks.Any(d => d.File.HasWritten), BufferBytes = room.ReplicaBufferBytes,
                Disks = [.. layers.Disks.Select(d => new CaptureDisk(new DiskGeometry(d.Disk.Index, d.Disk.Name, d.Disk.SizeBytes), folder, d.File))],
                PointInterval = policy.CrashConsistentEvery, ResynchronizeAutomatically = policy.ResynchronizationWindow == ResynchronizationWindow.Automatic,
            }, files, time);
            if (layers.Disks.Any(d => d.File.MayHaveForgotten))
            {
                // It may show less than what was sent of it.
                capture.MarkAllUnsynced("a flush of the replica's disk failed");
                foreach (var (_, file) in layers.Disks) file.ForgetFailedFlush();
                capture.ForgetFailedFlush(); // last: until here whoever opens them writes them anew
            }
            return new ReplicaMachine(store.Machine, folder, layers, capture, new LayerFlattening(layers, folder, files, time), epoch, clients, time);
        }
        catch
        {
            try
            {
                await LetGoAsync(capture, layers);
            }
            catch (IOException)
            {
                // What is told is why it could not be opened, not what became of it then.
            }
            throw;
        }
    }

    /// <summary>It was opened as a whole once: an empty layer in the place of one that is gone would show the point, without what was written since.</summary>
    /// <exception cref="InvalidDataException">The layer of a disk is gone.</exception>
    public static void ThrowIfLost(string folder, IReadOnlyList<DiskRecord> disks, IFileSystem files)
    {
        if (disks.FirstOrDefault(d => !files.Exists(Path.Combine(folder, ReplicaLayers.FileOf(d.Index)) + ".map")) is { } lost)
            throw new InvalidDataException($"the layer of disk {lost.Index} in {folder}, with what was written to it, is gone: if it was moved away, put it back");
    }

    /// <summary>A replica that is not served is fenced in its folder.</summary>
    public static void Fence(string folder, Epoch epoch, IFileSystem files)
    {
        if (!files.FolderExists(Path.Combine(folder, CaptureFolder))) return;
        try
        {
            // Before: what its layers show is what it is said to have ended with.
            ReplicaLayers.FlushStored(folder, files, MayHaveForgotten(folder, files));
        }
        catch (Exception broken) when (broken is IOException or InvalidDataException)
        {
            // It must be fenced all the same. Whoever opens them next hears of it, and compares everything.
        }
        MachineCapture.FenceStored(Path.Combine(folder, CaptureFolder), epoch, files);
    }

    /// <summary>Of its folder: a flush of a disk has failed in this boot of the host, as the capture there knows.</summary>
    /// <exception cref="System.Text.Json.JsonException">What the capture knows is damaged.</exception>
    public static bool MayHaveForgotten(string folder, IFileSystem files) => MachineCapture.MayForgetStored(Path.Combine(folder, CaptureFolder), files);

    /// <summary>Of its folder: a replica has been opened there, whether it is now or not.</summary>
    public static bool WasServed(string folder, IFileSystem files) => files.FolderExists(Path.Combine(folder, CaptureFolder));

    /// <summary>Where a replica that is not served ended.</summary>
    public static Sequence? EndOf(string folder, IFileSystem files) => MachineCapture.EndStored(Path.Combine(folder, CaptureFolder), files);

    /// <summary>One order at a time.</summary>
    /// <param name="isAskedToStop">The power button of the machine that runs on it was pressed.</param>
    /// <returns>Whether the machine may run: its disks take writes, and are not about to be drained.</returns>
    public async Task<bool> ObeyAsync(ReplicateFrom work, IStreamTarget target, bool isAskedToStop)
    {
        (_work, _isAskedToStop) = (work, isAskedToStop);
        _capture.Follow(work.Policy.CrashConsistentEvery, work.Policy.ResynchronizationWindow == ResynchronizationWindow.Automatic);
        await _orders.ApplyAsync(AgentReports.OrderOf(work));
        var mayRun = !_orders.Current.Drain && !IsFrozen && !_capture.IsFenced;
        if (_stop.IsCancellationRequested || (_target == target && !_running.IsCompleted)) return mayRun;
        // The way may lead elsewhere now: through another process server, or to a master target that has moved.
        await StopRunningAsync();
        (_target, _stopRunning) = (target, CancellationTokenSource.CreateLinkedTokenSource(_stop.Token));
        _running = _capture.RunAsync(target, _stopRunning.Token);
        return mayRun;
    }

    /// <summary>A later order was obeyed already.</summary>
    public bool IsPast(ReplicateFrom work) => AgentReports.OrderOf(work).IsOlderThan(_orders.Current);

    public Task<Sequence> TakePointAsync(string label, PointKind kind) => _capture.TakePointAsync(label, kind);

    /// <summary>Its layers are to become raw files. Repeated it goes on, and throws what has stopped it before. One order at a time.</summary>
    /// <returns>Whether they are.</returns>
    /// <exception cref="IOException">A disk cannot be read or written, or there is no room.</exception>
    public bool Flatten()
    {
        if (_flattened is { IsCompletedSuccessfully: true }) return true;
        var before = _flattened;
        if (before is null or { IsFaulted: true }) _flattened = Task.Run(() => _flattening.RunAsync(_stop.Token));
        if (before?.Exception?.InnerException is { } failure) throw new IOException(failure.Message, failure);
        return false;
    }

    /// <summary>How far flattening is; null while it is not asked for.</summary>
    public FlatteningReport? Flattening => _flattened is null ? null : new(_machine, _flattening.BytesDone, _flattening.BytesTotal, _flattening.BytesPerSecond);

    /// <summary>Ranges in which the other side differs though nothing was written there here. Durable when it returns.</summary>
    public void MarkUnsynced(IReadOnlyCollection<DiskRange> ranges) => _capture.MarkUnsynced(ranges, "the old source wrote there beyond the fork");

    /// <summary>What it wrote without knowing it durable at the other side, once it is fenced.</summary>
    public (StreamPosition Told, IReadOnlyList<DiskRange> Ranges) Tail()
    {
        // Before: whatever they were cleared for has been told.
        var ranges = _capture.NotKnownDurable();
        return (_capture.ToldDurable, ranges);
    }

    public MachineStatus Status(IReadOnlyList<DiskStatus> disks) => CaptureReports.StatusOf(_machine.Value, _capture, _orders, _clients(), disks);

    public async ValueTask DisposeAsync()
    {
        await _orders.DisposeAsync();
        await _stop.CancelAsync();
        await StopRunningAsync();
        if (_flattened is { } flattened) await flattened.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        await LetGoAsync(_capture, _layers);
        _stop.Dispose();
    }

    /// <summary>The capture first: it flushes its disks, which are the layers' files, before it says where it ended.</summary>
    private static async Task LetGoAsync(MachineCapture? capture, ReplicaLayers layers)
    {
        try
        {
            if (capture is not null) await capture.DisposeAsync();
        }
        finally
        {
            layers.Dispose();
        }
    }

    private async Task StopRunningAsync()
    {
        await _stopRunning.CancelAsync();
        await _running.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        _stopRunning.Dispose();
    }
}
