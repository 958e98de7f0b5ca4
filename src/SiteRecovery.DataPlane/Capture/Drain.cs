using SiteRecovery.DataPlane.Hypervisors;
using SiteRecovery.Domain.History;

namespace SiteRecovery.DataPlane.Capture;

/// <param name="WaitsFor">What keeps the drain from going on; null where nothing does.</param>
/// <param name="Hash">The root hash of all disks at <paramref name="At"/>, which is durable at the target; null before that.</param>
/// <param name="Held">It stays so until a later order, however long nothing is heard.</param>
/// <param name="Lapsed">Why this drain is over and the machine takes writes again; null: it is not.</param>
/// <param name="Stopped">How the machine was seen not to run any more; null: it was not yet.</param>
public sealed record DrainStatus(string? WaitsFor, Sequence? At, string? Hash, bool Held = false, string? Lapsed = null, string? Stopped = null);

/// <summary>
/// The source's side of a planned failover: freeze, send the rest, hash, and hold. What is only drained goes back to its writes when the order is no longer
/// repeated, for nobody may be left who would tell it to; what is held does not, for the other side may have taken over. The two exclude each other
/// here, at the source, so that it depends on no clock whether both sides write.
/// </summary>
/// <param name="machine">Stopped for the drain and started again after it; null where this host's hypervisor is not known.</param>
/// <param name="isAskedToStop">Whether somebody else has pressed its power button for it.</param>
internal sealed class Drain(MachineCapture capture, Func<int> clients, SourceMachine? machine, Func<bool> isAskedToStop, TimeProvider time) : IAsyncDisposable
{
    /// <summary>Four times the interval in which the order is repeated: one that is late or lost ends nothing.</summary>
    internal static readonly TimeSpan SilenceMax = TimeSpan.FromSeconds(20);
    private static readonly TimeSpan LookEvery = TimeSpan.FromMilliseconds(50), RetryAfter = TimeSpan.FromSeconds(1);
    private static readonly string LapsedReason = $"The source heard nothing for {SilenceMax.TotalSeconds} s and took up its writes again.";
    private readonly SemaphoreSlim _deciding = new(1, 1);
    private CancellationTokenSource? _stop, _stopSteps, _stopStarting;
    private Task _steps = Task.CompletedTask, _listening = Task.CompletedTask, _starting = Task.CompletedTask;
    private long _heardAt;
    private int _round;
    private volatile DrainStatus? _status;

    internal DrainStatus? Status
    {
        get
        {
            var status = _status;
            if (status is not { Hash: not null }) return status;
            return capture.DrainedAt() == status.At ? status with { Held = capture.IsHeld } : status with { At = null, Hash = null };
        }
    }

    private bool IsSilent => time.GetElapsedTime(Interlocked.Read(ref _heardAt)) > SilenceMax;

    /// <summary>The order, for the first time or again.</summary>
    internal async Task GoOnAsync(int round, bool hold)
    {
        if (_stop is not null && round != _round) await StopAsync();
        await _deciding.WaitAsync();
        try
        {
            Interlocked.Exchange(ref _heardAt, time.GetTimestamp());
            if (round <= capture.LapsedRound) Lapsed();
            else if (_stop is null) await StartAsync(round);
            else if (_steps.IsCompleted && _status is not { Hash: not null }) Step(_stop);
            else if (hold && !capture.IsHeld && Status is { Hash: not null }) capture.Hold();
        }
        finally
        {
            _deciding.Release();
        }
    }

    /// <summary>The machine takes writes again, if it did not.</summary>
    /// <param name="round">Of the order that says nothing of a drain. One of before the drain ends nothing: it may be all that was kept over a restart, or that a process server has heard of.</param>
    internal async Task EndAsync(int round)
    {
        if (capture.IsFrozen && round < capture.FrozenRound)
        {
            // Only its silence is counted from here on.
            if (_stop is null) await GoOnAsync(capture.FrozenRound, hold: false);
            return;
        }
        await StopAsync();
        _status = null;
        if (capture.IsFrozen) capture.Unfreeze();
        StartAgain();
    }

    public async ValueTask DisposeAsync()
    {
        await StopAsync();
        await StopStartingAsync();
        _deciding.Dispose();
    }

    private async Task StartAsync(int round)
    {
        await StopStartingAsync();
        (_round, _stop) = (round, new CancellationTokenSource());
        Step(_stop);
        _listening = ListenAsync(_stop.Token);
    }

