using SiteRecovery.DataPlane.Capture;
using SiteRecovery.Domain.ProtectedMachines;
using SiteRecovery.Simulation.World;

namespace SiteRecovery.Simulation.Checkers;

/// <summary>Once nothing is broken any more, and whatever the state asks an operator to do is done, the machine comes to be protected within a bound, with everything at the target.</summary>
internal static class Liveness
{
    internal static readonly TimeSpan Bound = TimeSpan.FromMinutes(5);

    internal static bool IsHome(SimSites sites) => sites.Control.Machine is { Phase: Phase.Protected, Tests.Length: 0, Fence: null, FormerFences.Length: 0 } && SourceOf(sites) is { } source
        && source.Status() is { Complete: true, Mode: CaptureMode.Streaming, DirtyBytes: 0 } status && status.Durable == status.Newest && sites.StoreOfTarget?.ConsistentUpTo?.Sequence == status.Newest;

    internal static void Check(SimSites sites)
    {
        var machine = sites.Control.Machine;
        if (!IsHome(sites))
        {
            throw new SimViolation("liveness", $"{Bound.TotalMinutes} minutes after the faults: {machine?.Phase}, fence {machine?.Fence}, {string.Join("; ", machine?.Problems.Select(p => $"{p.Work}: {p.Reason}") ?? [])}; "
                + $"source {SourceOf(sites)?.Status()}; spool {sites.Relay.Room?.Spool.StatusOf(SimSites.Machine)}; store {sites.StoreOfTarget?.FailedReason}");
        }
        var newest = sites.StoreOfTarget!.ConsistentUpTo!;
        if (sites.Guest.LedgerOf(newest.Epoch)!.FirstDifference(newest.Sequence.Value, SimGuest.Content(SourceOf(sites)!)!) >= 0) throw new SimViolation("liveness", "the source has come to something else than its guest wrote");
    }

    private static MachineCapture? SourceOf(SimSites sites) => sites.Guest.Running().FirstOrDefault(r => r.Host == sites.SourceNow).Capture;
}
