using SiteRecovery.DataPlane.Retention;
using SiteRecovery.Simulation.World;

namespace SiteRecovery.Simulation.Checkers;

/// <summary>What a master target has acknowledged is there, and first of all when it has just come up: later it is sent again.</summary>
internal static class DurableAck
{
    internal static void Check(SimMachine machine, RetentionStore store, string host)
    {
        foreach (var ((epoch, at), sequence) in machine.Guest.DurableHeard)
            if (at == host && epoch > store.CurrentEpoch && sequence > 0 && !machine.Sites.Rot.WasAt(host)) throw new SimViolation("durable ack", $"sequence {sequence} of epoch {epoch} was acknowledged at {host}, whose store stands in epoch {store.CurrentEpoch}");
        if (!machine.Sites.Rot.WasAt(host, store.CurrentEpoch) && machine.Guest.DurableHeard.GetValueOrDefault((store.CurrentEpoch, host)) is > 0 and var heard && store.DurableSequence.Value < heard)
            throw new SimViolation("durable ack", $"sequence {heard} of epoch {store.CurrentEpoch} was acknowledged, and {store.DurableSequence} is there, at {host}");
    }
}
