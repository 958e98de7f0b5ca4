using SiteRecovery.DataPlane.Storage;
using SiteRecovery.DataPlane.Transport;
using SiteRecovery.Domain.History;

namespace SiteRecovery.DataPlane.Capture;

/// <summary>A capture as the control plane is told of it, whoever holds it.</summary>
public static class CaptureReports
{
    /// <summary>A capture that was fenced while it is not open: whoever has waited for the fence hears of it all the same.</summary>
    /// <param name="problem">Why it is not open.</param>
    public static MachineStatus StatusOfStored(string machine, (Epoch Epoch, bool IsFenced) stored, string folder, string? problem, IFileSystem files) => new()
    {
        Machine = machine, Epoch = stored.Epoch.Value, Fenced = stored.IsFenced, Mode = (stored.IsFenced ? CaptureMode.Fenced : CaptureMode.Tracking).ToString(),
        NewestSequence = MachineCapture.EndStored(folder, files)?.Value ?? 0, Error = problem,
    };

    public static MachineStatus StatusOf(string machine, MachineCapture capture, CaptureOrders orders, int clients, IReadOnlyList<DiskStatus> disks)
    {
        // The order first: what it asks for is begun before it is the current one, so that no status of before is taken for its end.
        var order = orders.Current;
        var (status, drain) = (capture.Status(), orders.Drain);
        return new MachineStatus
        {
            Machine = machine, Epoch = status.Epoch.Value, Mode = status.Mode.ToString(), NewestSequence = status.Newest.Value, DurableSequence = status.Durable.Value,
            DirtyBytes = status.DirtyBytes, NeedsResynchronization = status.ResynchronizationReason is not null && status.Mode != CaptureMode.Synchronizing,
            Reason = status.ResynchronizationReason, BytesDone = status.Progress.BytesDone, BytesTotal = status.Progress.BytesTotal,
            BytesPerSecond = (long)status.Progress.BytesPerSecond, BytesDiffering = status.Progress.BytesSent, BytesShipped = status.BytesShipped, Synchronized = order.SynchronizedBy(status),
            BytesResent = status.BytesResent, Paused = status.Mode == CaptureMode.Paused, Fenced = capture.IsFenced, Error = status.LastError ?? orders.MachineProblem,
            DrainStopped = drain?.Stopped, DrainWaitsFor = drain?.WaitsFor, DrainedHash = drain?.Hash, DrainHeld = drain?.Held == true, DrainLapsed = drain?.Lapsed, Clients = clients, Round = order.Round, Disks = disks,
        };
    }
}
