using SiteRecovery.Simulation.World;

namespace SiteRecovery.Simulation.Checkers;

/// <summary>What the master target has acknowledged is there, and after its crash.</summary>
internal static class DurableAck
{
    internal static void Check(SimSites sites)
    {
        if (sites.Target.Receiver is not null && sites.DurableHeard > 0 && (sites.Store?.DurableSequence.Value ?? 0) < sites.DurableHeard)
            throw new SimViolation("durable ack", $"sequence {sites.DurableHeard} was acknowledged, and {sites.Store?.DurableSequence} is there");
    }
}
