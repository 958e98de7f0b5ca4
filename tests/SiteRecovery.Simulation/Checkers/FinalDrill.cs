using SiteRecovery.Domain.ProtectedMachines;
using SiteRecovery.Simulation.World;

namespace SiteRecovery.Simulation.Checkers;

/// <summary>When nothing is broken any more a planned failover succeeds: a replica runs, and is what the guest wrote. The end of a run, so that nothing before it is another run for it.</summary>
internal static class FinalDrill
{
    private const int SeedsPerDrill = 4, TriesMax = 2;
    private static readonly TimeSpan Bound = TimeSpan.FromSeconds(60), LookEvery = TimeSpan.FromMilliseconds(500), GuestWrites = TimeSpan.FromSeconds(5);

    internal static bool IsDue(SimSites sites) => sites.Script.Seed % SeedsPerDrill == 2 && !sites.Rot.Was; // what has rotted may be found only then

    internal static async Task RunAsync(SimSites sites)
    {
        // What the database took while it answered with an error is seen only when the machine's actor is up again, and an operator may have to do something about it.
        if (!await sites.WriteOnAsync(GuestWrites)) return;
        foreach (var machine in sites.Machines)
            if (!await UntilAsync(sites, () => Liveness.IsProtected(machine), machine, "the machine is not protected", Liveness.Bound)) return;
        sites.Drills = true;
        foreach (var machine in sites.Machines)
            if (!await FailOverAsync(sites, machine)) return;
    }

    /// <returns>False: an invariant was violated meanwhile.</returns>
    private static async Task<bool> FailOverAsync(SimSites sites, SimMachine machine)
    {
        for (var tries = 1; machine.State is not { Phase: Phase.FailoverCommitPending }; tries++)
        {
            if (tries > TriesMax) throw new SimViolation("liveness", $"a planned failover is rolled back though nothing is broken: {Told(machine)}");
            if (!await UntilAsync(sites, IsProtectedOrMended, machine, "the machine is not protected")) return false;
            machine.Operator.Do(MachineActions.PlannedFailover);
            var hasBegun = false;
            if (!await UntilAsync(sites, IsOver, machine, "a planned failover is not done")) return false;

            // A flush that failed before is seen by a drain, and its policy may leave the rest to an operator.
            bool IsProtectedOrMended()
            {
                if (sites.Script.Asks && machine.State is { Phase: Phase.ResynchronizationRequired }) machine.Operator.Do(MachineActions.Resynchronize);
                return Liveness.IsProtected(machine);
            }

            bool IsOver() => machine.State is { Phase: Phase.FailoverCommitPending } || ((hasBegun |= machine.State is { Phase: Phase.PlannedFailoverInProgress }) && machine.State is not { Phase: Phase.PlannedFailoverInProgress });
        }
        CheckReplica(machine);
        return true;
    }

    private static void CheckReplica(SimMachine machine)
    {
        var point = ((Phase.FailoverCommitPending)machine.State!.Phase).Point;
        if (machine.ReplicaAt(machine.RoomOfTarget) is not { } replica) throw new SimViolation("liveness", "a planned failover is done, and no replica runs");
        if (SimGuest.Content(replica.Capture) is not { } content) throw new SimViolation("liveness", "the replica of a planned failover cannot be read");
        if (machine.Guest.LedgerOf(point.Epoch) is { } ledger && ledger.FirstDifference(ledger.Last, content) is >= 0 and var from)
            throw new SimViolation("prefix", $"the replica of a planned failover at {point.Id} shows other bytes than the guest wrote, from {from} on: {ledger}");
    }

    private static async Task<bool> UntilAsync(SimSites sites, Func<bool> isSo, SimMachine machine, string otherwise, TimeSpan? bound = null)
    {
        for (var deadline = sites.Clock.Elapsed + (bound ?? Bound); !isSo();)
        {
            if (sites.Clock.Elapsed > deadline) throw new SimViolation("liveness", $"{otherwise} in {(bound ?? Bound).TotalSeconds} s though nothing is broken: {Told(machine)}");
            if (!await sites.GoOnAsync(LookEvery)) return false;
        }
        return true;
    }

    private static string Told(SimMachine machine) => $"{machine.State?.Phase}, {string.Join("; ", machine.State?.Problems.Select(p => $"{p.Work}: {p.Reason}") ?? [])}";
}
