using System.Collections.Immutable;
using SiteRecovery.Domain.History;

namespace SiteRecovery.Domain.Placement;

/// <param name="LoadMax">What it can carry; a node that is full takes nothing more.</param>
/// <param name="Draining">It is being emptied: its machines move, and it takes none.</param>
public sealed record PlacementNode(string Name, long LoadMax, bool Draining = false);

/// <param name="Load">Any one measure used for all machines, such as bytes per second; at least 1.</param>
/// <param name="Current">The node that carries it now, if any.</param>
public sealed record PlacementMachine(MachineId Machine, long Load, string? Current = null);

/// <param name="Node">Null: no node has room for it.</param>
public sealed record Assignment(MachineId Machine, string? Node, bool Moved);

/// <summary>
/// Nodes + machines → who carries what. A machine stays where it is for as long as its node is there and not draining,
/// because a move costs a reconnect; the others go, heaviest first, to the node with the smallest share of its capacity used.
/// The same input gives the same answer on every node.
/// </summary>
public static class LeastLoaded
{
    public static ImmutableArray<Assignment> Assign(IReadOnlyCollection<PlacementNode> nodes, IReadOnlyCollection<PlacementMachine> machines)
    {
        var open = nodes.Where(n => !n.Draining && n.LoadMax > 0).OrderBy(n => n.Name, StringComparer.Ordinal).ToArray();
        var used = open.ToDictionary(n => n.Name, _ => 0L, StringComparer.Ordinal);
        var assigned = new Dictionary<MachineId, Assignment>();

        foreach (var machine in machines.Where(m => m.Current is not null && used.ContainsKey(m.Current)))
        {
            used[machine.Current!] += machine.Load;
            assigned[machine.Machine] = new(machine.Machine, machine.Current, Moved: false);
        }
        var homeless = machines.Where(m => !assigned.ContainsKey(m.Machine))
            .OrderByDescending(m => m.Load).ThenBy(m => m.Machine.Value, StringComparer.Ordinal);
        foreach (var machine in homeless)
        {
            var node = open.Where(n => used[n.Name] + machine.Load <= n.LoadMax)
                .MinBy(n => (double)(used[n.Name] + machine.Load) / n.LoadMax);
            if (node is not null) used[node.Name] += machine.Load;
            assigned[machine.Machine] = new(machine.Machine, node?.Name, Moved: node is not null);
        }
        return [.. assigned.Values.OrderBy(a => a.Machine.Value, StringComparer.Ordinal)];
    }
}
