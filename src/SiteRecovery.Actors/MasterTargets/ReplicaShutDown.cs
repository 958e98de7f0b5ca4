using SiteRecovery.DataPlane.Hypervisors;

namespace SiteRecovery.Actors.MasterTargets;

/// <summary>
/// A replica's machine that is shut down for a planned failover, and started again where that is called off. Either takes as long as guest and hypervisor take, in the
/// background; what fails is said by the next order, and goes on. One call at a time.
/// </summary>
/// <param name="isOurs">False: another machine has its name by now.</param>
internal sealed class ReplicaShutDown(IHypervisor hypervisor, string name, Func<HypervisorMachine, bool> isOurs, TimeProvider time) : IAsyncDisposable
{
    private static readonly TimeSpan Patience = TimeSpan.FromMinutes(5), LookAgain = TimeSpan.FromSeconds(1);
    /// <summary>A guest may obey the button when nobody wants it to any more.</summary>
    private static readonly TimeSpan LateMax = TimeSpan.FromMinutes(2);
    private CancellationTokenSource _stop = new();
    private Task _working = Task.CompletedTask;
    private bool _isPressed, _isCalledOff;
    private volatile string? _problem;
    private volatile bool _isOver;

    /// <summary>The button was pressed for a failover that is still wanted, and the hypervisor did not refuse.</summary>
    internal bool IsAsked => _isPressed && !_isCalledOff && _problem is null;

    /// <summary>It was called off, and the machine runs: nothing is left of it.</summary>
    internal bool IsOver => _isOver;

    /// <exception cref="IOException">Why it could not be pressed before: it is pressed again.</exception>
    internal async Task PressAsync()
    {
        var before = _isCalledOff ? null : _problem;
        if (_isPressed && !_isCalledOff && before is null) return;
        await StopWorkingAsync();
        (_isPressed, _isCalledOff, _isOver, _problem) = (true, false, false, null);
        var stop = _stop.Token;
        // One that does not stop is left running: the drain waits for its disks to be closed, until its patience ends.
        _working = WorkAsync(() => hypervisor.ShutDownAsync(name, Patience, stop), "cannot be shut down", stop);
        if (before is not null) throw new IOException(before);
    }

    /// <summary>The machine's disks take writes again.</summary>
    /// <exception cref="IOException">Why the machine does not run yet.</exception>
    internal async Task CallOffAsync()
    {
        if (!_isCalledOff)
        {
            // Else it would press on, for minutes, and the guest obey when nobody watches it any more.
            await StopWorkingAsync();
            (_isCalledOff, _problem) = (true, null);
            _working = StartAgainAsync(_stop.Token);
        }
        if (_problem is { } problem) throw new IOException(problem);
    }

    public async ValueTask DisposeAsync()
    {
        await StopWorkingAsync();
        _stop.Dispose();
    }

    private async Task StopWorkingAsync()
    {
        await _stop.CancelAsync();
        await _working.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        _stop.Dispose();
        _stop = new CancellationTokenSource();
    }

    private async Task StartAgainAsync(CancellationToken stop)
    {
        var (begun, isStarted) = (time.GetTimestamp(), false);
        while (!_isOver)
        {
            await WorkAsync(LookAsync, "was shut down for a planned failover that was called off, and cannot be started again yet", stop);
            if (!_isOver) await Task.Delay(LookAgain, time, stop);
        }

        async Task LookAsync()
        {
            var machine = await hypervisor.FindAsync(name, stop) is { } found && isOurs(found) ? found : null;
            if (machine is { State: MachineState.Stopped })
            {
                await hypervisor.StartAsync(name, stop);
                isStarted = true; // over when it is seen to run
            }
            else _isOver = machine is null || (machine.State == MachineState.Running && (isStarted || time.GetElapsedTime(begun) >= LateMax));
        }
    }

    private async Task WorkAsync(Func<Task> work, string whatFails, CancellationToken stop)
    {
        try
        {
            await work();
            _problem = null;
        }
        catch (Exception failed) when (failed is not OperationCanceledException || !stop.IsCancellationRequested)
        {
            // Whatever it is: nobody else would hear of it, nor try again.
            _problem = $"the machine {name} {whatFails}: {failed.Message}";
        }
    }
}
