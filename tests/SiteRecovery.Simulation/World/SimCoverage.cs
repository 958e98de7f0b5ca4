using SiteRecovery.Domain.ProtectedMachines;

namespace SiteRecovery.Simulation.World;

/// <summary>Which faults were there in which state while which action that is allowed there was taken; or with no action, when they began.</summary>
internal sealed class SimCoverage
{
    internal const string NoAction = "-", NoFault = "none";
    internal static readonly string[] Faults = [NoFault, "drop", "cut", "mute", "crash", "slow", "full", "fail", "tear", "unreadable", "dark", "jump", "drift"];
    private readonly Dictionary<(string State, string Action, string Fault), int> _visited = [];

    internal IReadOnlyDictionary<(string State, string Action, string Fault), int> Visited => _visited;

    internal void Note(ProtectedMachine? machine, string? action, IEnumerable<string> faults)
    {
        if (machine is null || (action is not null && !Transitions.Of(machine.Phase, action, machine.Circumstances).Allowed)) return;
        foreach (var fault in faults.DefaultIfEmpty(NoFault).Distinct()) Add((machine.Phase.Name, action ?? NoAction, fault), 1);
    }

    internal void Add(SimCoverage other)
    {
        foreach (var (triple, times) in other._visited) Add(triple, times);
    }

    private void Add((string, string, string) triple, int times) => _visited[triple] = _visited.GetValueOrDefault(triple) + times;
}
