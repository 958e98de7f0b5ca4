using SiteRecovery.DataPlane.Hypervisors;
using SiteRecovery.Domain.History;

namespace SiteRecovery.DataPlane.Capture;

/// <summary>What is wanted of a capture.</summary>
/// <param name="Round">Within an epoch a later order has a higher one, or the same.</param>
/// <param name="Synchronize">A higher number than the last one's asks for a synchronization.</param>
/// <param name="Full">That synchronization compares every block.</param>
/// <param name="Drain">A planned failover: take no write any more, send the rest, then tell the root hash. False again: take writes again.</param>
public sealed record CaptureOrder(Epoch Epoch, int Round, bool Paused = false, int Synchronize = 0, bool Full = false, bool Drain = false)
{
    public bool IsOlderThan(CaptureOrder other) => Epoch < other.Epoch || (Epoch == other.Epoch && Round < other.Round);
}

/// <param name="WaitsFor">What keeps the drain from going on; null where nothing does.</param>
/// <param name="Hash">The root hash of all disks at <paramref name="At"/>, which is durable at the target; null before that.</param>
public sealed record DrainStatus(string? WaitsFor, Sequence? At, string? Hash);

/// <summary>Makes a capture what it was last ordered to be. One order at a time.</summary>
/// <param name="order">What it has been already.</param>
/// <param name="clients">How many have the machine's disks open: a machine that still runs is not drained.</param>
/// <param name="machine">Stopped for a drain and started again after it; null where this host's hypervisor is not known.</param>
public sealed class CaptureOrders(MachineCapture capture, CaptureOrder order, Func<int> clients, TimeProvider time, SourceMachine? machine = null) : IAsyncDisposable
{
    private static readonly TimeSpan LookEvery = TimeSpan.FromMilliseconds(50);
    private CancellationTokenSource? _stopDraining;
    private Task _draining = Task.CompletedTask;
    private CancellationTokenSource? _stopStarting;
    private Task _starting = Task.CompletedTask;
    private volatile DrainStatus? _drain;

    public CaptureOrder Current { get; private set; } = order;

    /// <summary>Why a machine that was stopped for a drain does not run again yet.</summary>
    public string? MachineProblem => machine?.Problem;

    /// <summary>Null while nothing is drained.</summary>
    public DrainStatus? Drain => _drain is { Hash: not null } done && capture.DrainedAt() != done.At ? done with { At = null, Hash = null } : _drain;

    /// <returns>True: the order differs from the last one in what a restart must remember. An order that is older than the last is passed over.</returns>
    public async Task<bool> ApplyAsync(CaptureOrder wanted)
    {
        if (wanted.IsOlderThan(Current)) return false;
        wanted = wanted with { Synchronize = Math.Max(wanted.Synchronize, Current.Synchronize) };
        if (wanted.Paused && !Current.Paused) capture.Pause();
        if (!wanted.Paused && Current.Paused) capture.Resume();
        if (wanted.Synchronize > Current.Synchronize)
        {
            if (wanted.Full) capture.MarkAllUnsynced("every block is compared, as asked");
            await capture.StartSynchronizationAsync();
        }
        if (!wanted.Drain)
        {
            await StopDrainingAsync();
            StartAgain();
        }
        else if (_stopDraining is null) await StartDrainingAsync();
        var changed = wanted != Current with { Full = wanted.Full };
        Current = wanted;
        return changed;
    }

    /// <summary>The highest synchronization that is complete at the target.</summary>
    public int SynchronizedOf(CaptureStatus status) => status.Synchronizing ? Current.Synchronize - 1 : Current.Synchronize;

    public async ValueTask DisposeAsync()
    {
        await StopStartingAsync();
        await EndDrainAsync();
    }

    private async Task EndDrainAsync()
    {
        if (_stopDraining is null) return;
        await _stopDraining.CancelAsync();
        await _draining.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        _stopDraining.Dispose();
        (_stopDraining, _drain) = (null, null);
    }

    /// <summary>In the background: the machine needs its disks served, which may come only after this order.</summary>
    private void StartAgain()
    {
        if (machine is not { WasStoppedByUs: true } || !_starting.IsCompleted) return;
        _stopStarting?.Dispose();
        _stopStarting = new CancellationTokenSource();
        _starting = machine.StartAgainAsync(() => !capture.IsFenced, _stopStarting.Token);
    }

    private async Task StopStartingAsync()
    {
        if (_stopStarting is null) return;
        await _stopStarting.CancelAsync();
        await _starting.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        _stopStarting.Dispose();
        _stopStarting = null;
    }

    private async Task StartDrainingAsync()
    {
        await StopStartingAsync();
        _stopDraining = new CancellationTokenSource();
        _draining = DrainAsync(_stopDraining.Token);
    }

    private async Task StopDrainingAsync()
    {
        await EndDrainAsync();
        if (capture.IsFrozen) capture.Unfreeze();
    }

    private async Task DrainAsync(CancellationToken stop)
    {
        using var timer = new PeriodicTimer(LookEvery, time);
        try
        {
            // Frozen under a running machine its file systems would break; and what it has not written yet would be lost to it.
            while (!capture.IsFrozen && await RunningAsync(stop) is { } running)
            {
                _drain = new DrainStatus(running, null, null);
                await timer.WaitForNextTickAsync(stop);
            }
            await capture.FreezeAsync(stop);
            _drain = new DrainStatus("the last writes are on their way to the target", null, null);
            Sequence? at;
            while ((at = capture.DrainedAt()) is null) await timer.WaitForNextTickAsync(stop);
            _drain = new DrainStatus("the source's disks are being hashed", at, null);
            var hash = await Task.Run(() => capture.RootHashAsync(stop), stop);
            _drain = new DrainStatus(null, at, hash);
        }
        catch (Exception broken) when (broken is IOException or UnauthorizedAccessException)
        {
            _drain = new DrainStatus($"the source cannot be drained: {broken.Message}", null, null);
        }
    }

    /// <summary>What keeps the machine's disks open; null: nothing does.</summary>
    private async Task<string?> RunningAsync(CancellationToken stop)
    {
        string? unknown = null;
        try
        {
            if (machine is not null && await machine.TryStopAsync(says => _drain = new DrainStatus(says, null, null), stop) is { } running) return running;
        }
        catch (HypervisorException silent)
        {
            unknown = $" (its hypervisor does not do it: {silent.Message})";
        }
        return clients() > 0 ? $"the machine still has its disks open: shut it down{unknown}" : null;
    }
}
