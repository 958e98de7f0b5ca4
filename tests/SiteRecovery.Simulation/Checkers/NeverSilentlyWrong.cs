using SiteRecovery.DataPlane.Capture;
using SiteRecovery.Simulation.World;

namespace SiteRecovery.Simulation.Checkers;

/// <summary>
/// A source that calls itself complete up to its newest write has that write at the target; and the time that the target's newest position claims, from which the RPO is told, is
/// no later than that of the first write that is not in it.
/// </summary>
internal static class NeverSilentlyWrong
{
    internal static void Check(SimMachine machine)
    {
        if (machine.StoreOfTarget is not { ConsistentUpTo: { } newest } store) return;
        // A source whose target has lost something hears of it when it connects again.
        var mayHaveLost = machine.Sites.Hosts.Any(h => machine.Sites.Rot.WasAt(h.Name, store.CurrentEpoch));
        foreach (var (host, _, capture) in machine.Guest.Running())
        {
            if (capture.Epoch != store.CurrentEpoch || newest.Epoch != capture.Epoch || capture.IsFenced) continue;
            if (!mayHaveLost && capture.Status() is { Complete: true, Mode: CaptureMode.Streaming } status && status.Durable >= status.Newest && newest.Sequence < status.Newest && machine.SourceNow == host)
                throw new SimViolation("never silently wrong", $"{host} says that {status.Newest} is durable, the target shows {newest}");
            if (machine.Sites.ClockAt(host).IsTrue && machine.SourceNow == host && machine.Guest.LedgerOf(newest.Epoch)?.FirstAfter(newest.Sequence.Value) is { } missing && missing.At < newest.At)
                throw new SimViolation("never silently wrong", $"{newest.Id} claims all until {newest.At:O}, and lacks {missing.Sequence} of {missing.At:O}");
        }
    }
}