    /// <summary>Also again: a lapse that could not be saved has ended them, or something that nobody has thought of, and the order still stands.</summary>
    private void Step(CancellationTokenSource stop)
    {
        _stopSteps?.Dispose();
        _stopSteps = CancellationTokenSource.CreateLinkedTokenSource(stop.Token);
        _steps = StepsAsync(_stopSteps.Token);
    }

    private async Task StopAsync()
    {
        if (_stop is null) return;
        await _stop.CancelAsync();
        await _listening.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        await _steps.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        _stopSteps!.Dispose();
        _stop.Dispose();
        (_stop, _stopSteps) = (null, null);
    }

    private async Task StepsAsync(CancellationToken stop)
    {
        // A disk that fails now may do its work in a moment, and nobody else tries again.
        while (!await TryStepsAsync(stop)) await Task.Delay(RetryAfter, time, stop);
    }

    private async Task<bool> TryStepsAsync(CancellationToken stop)
    {
        try
        {
            if (!capture.IsFrozen)
            {
                _status = new DrainStatus("the source's disks are being hashed while the machine runs", null, null);
                await capture.HashAsync(stop);
            }
            // Frozen under a running machine its file systems would break; and what it has not written yet would be lost to it.
            while (!capture.IsFrozen && await RunningAsync(stop) is { } running)
            {
                _status = new DrainStatus(running, null, null);
                await Task.Delay(LookEvery, time, stop);
            }
            var stopped = machine is { WasStoppedByUs: true } || isAskedToStop() ? "the machine was shut down through its hypervisor" : "nobody has the machine's disks open";
            await capture.FreezeAsync(_round, stop);
            _status = new DrainStatus("the last writes are on their way to the target", null, null, Stopped: stopped);
            Sequence? at;
            while ((at = capture.DrainedAt()) is null) await Task.Delay(LookEvery, time, stop);
            _status = new DrainStatus("the source's disks are being hashed", at, null, Stopped: stopped);
            var hash = await Task.Run(() => capture.RootHashAsync(stop), stop);
            _status = new DrainStatus(null, at, hash, Stopped: stopped);
            return true;
        }
        catch (Exception broken) when (broken is IOException or UnauthorizedAccessException or InvalidDataException)
        {
            _status = new DrainStatus($"the source cannot be drained, which is tried again: {broken.Message}", null, null);
            return false;
        }
        finally
        {
            capture.EndHashing();
        }
    }

    /// <summary>What keeps the machine's disks open; null: nothing does.</summary>
    private async Task<string?> RunningAsync(CancellationToken stop)
    {
        if (IsSilent) return "nothing is heard of the order to drain";
        string? unknown = null;
        try
        {
            if (machine is not null && await machine.TryStopAsync(says => _status = new DrainStatus(says, null, null), stop) is { } running) return running;
        }
        catch (HypervisorException silent)
        {
            unknown = $" (its hypervisor does not do it: {silent.Message})";
        }
        if (clients() > 0 && isAskedToStop()) return "the machine's power button was pressed; its guest has not shut down yet";
        return clients() > 0 ? $"the machine still has its disks open: shut it down{unknown}" : null;
    }

    /// <summary>In the background: the machine needs its disks served, which may come only after this.</summary>
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

    private async Task ListenAsync(CancellationToken stop)
    {
        using var timer = new PeriodicTimer(LookEvery, time);
        while (await timer.WaitForNextTickAsync(stop))
            if (HasStopped && IsSilent) await LapseAsync(stop);
    }

    /// <summary>The machine does not run any more, or cannot write, because of this drain.</summary>
    private bool HasStopped => capture.IsFrozen || (machine is { WasStoppedByUs: true } && capture.LapsedRound < _round);

    private void Lapsed()
    {
        _status = new DrainStatus(null, null, null, Lapsed: LapsedReason);
        StartAgain();
    }

    private async Task LapseAsync(CancellationToken stop)
    {
        await _deciding.WaitAsync(stop);
        try
        {
            if (!HasStopped || capture.IsHeld || !IsSilent) return;
            await _stopSteps!.CancelAsync();
            await _steps.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            capture.Unfreeze(_round);
            Lapsed();
        }
        catch (Exception unsaved) when (unsaved is IOException or UnauthorizedAccessException)
        {
            _status = new DrainStatus($"the source cannot take up its writes again: {unsaved.Message}", null, null);
        }
        finally
        {
            _deciding.Release();
        }
    }
}
