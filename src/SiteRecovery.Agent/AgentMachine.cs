using System.Text.Json;
using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.DataPlane.Capture;
using SiteRecovery.DataPlane.Nbd;
using SiteRecovery.DataPlane.Storage;
using SiteRecovery.DataPlane.Transport;
using SiteRecovery.Domain.History;

namespace SiteRecovery.Agent;

/// <summary>
/// One protected machine on this host: its disks served over NBD, its capture, its stream. What it was told last is kept in its
/// folder, so that after a restart the disks are served before, and without, any word from the cluster.
/// </summary>
public sealed class AgentMachine : IAsyncDisposable
{
    private const string AssignmentFile = "assignment.json";
    private readonly MachineCapture _capture;
    private readonly NbdExports _exports;
    private readonly string _folder, _socket;
    private readonly CancellationTokenSource _stop = new();
    private readonly Task _running;
    private ProtectMachine _assignment;
    private int _synchronizationStarted;

    private AgentMachine(ProtectMachine assignment, MachineCapture capture, NbdExports exports, string folder, string socket, IStreamTarget target)
    {
        (_assignment, _capture, _exports, _folder, _socket) = (assignment, capture, exports, folder, socket);
        foreach (var disk in capture.Disks) exports.Add(new NbdExport(ExportName(disk.Geometry.Name), disk, $"disk {disk.Geometry.Name} of machine {assignment.Machine}"));
        _running = capture.RunAsync(target, _stop.Token);
    }

    public string Name => _assignment.Machine;

    /// <exception cref="AgentProblem">A disk cannot be opened, or its size is not what was assigned.</exception>
    public static async Task<AgentMachine> OpenAsync(ProtectMachine assignment, string folder, string socket, NbdExports exports, IStreamTarget target, TimeProvider time)
    {
        var disks = assignment.Disks.Select(d => new CaptureDisk(new DiskGeometry((ushort)d.Index, d.Name, SizeOf(d.Path)), d.Path)).ToArray();
        var isNew = RealFileSystem.Instance.TryReadAll(Path.Combine(folder, AssignmentFile)) is null;
        var capture = await MachineCapture.OpenAsync(new CaptureOptions
        {
            Machine = new MachineId(assignment.Machine), Epoch = new Epoch(assignment.Epoch), Disks = disks, StateFolder = folder,
            PointInterval = TimeSpan.FromSeconds(Math.Max(1, assignment.PointEverySeconds)),
        }, RealFileSystem.Instance, time);
        if (isNew) capture.MarkAllUnsynced();
        Save(folder, assignment with { Synchronize = 0 });
        var machine = new AgentMachine(assignment with { Synchronize = 0, Paused = false }, capture, exports, folder, socket, target);
        await machine.ApplyAsync(assignment);
        return machine;
    }

    public static IEnumerable<ProtectMachine> Kept(string machinesFolder)
    {
        if (!Directory.Exists(machinesFolder)) yield break;
        foreach (var folder in Directory.GetDirectories(machinesFolder).Order(StringComparer.Ordinal))
        {
            if (RealFileSystem.Instance.TryReadAll(Path.Combine(folder, AssignmentFile)) is { } bytes && AgentProtocol.Decode(bytes) is ProtectMachine kept) yield return kept;
        }
    }

    /// <summary>Whether only a new opening of the capture can make the assignment so.</summary>
    public bool NeedsReopening(ProtectMachine wanted) =>
        wanted.Epoch != _assignment.Epoch || wanted.PointEverySeconds != _assignment.PointEverySeconds || !wanted.Disks.SequenceEqual(_assignment.Disks);

    public async Task ApplyAsync(ProtectMachine wanted)
    {
        if (wanted.Paused && !_assignment.Paused) _capture.Pause();
        if (!wanted.Paused && _assignment.Paused) _capture.Resume();
        if (wanted.Synchronize > _synchronizationStarted)
        {
            _synchronizationStarted = wanted.Synchronize;
            await _capture.StartSynchronizationAsync();
        }
        _assignment = wanted;
        Save(_folder, wanted);
    }

    public Task FenceAsync(int epoch, CancellationToken stop) => _capture.FenceAsync(new Epoch(epoch), stop);

    public MachineStatus Status()
    {
        var status = _capture.Status();
        var synchronizing = status.Mode == CaptureMode.Synchronizing || status.ResynchronizationReason is not null;
        return new MachineStatus
        {
            Machine = Name, Epoch = status.Epoch.Value, Mode = status.Mode.ToString(), NewestSequence = status.Newest.Value, DurableSequence = status.Durable.Value,
            DirtyBytes = status.DirtyBytes, NeedsResynchronization = status.ResynchronizationReason is not null && status.Mode != CaptureMode.Synchronizing,
            Reason = status.ResynchronizationReason, BytesDone = status.Progress.BytesDone, BytesTotal = status.Progress.BytesTotal,
            BytesPerSecond = (long)status.Progress.BytesPerSecond, BytesShipped = status.BytesShipped,
            Synchronized = synchronizing ? _synchronizationStarted - 1 : _synchronizationStarted,
            Fenced = _capture.IsFenced, Error = status.LastError,
            Disks = [.. _capture.Disks.Select(d => new DiskStatus(d.Geometry.Index, d.Geometry.Name, d.SizeBytes, CaptureUri(d.Geometry.Name), null))],
        };
    }

    public static long SizeOf(string path)
    {
        if (!File.Exists(path)) throw new AgentProblem($"the disk {path} does not exist on this host");
        using var file = RealFileSystem.Instance.Open(path, FileOpening.Read);
        return file.LengthBytes > 0 ? file.LengthBytes : throw new AgentProblem($"the disk {path} is empty");
    }

    /// <summary>Protection ends: the disk is no longer served or captured, its bitmaps go.</summary>
    public async Task ReleaseAsync()
    {
        await DisposeAsync();
        Directory.Delete(_folder, recursive: true);
    }

    public async ValueTask DisposeAsync()
    {
        foreach (var disk in _capture.Disks) _exports.Remove(ExportName(disk.Geometry.Name));
        await _stop.CancelAsync();
        await _running.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        await _capture.DisposeAsync();
        _stop.Dispose();
    }

    private string ExportName(string disk) => $"{Name}.{disk}";

    private string CaptureUri(string disk) => $"nbd+unix:///{ExportName(disk)}?socket={_socket}";

    private static void Save(string folder, ProtectMachine assignment) =>
        RealFileSystem.Instance.Replace(Path.Combine(folder, AssignmentFile), AgentProtocol.Encode(assignment));
}
