using System.Text.Json;
using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.DataPlane.Capture;
using SiteRecovery.DataPlane.Hypervisors;
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
    private static readonly TimeSpan FencedLook = TimeSpan.FromSeconds(1), PausedLook = TimeSpan.FromSeconds(2), UnderWayMax = TimeSpan.FromSeconds(5);
    private static readonly TimeSpan ConnectingMax = TimeSpan.FromMinutes(2); // longer than any reconnect-delay that a guest is given
    private readonly MachineCapture _capture;
    private readonly CaptureOrders _orders;
    private readonly AgentHost _host;
    private readonly IReadOnlyList<IDisposable> _locks;
    private readonly MachineFolder _folder;
    private readonly CancellationTokenSource _stop = new();
    private readonly SourceMachine? _source;
    private readonly Task _running, _keepingDown, _continuing;
    private readonly long _opened;
    private bool _hadGuest; // before it was opened
    private ProtectMachine _assignment;
    private bool _isKept = true; // the assignment, for the next start

    private AgentMachine(ProtectMachine assignment, MachineCapture capture, IReadOnlyList<IDisposable> locks, MachineFolder folder, AgentHost host)
    {
        (_assignment, _capture, _locks, _folder, _host, _opened) = (assignment, capture, locks, folder, host, host.Time.GetTimestamp());
        AddExports();
        _source = host.Hypervisor is null ? null
            : new SourceMachine(host.Hypervisor, host.Socket, [.. assignment.Disks.Select(d => ExportName(d.Name))], folder.StoppedPath, host.Files, host.Time);
        _orders = new CaptureOrders(capture, OrderOf(assignment), () => Clients, host.Time, _source);
        _running = capture.RunAsync(host.Target, _stop.Token);
        _keepingDown = KeepDownAsync(_stop.Token);
        _continuing = ContinueGuestAsync(_stop.Token);
    }

    internal MachineCapture Capture => _capture;
    public string Name => _assignment.Machine;
    public int Epoch => _assignment.Epoch;

    public bool Owns(string path) => _assignment.Disks.Any(d => Path.GetFullPath(d.Path) == Path.GetFullPath(path));

    public bool Lies(DiskFolders folders) => _assignment.Disks.All(d => folders.Hold(d.Path));

    /// <exception cref="AgentProblem">A disk cannot be opened, is in use, or its size is not what was assigned.</exception>
    public static async Task<AgentMachine> OpenAsync(ProtectMachine wanted, MachineFolder folder, AgentHost host)
    {
        CheckSizes(wanted, host);
        var locks = new List<IDisposable>();
        MachineCapture? capture = null;
        AgentMachine? machine = null;
        try
        {
            foreach (var disk in wanted.Disks) locks.Add(host.Take(disk.Path));
            var kept = folder.TryKept();
            // Another protection than the kept one, or an unknown one: its bitmaps say nothing about the new target.
            var isNew = kept is null || ProtectionOf(kept) != ProtectionOf(wanted) || !kept.Disks.SequenceEqual(wanted.Disks);
            capture = await MachineCapture.OpenAsync(new CaptureOptions
            {
                Machine = new MachineId(wanted.Machine), Epoch = new Epoch(wanted.Epoch), StateFolder = folder.Path,
                Disks = [.. wanted.Disks.Select(d => new CaptureDisk(new DiskGeometry((ushort)d.Index, d.Name, host.SizeOf(d.Path)), d.Path))],
                PointInterval = PointIntervalOf(wanted), ResynchronizeAutomatically = wanted.ResynchronizeAutomatically, AsksAfterBoot = true, BeginsAnew = isNew,
                BufferBytes = host.BufferBytes, SequencesReserved = host.SequencesReserved,
            }, host.Files, host.Time);
            if (isNew)
            {
                capture.MarkAllUnsynced();
                folder.ForgetStops();
            }
            var begin = isNew ? wanted with { Synchronize = 0, Paused = false, Drain = false }
                // A drain ends with its epoch.
                : kept! with { Epoch = wanted.Epoch, Drain = kept.Drain && kept.Epoch == wanted.Epoch, PointEverySeconds = wanted.PointEverySeconds, ResynchronizeAutomatically = wanted.ResynchronizeAutomatically };
            folder.Save(begin);
            machine = new AgentMachine(begin, capture, locks, folder, host) { _hadGuest = !isNew };
            await machine.ApplyAsync(wanted);
            return machine;
        }
        catch
        {
            // Its disks must not be served on with their locks gone.
            if (machine is not null) await machine.DisposeAsync().AsTask().ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            else if (capture is not null) await capture.DisposeAsync().AsTask().ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            foreach (var held in locks) held.Dispose();
            throw;
        }
    }

    /// <summary>Whether only a new opening of the capture can make the assignment so.</summary>
    public bool NeedsReopening(ProtectMachine wanted) =>
        wanted.Epoch != _assignment.Epoch || !wanted.Disks.SequenceEqual(_assignment.Disks);

    /// <summary>Before its guest is cut off for one.</summary>
    /// <exception cref="AgentProblem">A disk is not there, or its size is not what was assigned.</exception>
    /// <exception cref="IOException">The folder takes nothing.</exception>
    public void CheckReopening(ProtectMachine wanted)
    {
        CheckSizes(wanted, _host);
        _folder.CheckRoom();
    }

    /// <summary>Another order has overtaken it on the way.</summary>
    public bool IsLate(ProtectMachine wanted) => OrderOf(wanted).IsOlderThan(_orders.Current);

    public async Task ApplyAsync(ProtectMachine wanted)
    {
        if (IsLate(wanted)) return;
        var order = OrderOf(wanted);
        // What was kept, or told at a connection, may have been heard of since: nobody waits for it for certain.
        if (!wanted.Fresh && order.Synchronize == _orders.Current.Synchronize) order = order with { Synchronize = 0 };
        // What is told again bears other ids, and a synchronization that was begun stays begun.
        wanted = wanted with { Id = _assignment.Id, Synchronize = Math.Max(wanted.Synchronize, _assignment.Synchronize) };
        var changed = wanted.Paused != _assignment.Paused || wanted.Synchronize != _assignment.Synchronize || wanted.Drain != _assignment.Drain || wanted.Hold != _assignment.Hold || wanted.Round != _assignment.Round
            || wanted.PointEverySeconds != _assignment.PointEverySeconds || wanted.ResynchronizeAutomatically != _assignment.ResynchronizeAutomatically;
        _capture.Follow(PointIntervalOf(wanted), wanted.ResynchronizeAutomatically);
        await _orders.ApplyAsync(order);
        (_assignment, _isKept) = (wanted, _isKept && !changed);
        if (_isKept) return;
        _folder.Save(wanted);
        _isKept = true;
    }

    /// <summary>This host has booted, and nobody has said yet that the machine is still at home here.</summary>
    public bool IsAsking => _capture.IsAsking;

    public void Answer() => _capture.Answer();

    private static CaptureOrder OrderOf(ProtectMachine wanted) => new(new Epoch(wanted.Epoch), wanted.Round, wanted.Paused, wanted.Synchronize, wanted.Full, wanted.Drain, wanted.Hold) { Stale = [.. wanted.Stale.Chunk(3).Select(r => new DiskRange((ushort)r[0], r[1], r[2]))] };

    private static TimeSpan PointIntervalOf(ProtectMachine wanted) => TimeSpan.FromSeconds(Math.Max(1, wanted.PointEverySeconds));

    private static int ProtectionOf(ProtectMachine wanted) => wanted.Protection == 0 ? wanted.Epoch : wanted.Protection;

    /// <summary>What a fenced machine wrote that may not have reached the target.</summary>
    /// <exception cref="AgentProblem">The machine is not fenced.</exception>
    public (long Newest, StreamPosition Told, IReadOnlyList<DiskRange> Ranges) Tail()
    {
        if (!_capture.IsFenced) throw new AgentProblem($"machine {Name} is not fenced here");
        // Before: whatever they were cleared for has been told.
        var ranges = _capture.NotKnownDurable();
        return (_capture.Status().Newest.Value, _capture.ToldDurable, ranges);
    }

    /// <param name="stopMachine">The machine is stopped by force whenever it has its disks open while the fence stands; the fence does not wait for it. Null: as it was.</param>
    public async Task FenceAsync(int epoch, bool? stopMachine, CancellationToken stop)
    {
        // Before: a process that is killed behind the fence has nobody who tells it again. And a folder that takes no note may take the fence.
        var unnoted = _folder.TryNoteStop(stopMachine);
        await _capture.FenceAsync(new Epoch(epoch), stop);
        if (unnoted is not null) throw new IOException(unnoted.Message, unnoted);
    }

    /// <summary>A host that comes back may start its machine at any time after the fence.</summary>
    private async Task KeepDownAsync(CancellationToken stop)
    {
        if (_source is null) return;
        using var timer = new PeriodicTimer(FencedLook, _host.Time);
        string? said = null;
        while (await timer.WaitForNextTickAsync(stop))
        {
            try
            {
                if (_capture.IsFenced && Clients > 0 && _folder.IsStopFenced) await _source.DestroyAsync(stop);
            }
            // Also what makes no sense of another machine's: it may do so only now.
            catch (Exception refused) when (!stop.IsCancellationRequested)
            {
                if (said != refused.Message) _host.Log.Say($"machine {Name} is fenced and cannot be stopped: {said = refused.Message}; its writes are refused");
            }
        }
    }

    /// <summary>A hypervisor may have stopped the machine for want of its disks, where it knows no waiting; for as long as one that waits would have waited.</summary>
    private async Task ContinueGuestAsync(CancellationToken stop)
    {
        if (_source is null) return;
        using var timer = new PeriodicTimer(PausedLook, _host.Time);
        string? said = null;
        while (await timer.WaitForNextTickAsync(stop) && _hadGuest && _host.Time.GetElapsedTime(_opened) < ConnectingMax)
        {
            try
            {
                if (!_capture.IsFenced)
                    foreach (var continued in await _source.ContinueAsync(stop)) _host.Log.Say($"the machine {continued} had been stopped for want of its disks, and runs again");
            }
            catch (Exception refused) when (!stop.IsCancellationRequested)
            {
                if (said != refused.Message) _host.Log.Say($"whether the machine of {Name} waits for its disks is not known, or it cannot be continued: {said = refused.Message}");
            }
        }
    }

    /// <summary>The point, marked at the newest write; durable at the target a moment later.</summary>
    public async Task<RecoveryPoint> TakePointAsync(string? label, string kind)
    {
        var asked = kind == "application-consistent" ? PointKind.ApplicationConsistent : PointKind.CrashConsistent;
        var sequence = await _capture.TakePointAsync(label ?? "", asked);
        return new RecoveryPoint(_capture.Epoch, sequence, DateTimeOffset.UnixEpoch, asked, label);
    }

    public MachineStatus Status() => CaptureReports.StatusOf(Name, _capture, _orders, Clients,
        [.. _capture.Disks.Select(d => new DiskStatus(d.Geometry.Index, d.Geometry.Name, d.SizeBytes, CaptureUri(d.Geometry.Name), null))]);

    private int Clients => _capture.Disks.Sum(d => _host.Nbd.ConnectionsOf(ExportName(d.Geometry.Name)));

    /// <summary>All or none: what is left of some would serve a capture that is not there any more.</summary>
    private void AddExports()
    {
        var added = new List<string>();
        try
        {
            foreach (var disk in _capture.Disks)
            {
                _host.Exports.Add(new NbdExport(ExportName(disk.Geometry.Name), disk, $"disk {disk.Geometry.Name} of machine {Name}"));
                added.Add(ExportName(disk.Geometry.Name));
            }
        }
        catch
        {
            foreach (var name in added) _host.Exports.Remove(name);
            throw;
        }
    }

    /// <exception cref="AgentProblem">A disk is not there, or its size is not what was assigned.</exception>
    public static void CheckSizes(ProtectMachine wanted, AgentHost host)
    {
        foreach (var disk in wanted.Disks)
            if (host.SizeOf(disk.Path) is var size && disk.SizeBytes > 0 && disk.SizeBytes != size)
                throw new AgentProblem($"the disk {disk.Path} has {size} bytes, but it was protected with {disk.SizeBytes}: give it its former size, or disable protection and protect it anew");
    }

    /// <summary>Those that a guest writes to or, where it may be connecting again at this moment, will.</summary>
    /// <param name="isNoted">A release of them was begun while they were.</param>
    public IReadOnlyList<ReleasedDisk> DisksInUse(Func<ReleasedDisk, bool> isNoted)
    {
        if (_capture.IsFenced) return [];
        var mayConnect = _hadGuest && _host.Time.GetElapsedTime(_opened) < ConnectingMax;
        return [.. _assignment.Disks.Select(d => new ReleasedDisk(ExportName(d.Name), d.Path)).Where(d => mayConnect || isNoted(d) || _host.Nbd.ConnectionsOf(d.ExportName) > 0)];
    }

    /// <summary>A guest was cut off its disks when it was opened, and connects again.</summary>
    public void ExpectGuest() => _hadGuest = true;

    /// <summary>It is, or stands in the way of, a disk of this machine.</summary>
    public bool Concerns(ReleasedDisk disk) => disk.Concerns(_assignment);

    /// <summary>From here on no process finds a protected machine in its folder. Durable when it returns, and before anything of the capture goes: what is left of one whose fence is gone would be served as a source.</summary>
    /// <exception cref="IOException">It has not begun, and the machine is served on.</exception>
    public async Task BeginReleaseAsync()
    {
        await CutGuestsAsync();
        try
        {
            _isKept = false;
            _folder.BeginRelease();
        }
        catch
        {
            AddExports();
            throw;
        }
    }

    /// <summary>Protection ends: nothing is captured any more and the bitmaps go.</summary>
    public async Task ReleaseAsync()
    {
        try
        {
            await DisposeAsync();
        }
        finally
        {
            _folder.EndRelease();
        }
    }

    /// <summary>Before it is opened anew or released. A guest that is connected connects again, to whatever serves the disk then.</summary>
    /// <exception cref="IOException">A disk hangs. The machine is served on, for what is under way must not meet another owner of its disks.</exception>
    public async Task CutGuestsAsync()
    {
        try
        {
            await CloseExportsAsync().WaitAsync(UnderWayMax, _host.Time);
        }
        catch (TimeoutException)
        {
            AddExports();
            throw new IOException($"a request of machine {Name} to its disks has not ended for {UnderWayMax.TotalSeconds:0} s");
        }
    }

    private async Task CloseExportsAsync()
    {
        foreach (var disk in _capture.Disks) _host.Exports.Remove(ExportName(disk.Geometry.Name));
        await Task.WhenAll(_capture.Disks.Select(d => _host.Nbd.CloseConnectionsAsync(ExportName(d.Geometry.Name), CancellationToken.None)));
    }

    public async ValueTask DisposeAsync()
    {
        await CloseExportsAsync();
        await _orders.DisposeAsync();
        await _stop.CancelAsync();
        await _running.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        await _keepingDown.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        await _continuing.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        try
        {
            await _capture.DisposeAsync();
        }
        finally
        {
            // A disk that could not be flushed would be said to be another program's until this one ends.
            foreach (var held in _locks) held.Dispose();
        }
        _stop.Dispose();
    }

    private string ExportName(string disk) => ExportName(Name, disk);

    internal static string ExportName(string machine, string disk) => $"{machine}.{disk}";

    private string CaptureUri(string disk) => $"nbd+unix:///{ExportName(disk)}?socket={_host.Socket}";
}
