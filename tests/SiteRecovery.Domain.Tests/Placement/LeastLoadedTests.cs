using SiteRecovery.Domain.History;
using SiteRecovery.Domain.Placement;

namespace SiteRecovery.Domain.Tests.Placement;

public sealed class LeastLoadedTests
{
    private static PlacementMachine Machine(string name, long load = 10, string? current = null) => new(new MachineId(name), load, current);

    private static string Nodes(IEnumerable<Assignment> assignments) => string.Join(" ", assignments.Select(a => a.Node ?? "none"));

    [Fact]
    public void Machines_spread_by_share_of_capacity() =>
        Assert.Equal(3, LeastLoaded.Assign([new("a", 100), new("b", 300)], [Machine("1"), Machine("2"), Machine("3"), Machine("4")]).Count(a => a.Node == "b"));

    [Fact]
    public void A_placed_machine_stays_and_the_others_fill_up_around_it()
    {
        var placed = LeastLoaded.Assign([new("a", 100), new("b", 100)], [Machine("1", current: "a"), Machine("2", current: "a"), Machine("3")]);
        Assert.Equal("a a b", Nodes(placed));
        Assert.Equal([false, false, true], placed.Select(p => p.Moved));
    }

    [Fact]
    public void Machines_leave_a_node_that_drains_or_is_gone() =>
        Assert.Equal("b b", Nodes(LeastLoaded.Assign([new("a", 100, Draining: true), new("b", 100)], [Machine("1", current: "a"), Machine("2", current: "gone")])));

    [Fact]
    public void A_machine_without_room_is_left_unplaced_rather_than_overloading() =>
        Assert.Equal("a none", Nodes(LeastLoaded.Assign([new("a", 15)], [Machine("1"), Machine("2")])));

    [Fact]
    public void The_order_of_the_input_does_not_matter()
    {
        PlacementNode[] nodes = [new("b", 100), new("a", 100), new("c", 50)];
        PlacementMachine[] machines = [.. Enumerable.Range(0, 12).Select(i => Machine($"m{i}", 1 + i % 5))];
        Assert.Equal(
            LeastLoaded.Assign(nodes, machines).AsEnumerable(),
            LeastLoaded.Assign([.. nodes.Reverse()], [.. machines.Reverse()]).AsEnumerable());
    }
}
