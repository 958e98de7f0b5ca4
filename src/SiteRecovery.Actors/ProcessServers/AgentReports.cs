using System.Collections.Immutable;
using SiteRecovery.Actors.ProtectedMachines;
using SiteRecovery.DataPlane.Capture;
using SiteRecovery.DataPlane.Transport;
using SiteRecovery.Domain.History;
using SiteRecovery.Domain.ProtectedMachines;
using SiteRecovery.Domain.Results;

namespace SiteRecovery.Actors.ProcessServers;

/// <summary>Between the control plane's words and the agent's: pure.</summary>
public static class AgentReports
{
    /// <summary>The order for a replica, which needs no telling where its disks are.</summary>
    public static CaptureOrder OrderOf(ReplicateFrom work) => new(work.Epoch, work.Round, work.Paused, work.Synchronize ? work.Round : 0, work.Full, work.Drain, work.Hold)
        { Stale = [.. work.Stale.Select(r => new DiskRange((ushort)r.Disk, r.Offset, r.Length))] };

    public static ProtectMachine OrderOf(ReplicateFrom work, string id) => new()
    {
        Id = id,
        Machine = work.Machine.Value,
        Epoch = work.Epoch.Value,
        Disks = [.. work.Disks.Select(d => new DiskAssignment(d.Index, d.Name, d.Path, d.SizeBytes))],
        PointEverySeconds = (int)work.Policy.CrashConsistentEvery.TotalSeconds,
        Paused = work.Paused,
        Synchronize = work.Synchronize ? work.Round : 0,
        Full = work.Full,
        Stale = [.. work.Stale.SelectMany(r => new[] { r.Disk, r.Offset, r.Length })],
        Round = work.Round,
        Drain = work.Drain,
        Hold = work.Hold,
        Protection = work.Protection.Value,
        ResynchronizeAutomatically = work.Policy.ResynchronizationWindow == Domain.Policies.ResynchronizationWindow.Automatic,
    };

    /// <summary>What an agent's status means for the machine, given what is wanted of it; null: nothing new.</summary>
    public static DataPlaneReport? Of(ReplicateFrom wanted, MachineStatus status)
    {
        if (status.Epoch != wanted.Epoch.Value || status.Fenced) return null;
        var (machine, epoch) = (wanted.Machine, wanted.Epoch);
        if (wanted.Synchronize)
        {
            return status.Synchronized >= wanted.Round
                ? new SynchronizationCompleted(machine, new CommandId($"synchronized:{epoch}:{wanted.Round}"), epoch, wanted.Round, new Sequence(status.DurableSequence), status.BytesTotal, status.BytesDiffering)
                : null;
        }
        if (wanted.Drain)
        {
            // Between two drains the source may have taken writes.
            if (status.Round != wanted.Round) return null;
            if (status.DrainLapsed is { } lapsed) return new DrainLapsed(machine, new CommandId($"lapsed:{epoch}:{wanted.Round}"), epoch, wanted.Round, lapsed);
            if (status.DrainedHash is { } hash)
            {
                var source = new DrainedSource(new Sequence(status.NewestSequence), hash);
                return status.DrainHeld
                    ? new SourceHeld(machine, new CommandId($"held:{epoch}:{wanted.Round}"), epoch, wanted.Round, source)
                    : new SourceDrained(machine, new CommandId($"drained:{epoch}:{wanted.Round}"), epoch, wanted.Round, source, status.DrainStopped);
            }
            return status.DrainWaitsFor is { } waits ? new DrainWaits(machine, new CommandId($"drain:{epoch}:{wanted.Round}"), epoch, wanted.Round, waits, status.DrainStopped) : null;
        }
        // A paused machine's changes are tracked on purpose; whether they are few is seen when it goes on.
        return status.NeedsResynchronization && !wanted.Paused && !status.Paused
            ? new DivergenceReported(machine, new CommandId($"diverged:{epoch}:{wanted.Round}"), epoch, wanted.Round, status.Reason ?? "the agent asks for a resynchronization")
            : null;
    }

    /// <param name="source">The agent's name; null for a replica.</param>
    public static AgentReport MeasurementOf(MachineStatus status, SpoolReport? spool, string? source) => new(
        new MachineId(status.Machine), Connected: true, status.Epoch, status.Mode, new Sequence(status.NewestSequence), new Sequence(status.DurableSequence),
        status.DirtyBytes, status.BytesDone, status.BytesTotal, status.BytesPerSecond, status.BytesShipped, status.BytesResent, status.Fenced,
        status.Reason, status.Error, [.. status.Disks.Select(d => new CapturedDisk(d.Index, d.CaptureUri, d.Error))], spool, Source: source, Clients: status.Clients);
}
