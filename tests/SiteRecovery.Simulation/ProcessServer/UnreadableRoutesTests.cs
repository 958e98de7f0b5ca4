using SiteRecovery.DataPlane.ProcessServer;
using SiteRecovery.Domain.History;
using SiteRecovery.Simulation.World;

namespace SiteRecovery.Simulation.ProcessServer;

/// <summary>One sector must not keep all streams and replicas of a node from starting.</summary>
public sealed class UnreadableRoutesTests
{
    private const string Path = "/node/routes.json";
    private static readonly MachineId Machine = new("db1"), Other = new("db2");
    private static readonly MachineRoute Route = new("host-a", "zstd", "10.0.0.1", 7000, Epoch: 3);
    private readonly SimDisk _disk = new();

    public UnreadableRoutesTests()
    {
        _disk.CreateDirectory("/node");
        new MachineRoutes(Path, _disk).Set(Machine, Route);
    }

    [Fact]
    public void Those_that_can_be_read_a_moment_later_are_there_then()
    {
        _disk.Faults = io => io.Kind == IoKind.Read ? Fault.Error : Fault.None;
        var routes = new MachineRoutes(Path, _disk);
        Assert.Null(routes.Find(Machine));
        Assert.Empty(routes.Machines);
        _disk.Faults = null;
        routes.Set(Other, Route);
        Assert.Equal((Route, Route), (routes.Find(Machine), new MachineRoutes(Path, _disk).Find(Machine)));
    }

    [Fact]
    public void In_the_place_of_those_that_are_lost_the_next_are_kept()
    {
        _disk.Spoil(Path, 0);
        var routes = new MachineRoutes(Path, _disk);
        routes.Set(Other, Route);
        Assert.Equal((null, Route), (routes.Find(Machine), new MachineRoutes(Path, _disk).Find(Other)));
    }
}
