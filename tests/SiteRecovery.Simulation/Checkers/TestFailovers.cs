using SiteRecovery.Domain.ProtectedMachines;
using SiteRecovery.Simulation.World;

namespace SiteRecovery.Simulation.Checkers;

/// <summary>A test failover that was cleaned up has left no trace.</summary>
internal sealed class TestFailovers
{
    private readonly HashSet<string> _seen = [];

    internal void Note(ProtectedMachine machine) => _seen.UnionWith(machine.Tests.Select(t => t.Id));

    internal void Check(SimSites sites)
    {
        if (sites.Control.Machine is not { } machine || sites.Target.Room is not { } room) return;
        foreach (var over in _seen.Where(s => machine.Tests.All(t => t.Id != s)))
            if (sites.Target.Disk.Files(room.LayerFolderOf(SimSites.Machine, $"test-{over}")) is [var left, ..])
                throw new SimViolation("test leaves no trace", $"the test failover {over} was cleaned up, and there is {left}");
    }
}
