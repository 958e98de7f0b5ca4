using SiteRecovery.Domain.ProtectedMachines;
using SiteRecovery.Simulation.World;

namespace SiteRecovery.Simulation.Checkers;

/// <summary>A test failover that was cleaned up has left no trace.</summary>
internal sealed class TestFailovers
{
    private readonly HashSet<string> _seen = [];

    internal void Note(ProtectedMachine state) => _seen.UnionWith(state.Tests.Select(t => t.Id));

    internal void Check(SimMachine machine)
    {
        if (machine.State is not { } state || machine.Sites.Target.Room is not { } room) return;
        foreach (var over in _seen.Where(s => state.Tests.All(t => t.Id != s)))
            if (machine.Sites.Target.Disk.Files(room.LayerFolderOf(machine.Id, $"test-{over}")) is [var left, ..])
                throw new SimViolation("test leaves no trace", $"the test failover {over} was cleaned up, and there is {left}");
    }
}
