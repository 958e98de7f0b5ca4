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
    internal static bool IsHome(SimMachine machine)
    {
        try
        {
            return IsProtected(machine) || (machine.Sites.Rot.WasAt(machine.SourceNow) && machine.State is { Phase: Phase.Protected or Phase.FailedOver or Phase.ReverseReplicating or Phase.Resynchronizing } state && IsLost(machine, state));
        }
        catch (IOException) when (machine.Sites.Rot.Was)
        {
            return false; // a store that cannot be opened
        }
    }

    private static bool IsLost(SimMachine machine, ProtectedMachine state) =>
        state.Problems.Select(p => p.Reason).Append(SourceOf(machine)?.Status().LastError).Any(r => r is not null && (r.Contains("damaged at offset", StringComparison.Ordinal) || r.Contains("Input/output error", StringComparison.Ordinal)
            // With another site to fail over to, that is what is to be done.
            || (state.Phase is not (Phase.Protected or Phase.Resynchronizing) && r.Contains("cannot be served any more", StringComparison.Ordinal))));

    internal static bool IsProtected(SimMachine machine) => machine.State is { Phase: Phase.Protected, Tests.Length: 0, Fence: null, FormerFences.Length: 0 } && SourceOf(machine) is { } source
        && source.Status() is { Complete: true, Mode: CaptureMode.Streaming, DirtyBytes: 0 } status && status.Durable == status.Newest && machine.StoreOfTarget is { } store && store.ConsistentUpTo?.Sequence == status.Newest
        && !(machine.Sites.Rot.Was && store.DamageOfNewest().Count > 0) && Serves(machine, source);

    /// <summary>Its guest can read and write.</summary>
    private static bool Serves(SimMachine machine, MachineCapture source) =>
        !source.IsFrozen && !source.IsAsking && (machine.Sites.Rot.WasAt(machine.SourceNow) || SimGuest.Content(source) is not null);

    internal static void Check(SimMachine machine)
    {
        var state = machine.State;
        if (!IsHome(machine))
        {
            throw new SimViolation("liveness", $"{Bound.TotalMinutes} minutes after the faults: {state?.Phase}, fence {state?.Fence}, {string.Join("; ", state?.Problems.Select(p => $"{p.Work}: {p.Reason}") ?? [])}; "
                + $"tests {state?.Tests.Length}; source {SourceOf(machine)?.Status()}; spool {string.Join(", ", machine.Sites.Relays.Select(r => r.Room?.Spool.StatusOf(machine.Id)))}; store {StoreOf(machine)}");
        }
        if (!IsProtected(machine)) return;
        var newest = machine.StoreOfTarget!.ConsistentUpTo!;
        // Where it was brought to after the guest's last turn, nothing was ever written.
        if (machine.Guest.LedgerOf(newest.Epoch) is { } ledger && ledger.FirstDifference(newest.Sequence.Value, SimGuest.Content(SourceOf(machine)!)!) >= 0)
            throw new SimViolation("liveness", "the source has come to something else than its guest wrote");
    }

    private static string? StoreOf(SimMachine machine)
    {
        try
        {
            return machine.StoreOfTarget is { } store ? $"up to {store.ConsistentUpTo?.Id}, {store.DamageOfNewest().Count} ranges of it damaged, {store.FailedReason ?? "open"}" : null;
        }
        catch (IOException unopened)
        {
            return unopened.Message;
        }
    }

    private static MachineCapture? SourceOf(SimMachine machine) => machine.Guest.Running().FirstOrDefault(r => r.Host == machine.SourceNow).Capture;
}
