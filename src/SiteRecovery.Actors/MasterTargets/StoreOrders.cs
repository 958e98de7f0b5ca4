using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.DataPlane.Capture;
using SiteRecovery.Domain.History;
using SiteRecovery.Domain.ProtectedMachines;
using SiteRecovery.Domain.Results;

namespace SiteRecovery.Actors.MasterTargets;

/// <summary>Within the node: stream a served replica, by way of a process server or straight to the master target.</summary>
internal sealed record ReplicateReplica(ReplicateFrom Work, string Host, int Port);

/// <summary>Within the node: serve the machine's replica if the process before did.</summary>
internal sealed class ServeAgain
{
    internal static readonly ServeAgain Instance = new();
}

/// <summary>Within the node: tell the tail of a replica that lost to whom has the winning one.</summary>
/// <param name="To">Path of its master target's actor.</param>
internal sealed record TellTail(TakeBackTail Work, string To);

/// <param name="To">Path of the actor that gets the parts.</param>
internal sealed record TailTold(string To, IReadOnlyList<TailFound> Parts);

/// <summary>All of a tail, to be marked at the replica that is served here.</summary>
internal sealed record MarkTail(MachineId Machine, Epoch Epoch, ReplicaSource Replica, Sequence Newest, StreamPosition Told, ToldRanges Ranges);
