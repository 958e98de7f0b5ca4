using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.DataPlane.Capture;
using SiteRecovery.DataPlane.Transport;
using SiteRecovery.Domain.History;
using SiteRecovery.Simulation.World;

namespace SiteRecovery.Simulation.Control;

/// <summary>
/// The agent's conversation and what it keeps, as AgentService and AgentMachine do it, over the real capture, drain and orders: without its sockets, locks and hypervisor. One
/// life of its process.
/// </summary>
internal sealed class SimAgent(SimSource host, SimSites sites, CancellationToken stop)
{
    private const string Folder = "/agent/machines/db1", AssignmentPath = Folder + "/assignment.json";
    private static readonly TimeSpan ReconnectDelay = TimeSpan.FromSeconds(1), StatusInterval = TimeSpan.FromMilliseconds(500), LateDelay = TimeSpan.FromSeconds(2), SilenceMax = TimeSpan.FromSeconds(20), AskAfterBoot = TimeSpan.FromSeconds(60);
    private readonly SimDisk _disk = host.Disk;
    private readonly SemaphoreSlim _changing = new(1, 1);
    private CaptureOrders? _orders;
    private ProtectMachine? _assignment;
    private MachineStatus? _fencedClosed;
    private CancellationTokenSource _running = new();
    private bool _askedLongEnough;

    internal MachineCapture? Capture { get; private set; }
    /// <summary>In which it writes while it is not fenced.</summary>
    internal Epoch Epoch => new(_assignment?.Epoch ?? 0);

    /// <summary>Serves what it served before, then obeys whoever it reaches.</summary>
    internal async Task StartAsync()
    {
        await TryAsync(ServeKeptAsync);
        _ = AnswerLaterAsync();
        _ = ServeLateAsync();
        _ = RunAsync();
    }

    private async Task ServeLateAsync()
    {
        using var timer = new PeriodicTimer(LateDelay, host.Clock);
        while (await timer.WaitForNextTickAsync(stop)) await TryAsync(ServeKeptAsync);
    }

    private async Task ServeKeptAsync()
    {
        if (Capture is null && _disk.TryReadAll(AssignmentPath) is { } kept) await ProtectAsync((ProtectMachine)AgentProtocol.Decode(kept) with { Fresh = false });
    }

    internal async Task EndAsync()
    {
        await _running.CancelAsync();
        if (_orders is not null) await _orders.DisposeAsync();
    }

    private async Task AnswerLaterAsync()
    {
        await Task.Delay(AskAfterBoot, sites.Clock, stop);
        _askedLongEnough = true;
        await TryAsync(() =>
        {
            Capture?.Answer();
            return Task.CompletedTask;
        });
    }

    private async Task RunAsync()
    {
        for (; !stop.IsCancellationRequested; await Task.Delay(ReconnectDelay, sites.Clock, stop))
        {
            try
            {
                await using var channel = new ControlChannel(await sites.ConnectAgentAsync(stop));
                await ObeyAsync(channel);
            }
            catch (Exception) when (!stop.IsCancellationRequested)
            {
                // Whatever happens to this conversation, the disks are served on.
            }
        }
    }

    private async Task ObeyAsync(ControlChannel channel)
    {
        using var over = CancellationTokenSource.CreateLinkedTokenSource(stop);
        await channel.SendAsync(new AgentHello(SimSites.Agent.Value, "0.1.0", [SimSites.Machine.Value], $"{host.Lives}"), stop);
        var reporting = ReportAsync(channel, over.Token);
        try
        {
            while (await channel.ReceiveMessageAsync(SilenceMax, host.Clock, stop) is { } message)
                await AnswerAsync(channel, message);
        }
        finally
        {
            await over.CancelAsync();
            await reporting.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }
    }

    private async Task ReportAsync(ControlChannel channel, CancellationToken over)
    {
        using var timer = new PeriodicTimer(StatusInterval, host.Clock);
        do
        {
            await _changing.WaitAsync(over);
            MachineStatus[] machines = Capture is { } capture && _orders is { } orders ? [CaptureReports.StatusOf(SimSites.Machine.Value, capture, orders, 0, [])] : _fencedClosed is { } closed ? [closed] : [];
            _changing.Release();
            await channel.SendAsync(new AgentStatus(host.Clock.GetUtcNow(), machines), over);
        }
        while (await timer.WaitForNextTickAsync(over));
    }

