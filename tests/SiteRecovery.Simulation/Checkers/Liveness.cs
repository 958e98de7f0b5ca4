using SiteRecovery.DataPlane.Capture;
using SiteRecovery.Domain.ProtectedMachines;
using SiteRecovery.Simulation.World;

namespace SiteRecovery.Simulation.Checkers;

/// <summary>Once nothing is broken any more, and whatever the state asks an operator to do is done, the machine comes to be protected within a bound, with everything at the target.</summary>
internal static class Liveness
{
    internal static readonly TimeSpan Bound = TimeSpan.FromMinutes(5);

    /// <summary>
    /// Or it runs on a replica of which a part is lost, with no other copy that anybody could name: it says so, and waits until its guest has written there anew, or the machine is restored.
    /// </summary>
    internal static bool IsHome(SimSites sites)
    {
        try
        {
            return IsProtected(sites) || (sites.Rot.WasAt(sites.SourceNow) && sites.Control.Machine is { Phase: Phase.FailedOver or Phase.ReverseReplicating or Phase.Resynchronizing } machine && IsLost(sites, machine));
        }
        catch (IOException) when (sites.Rot.Was)
        {
            return false; // a store that cannot be opened
        }
    }

    private static bool IsLost(SimSites sites, ProtectedMachine machine) =>
        machine.Problems.Select(p => p.Reason).Append(SourceOf(sites)?.Status().LastError).Any(r => r is not null && (r.Contains("damaged at offset", StringComparison.Ordinal) || r.Contains("Input/output error", StringComparison.Ordinal)));

    private static bool IsProtected(SimSites sites) => sites.Control.Machine is { Phase: Phase.Protected, Tests.Length: 0, Fence: null, FormerFences.Length: 0 } && SourceOf(sites) is { } source
        && source.Status() is { Complete: true, Mode: CaptureMode.Streaming, DirtyBytes: 0 } status && status.Durable == status.Newest && sites.StoreOfTarget is { } store && store.ConsistentUpTo?.Sequence == status.Newest
        && !(sites.Rot.Was && store.DamageOfNewest().Count > 0);

    internal static void Check(SimSites sites)
    {
        var machine = sites.Control.Machine;
        if (!IsHome(sites))
        {
            throw new SimViolation("liveness", $"{Bound.TotalMinutes} minutes after the faults: {machine?.Phase}, fence {machine?.Fence}, {string.Join("; ", machine?.Problems.Select(p => $"{p.Work}: {p.Reason}") ?? [])}; "
                + $"source {SourceOf(sites)?.Status()}; spool {sites.Relay.Room?.Spool.StatusOf(SimSites.Machine)}; store {StoreOf(sites)}");
        }
        if (!IsProtected(sites)) return;
        var newest = sites.StoreOfTarget!.ConsistentUpTo!;
        if (sites.Guest.LedgerOf(newest.Epoch)!.FirstDifference(newest.Sequence.Value, SimGuest.Content(SourceOf(sites)!)!) >= 0) throw new SimViolation("liveness", "the source has come to something else than its guest wrote");
    }

    private static string? StoreOf(SimSites sites)
    {
        try
        {
            return sites.StoreOfTarget?.FailedReason;
        }
        catch (IOException unopened)
        {
            return unopened.Message;
        }
    }

    private static MachineCapture? SourceOf(SimSites sites) => sites.Guest.Running().FirstOrDefault(r => r.Host == sites.SourceNow).Capture;
}
