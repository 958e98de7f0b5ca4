using Akka.Cluster.Sharding;
using SiteRecovery.Domain.ProtectedMachines;

namespace SiteRecovery.Actors.ProtectedMachines;

/// <summary>Which shard owns a machine. The count is for ever: another one would move every machine.</summary>
public sealed class MachineShards(int count = MachineShards.CountDefault) : HashCodeMessageExtractor(count)
{
    public const int CountDefault = 100;

    public override string? EntityId(object message) => (message as IForMachine)?.Machine.Value;
}