    private async Task AnswerAsync(ControlChannel channel, AgentMessage message)
    {
        if (message is ReportTail tail) await TellTailAsync(channel, tail);
        else if (message is ProtectMachine protect) await channel.SendAsync(new CommandDone(protect.Id, await TryAsync(() => ProtectAsync(protect))), stop);
        else if (message is ReleaseMachine release) await channel.SendAsync(new CommandDone(release.Id, await TryAsync(() => ReleaseAsync(release))), stop);
        else if (message is FenceMachine fence) await channel.SendAsync(new CommandDone(fence.Id, await TryAsync(() => FenceAsync(new Epoch(fence.Epoch)))), stop);
    }

    private async Task TellTailAsync(ControlChannel channel, ReportTail report)
    {
        var (newest, numbers) = (0L, new List<long>());
        var problem = await TryAsync(() =>
        {
            if (Capture is not { IsFenced: true } fenced) throw new InvalidOperationException("the machine is not fenced here");
            newest = fenced.Status().Newest.Value;
            foreach (var range in fenced.NotKnownDurable()) numbers.AddRange([range.Disk, range.Offset, range.Length]);
            return Task.CompletedTask;
        });
        if (problem is null) await channel.SendAsync(new TailRanges(report.Id, report.Machine, Capture!.Epoch.Value, newest, numbers), stop);
        await channel.SendAsync(new CommandDone(report.Id, problem), stop);
    }

    private Task FenceAsync(Epoch epoch)
    {
        if (Capture is { } capture) return capture.FenceAsync(epoch, stop);
        if (!_disk.FolderExists(Folder)) throw new InvalidOperationException("nothing is kept of the machine here");
        _fencedClosed = CaptureReports.StatusOfStored(SimSites.Machine.Value, MachineCapture.FenceStored(Folder, epoch, _disk), Folder, null, _disk);
        return Task.CompletedTask;
    }

    private async Task ReleaseAsync(ReleaseMachine release)
    {
        if (_assignment is { } now && now.Epoch > release.Epoch) return;
        if (Capture is not null) await CloseAsync();
        (_assignment, _fencedClosed) = (null, null);
        _disk.DeleteFolder(Folder);
    }

    private async Task ProtectAsync(ProtectMachine wanted)
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
        _disk.CreateDirectory(Folder);
        var kept = _disk.TryReadAll(AssignmentPath) is { } bytes ? AgentProtocol.Decode(bytes) as ProtectMachine : null;
        var isNew = kept is null || kept.Protection != wanted.Protection;
        var capture = await MachineCapture.OpenAsync(new CaptureOptions
        {
            Machine = SimSites.Machine, Epoch = new Epoch(wanted.Epoch), StateFolder = Folder, BufferBytes = 1 << 20, SequencesReserved = 500, AsksAfterBoot = true,
            Disks = [.. wanted.Disks.Select(d => new CaptureDisk(new DiskGeometry((ushort)d.Index, d.Name, SimSource.DiskBytes), d.Path))],
            PointInterval = TimeSpan.FromSeconds(wanted.PointEverySeconds), ResynchronizeAutomatically = wanted.ResynchronizeAutomatically,
        }, _disk, host.Clock);
        if (isNew) capture.MarkAllUnsynced();
        var begin = isNew ? wanted with { Synchronize = 0, Paused = false, Drain = false }
            : kept! with { Epoch = wanted.Epoch, Drain = kept.Drain && kept.Epoch == wanted.Epoch };
        _disk.Replace(AssignmentPath, AgentProtocol.Encode(begin));
        (_assignment, _orders, _running) = (begin, new CaptureOrders(capture, OrderOf(begin), () => 0, host.Clock), CancellationTokenSource.CreateLinkedTokenSource(stop));
        (Capture, _fencedClosed) = (capture, null);
        _ = capture.RunAsync(sites.FromAgent, _running.Token);
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
        _assignment = wanted;
        if (changed) _disk.Replace(AssignmentPath, AgentProtocol.Encode(wanted));
    }

    private async Task CloseAsync()
    {
        var (capture, orders) = (Capture!, _orders!);
        (Capture, _orders) = (null, null);
        await orders.DisposeAsync();
        await _running.CancelAsync();
        await capture.DisposeAsync();
    }

    private static CaptureOrder OrderOf(ProtectMachine wanted) => new(new Epoch(wanted.Epoch), wanted.Round, wanted.Paused, wanted.Synchronize, wanted.Full, wanted.Drain, wanted.Hold)
        { Stale = [.. wanted.Stale.Chunk(3).Select(r => new DiskRange((ushort)r[0], r[1], r[2]))] };

    /// <summary>One change at a time; null, or what went wrong.</summary>
    private async Task<string?> TryAsync(Func<Task> change)
    {
        await _changing.WaitAsync(stop);
        try
        {
            await change();
            return null;
        }
        catch (Exception problem) when (problem is not OperationCanceledException)
        {
            return problem.Message;
        }
        finally
        {
            _changing.Release();
        }
    }
}
