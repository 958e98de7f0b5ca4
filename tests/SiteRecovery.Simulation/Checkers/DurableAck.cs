using SiteRecovery.Simulation.World;

namespace SiteRecovery.Simulation.Checkers;

/// <summary>What the master target has acknowledged is there, also after its crash.</summary>
internal static class DurableAck
{
    internal static void Check(SimSites sites)
    {
        if (sites.StoreOfTarget is { } store && sites.Guest.DurableHeard.GetValueOrDefault((store.CurrentEpoch, sites.RoomOfTarget == sites.Source.Room ? "source" : "target")) is > 0 and var heard && store.DurableSequence.Value < heard)
            throw new SimViolation("durable ack", $"sequence {heard} of epoch {store.CurrentEpoch} was acknowledged, and {store.DurableSequence} is there");
    }
}
