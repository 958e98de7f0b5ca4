using System.Collections.Immutable;
using SiteRecovery.Domain.History;

namespace SiteRecovery.Actors.MasterTargets;

/// <summary>A question about one machine's store, put to the master target that holds it.</summary>
public interface IForStore
{
    MachineId Machine { get; }
}

/// <summary>Answered with <see cref="RecoveryPoints"/> or <see cref="StoreUnavailable"/>: newest first.</summary>
/// <param name="Kind">Null: any.</param>
public sealed record GetRecoveryPoints(MachineId Machine, DateTimeOffset? From, DateTimeOffset? To, PointKind? Kind, int Skip, int Limit) : IForStore, IClusterMessage;

/// <param name="More">There are older ones.</param>
public sealed record RecoveryPoints(ImmutableArray<RecoveryPoint> Items, bool More) : IClusterMessage;

/// <summary>Answered with <see cref="PointResolved"/> or <see cref="StoreUnavailable"/>.</summary>
public sealed record ResolvePoint(MachineId Machine, PointSelector Selector) : IForStore, IClusterMessage;

/// <param name="Point">Null: the store holds no such point.</param>
public sealed record PointResolved(RecoveryPoint? Point) : IClusterMessage;

/// <summary>The store cannot be asked, and why.</summary>
public sealed record StoreUnavailable(string Reason) : IClusterMessage;
