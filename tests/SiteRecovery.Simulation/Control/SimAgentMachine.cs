using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.DataPlane.Capture;
using SiteRecovery.DataPlane.Transport;
using SiteRecovery.Domain.History;
using SiteRecovery.Simulation.World;

namespace SiteRecovery.Simulation.Control;

/// <summary>What the agent does for one machine, as AgentMachine does it, over the real capture, drain and orders, without its hypervisor. One change at a time.</summary>
internal sealed class SimAgentMachine(MachineId machine, SimSource host, SimSites sites, CancellationToken stop)
{
    private readonly string _folder = $"/agent/machines/{machine}", _assignmentPath = $"/agent/machines/{machine}/assignment.json";
    private readonly SimDisk _disk = host.Disk;
    private CaptureOrders? _orders;
    private ProtectMachine? _assignment;
    private bool _isKept;
    private MachineStatus? _fencedClosed;
    private CancellationTokenSource _running = new();
    private bool _askedLongEnough;

    internal MachineCapture? Capture { get; private set; }
    /// <summary>In which it writes while it is not fenced.</summary>
    internal Epoch Epoch => new(_assignment?.Epoch ?? 0);

    internal async Task ServeKeptAsync()
    {
        if (Capture is null && Kept() is { } kept) await ProtectAsync(kept with { Fresh = false });
    }

    private ProtectMachine? Kept() => _disk.TryReadAll(_assignmentPath) is { } bytes ? AgentProtocol.Decode(bytes) as ProtectMachine : null;

    internal async Task EndAsync()
    {
        await _running.CancelAsync();
        if (_orders is not null) await _orders.DisposeAsync();
    }

    /// <summary>Nobody has said that a replica of it runs elsewhere.</summary>
    internal void AskedLongEnough()
    {
        _askedLongEnough = true;
        Capture?.Answer();
    }

    internal MachineStatus? Status() => Capture is { } capture && _orders is { } orders ? CaptureReports.StatusOf(machine.Value, capture, orders, 0, []) : _fencedClosed;

    internal TailRanges TailFor(ReportTail report)
    {
        if (Capture is not { IsFenced: true } fenced) throw new InvalidOperationException("the machine is not fenced here");
        return new TailRanges(report.Id, report.Machine, fenced.Epoch.Value, fenced.Status().Newest.Value, [.. fenced.NotKnownDurable().SelectMany(r => new[] { r.Disk, r.Offset, r.Length })], fenced.ToldDurable.Incarnation, fenced.ToldDurable.Ordinal);
    }

    internal Task FenceAsync(Epoch epoch)
    {
        if (Capture is { } capture) return capture.FenceAsync(epoch, stop);
        if (!_disk.FolderExists(_folder)) throw new InvalidOperationException("nothing is kept of the machine here");
        _fencedClosed = CaptureReports.StatusOfStored(machine.Value, MachineCapture.FenceStored(_folder, epoch, _disk, Kept()?.Disks.Select(d => d.Path) ?? []), _folder, null, _disk);
        return Task.CompletedTask;
    }

    internal async Task ReleaseAsync(ReleaseMachine release)
    {
        // One that could not be opened yet has its folder all the same.
        if ((_assignment ?? Kept()) is { } now && now.Epoch > release.Epoch) return;
        if (release.Fence && Capture is not null) await FenceAsync(new Epoch(release.Epoch));
        if (Capture is not null) await CloseAsync();
        (_assignment, _fencedClosed) = (null, null);
        _disk.DeleteFolder(_folder);
    }

    internal async Task ProtectAsync(ProtectMachine wanted)
    {
        if (_orders is { } orders && _assignment is { } now)
        {
            if (OrderOf(wanted).IsOlderThan(orders.Current)) return;
            if (wanted.Epoch == now.Epoch)
            {
                await ApplyAsync(wanted);
                if (wanted.Fresh) Capture!.Answer();
                return;
            }
            await CloseAsync();
        }
        await OpenAsync(wanted);
        if (wanted.Fresh || _askedLongEnough) Capture!.Answer();
    }

    private async Task OpenAsync(ProtectMachine wanted)
    {
        _disk.CreateDirectory(_folder);
        var kept = Kept();
        var isNew = kept is null || kept.Protection != wanted.Protection;
        var capture = await MachineCapture.OpenAsync(new CaptureOptions
        {
            Machine = machine, Epoch = new Epoch(wanted.Epoch), StateFolder = _folder, BufferBytes = SimSites.BufferBytes, SequencesReserved = 500, AsksAfterBoot = true, BeginsAnew = isNew,
            Disks = [.. wanted.Disks.Select(d => new CaptureDisk(new DiskGeometry((ushort)d.Index, d.Name, SimSource.DiskBytes), d.Path))],
            PointInterval = TimeSpan.FromSeconds(wanted.PointEverySeconds), ResynchronizeAutomatically = wanted.ResynchronizeAutomatically,
        }, _disk, host.Clock);
        if (isNew) capture.MarkAllUnsynced();
        var begin = isNew ? wanted with { Synchronize = 0, Paused = false, Drain = false }
            : kept! with { Epoch = wanted.Epoch, Drain = kept.Drain && kept.Epoch == wanted.Epoch };
        _disk.Replace(_assignmentPath, AgentProtocol.Encode(begin));
        (_assignment, _isKept, _orders, _running) = (begin, true, new CaptureOrders(capture, OrderOf(begin), () => 0, host.Clock), CancellationTokenSource.CreateLinkedTokenSource(stop));
        (Capture, _fencedClosed) = (capture, null);
        _ = capture.RunAsync(sites.WayOfAgent(), _running.Token);
        await ApplyAsync(wanted);
    }

    private async Task ApplyAsync(ProtectMachine wanted)
    {
        var now = _assignment!;
        var order = OrderOf(wanted);
        if (order.IsOlderThan(_orders!.Current)) return;
        if (!wanted.Fresh && order.Synchronize == _orders.Current.Synchronize) order = order with { Synchronize = 0 };
        wanted = wanted with { Id = now.Id, Synchronize = Math.Max(wanted.Synchronize, now.Synchronize) };
        var changed = wanted.Paused != now.Paused || wanted.Synchronize != now.Synchronize || wanted.Drain != now.Drain || wanted.Hold != now.Hold || wanted.Round != now.Round;
        await _orders.ApplyAsync(order);
        (_assignment, _isKept) = (wanted, _isKept && !changed);
        if (_isKept) return;
        _disk.Replace(_assignmentPath, AgentProtocol.Encode(wanted));
        _isKept = true;
    }

    internal async Task CloseAsync()
    {
        if (Capture is not { } capture || _orders is not { } orders) return;
        (Capture, _orders) = (null, null);
        await orders.DisposeAsync();
        await _running.CancelAsync();
        await capture.DisposeAsync();
    }

    private static CaptureOrder OrderOf(ProtectMachine wanted) => new(new Epoch(wanted.Epoch), wanted.Round, wanted.Paused, wanted.Synchronize, wanted.Full, wanted.Drain, wanted.Hold)
        { Stale = [.. wanted.Stale.Chunk(3).Select(r => new DiskRange((ushort)r[0], r[1], r[2]))] };
}
