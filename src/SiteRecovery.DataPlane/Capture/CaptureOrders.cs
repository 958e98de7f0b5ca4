using SiteRecovery.DataPlane.Hypervisors;
using SiteRecovery.Domain.History;

namespace SiteRecovery.DataPlane.Capture;

/// <summary>What is wanted of a capture.</summary>
/// <param name="Round">Within an epoch a later order has a higher one, or the same.</param>
/// <param name="Synchronize">A higher number than the last one's asks for a synchronization; the last one's, for what it comes to; 0: none is waited for.</param>
/// <param name="Full">That synchronization compares every block.</param>
/// <param name="Drain">A planned failover: take no write any more, send the rest, then tell the root hash. False again: take writes again.</param>
/// <param name="Hold">Once that is done, take no write even when this order is repeated no more.</param>
public sealed record CaptureOrder(Epoch Epoch, int Round, bool Paused = false, int Synchronize = 0, bool Full = false, bool Drain = false, bool Hold = false)
{
    /// <summary>What that synchronization compares besides: the target has lost it.</summary>
    public IReadOnlyList<DiskRange> Stale { get; init; } = [];

    /// <summary>The highest synchronization that is complete at the target, by a status that was taken after this had become the current order.</summary>
    public int SynchronizedBy(CaptureStatus status) => status.Synchronizing ? Synchronize - 1 : Synchronize;

    public bool IsOlderThan(CaptureOrder other) => Epoch < other.Epoch || (Epoch == other.Epoch && Round < other.Round);
}

/// <summary>Makes a capture what it was last ordered to be. One order at a time.</summary>
public sealed class CaptureOrders : IAsyncDisposable
{
    private readonly MachineCapture _capture;
    private readonly Drain _drain;
    private readonly SourceMachine? _machine;

    /// <param name="order">What it has been already.</param>
    /// <param name="clients">How many have the machine's disks open: a machine that still runs is not drained.</param>
    /// <param name="machine">Stopped for a drain and started again after it; null where this host's hypervisor is not known.</param>
    /// <param name="isAskedToStop">Whether somebody else has pressed the machine's power button for a drain.</param>
    public CaptureOrders(MachineCapture capture, CaptureOrder order, Func<int> clients, TimeProvider time, SourceMachine? machine = null, Func<bool>? isAskedToStop = null) =>
        (_capture, Current, _drain, _machine) = (capture, order, new Drain(capture, clients, machine, isAskedToStop ?? (() => false), time), machine);

    public CaptureOrder Current { get; private set; }

    /// <summary>Why a machine that was stopped for a drain does not run again yet.</summary>
    public string? MachineProblem => _machine?.Problem;

    /// <summary>Null while nothing is drained.</summary>
    public DrainStatus? Drain => _drain.Status;

    /// <returns>True: the order differs from the last one in what a restart must remember. An order that is older than the last is passed over.</returns>
    public async Task<bool> ApplyAsync(CaptureOrder wanted)
    {
        if (wanted.IsOlderThan(Current)) return false;
        // Who has lost the stream behind its end, before that was heard, is waited for all the same.
        var isWaitedFor = wanted.Synchronize > 0 && wanted.Synchronize == Current.Synchronize;
        wanted = wanted with { Synchronize = Math.Max(wanted.Synchronize, Current.Synchronize) };
        // By what the capture itself remembers: it may be left of a protection whose end it was never told.
        if (wanted.Paused && !_capture.IsPaused) _capture.Pause();
        if (!wanted.Paused && _capture.IsPaused) _capture.Resume();
        if (wanted.Synchronize > Current.Synchronize)
        {
            if (wanted.Stale.Count > 0) _capture.MarkUnsynced(wanted.Stale, "the target's store has lost some of it");
            if (wanted.Full) _capture.MarkAllUnsynced("every block is compared, as asked");
            await _capture.StartSynchronizationAsync();
        }
        else if (isWaitedFor && _capture.WaitsToBeAsked) await _capture.StartSynchronizationAsync();
        if (wanted.Drain) await _drain.GoOnAsync(wanted.Round, wanted.Hold);
        else await _drain.EndAsync(wanted.Round);
        var changed = wanted != Current with { Full = wanted.Full, Stale = wanted.Stale };
        Current = wanted;
        return changed;
    }

    public ValueTask DisposeAsync() => _drain.DisposeAsync();
}
