using System.Text;
using SiteRecovery.Domain.History;
using SiteRecovery.Domain.ProtectedMachines;

namespace SiteRecovery.Simulation.World;

/// <summary>Which faults were there in which state while which action that is allowed there was taken; or with no action, when they began.</summary>
internal sealed class SimCoverage
{
    private const string NoAction = "-", NoFault = "none", NotVisited = "not visited: ", Never = "never", Visited = " (state, action, fault) visited";
    private static readonly string[] Faults = ["drop", "cut", "mute", "deafen", "lose", "late", "mix", "storm", "crash", "slow", "full", "fail", "tear", "unreadable", "rot", "spoil", "smudge", "wear", "evict", "dark", "stop", "orphan", "forget", "doubt", "jump", "drift"];
    private static readonly RecoveryPoint Any = new(Epoch.First, Sequence.None, DateTimeOffset.UnixEpoch, PointKind.CrashConsistent);
    private static readonly Phase[] Phases =
    [
        new Phase.Unprotected(), new Phase.InitialReplication(), new Phase.Protected(), new Phase.Paused(ResumeTo.Protected), new Phase.ResynchronizationRequired(""), new Phase.Resynchronizing(),
        new Phase.PlannedFailoverInProgress(default), new Phase.UnplannedFailoverInProgress(Any, false), new Phase.UnplannedFailoverInProgress(Any, false, "failed"), new Phase.FailoverCommitPending(Any),
        new Phase.FailedOver(Any), new Phase.ReverseReplicating(),
    ];

    private readonly Dictionary<(string State, string Action, string Fault), int> _visited = [];

    internal void Note(ProtectedMachine? machine, string? action, IEnumerable<string> faults)
    {
        if (machine is null || (action is not null && !Transitions.Of(machine.Phase, action, machine.Circumstances).Allowed)) return;
        foreach (var fault in faults.DefaultIfEmpty(NoFault).Distinct()) Add((machine.Phase.Name, action ?? NoAction, fault), 1);
    }

    internal void Add(SimCoverage other)
    {
        foreach (var (triple, times) in other._visited) Add(triple, times);
    }

    /// <summary>What <see cref="ToString"/> said of some runs, several times: visited is what any of them visited.</summary>
    /// <param name="lines">Of one output or of several, one behind the other; other lines among them are passed over.</param>
    /// <exception cref="FormatException">A line that names a state, an action or a fault that there is not: it is of another version.</exception>
    internal static SimCoverage Said(IEnumerable<string> lines)
    {
        var possible = Possible();
        var (whole, unvisited) = (new SimCoverage(), default(HashSet<(string, string, string)>));
        foreach (var line in lines)
        {
            if (line.EndsWith(Visited, StringComparison.Ordinal))
            {
                End();
                unvisited = [];
            }
            if (!line.StartsWith(NotVisited, StringComparison.Ordinal) || unvisited is null) continue;
            if (line[NotVisited.Length..].Split(": ") is not [var place, var faults] || place.Split(' ') is not [var state, var action]) throw new FormatException(line);
            var missing = faults == Never ? possible.Where(t => t.State == state && t.Action == action).ToArray() : [.. faults.Split(", ").Select(f => (state, action, f))];
            if (missing.Length == 0 || missing.Except(possible).Any()) throw new FormatException($"Of another version: {line}");
            unvisited.UnionWith(missing);
        }
        End();
        return whole;

        void End()
        {
            if (unvisited is not null) foreach (var triple in possible.Where(t => !unvisited.Contains(t))) whole.Add(triple, 1);
        }
    }

    /// <summary>How many of those that can be were visited, and those that were not: one line per state and action.</summary>
    public override string ToString()
    {
        var possible = Possible();
        var text = new StringBuilder();
        foreach (var group in possible.GroupBy(t => (t.State, t.Action)))
        {
            var missing = group.Where(t => !_visited.ContainsKey(t)).Select(t => t.Fault).ToArray();
            if (missing.Length > 0) text.Append($"{NotVisited}{group.Key.State} {group.Key.Action}: {(missing.Length == group.Count() ? Never : string.Join(", ", missing))}\n");
        }
        return text.Insert(0, $"{possible.Count(_visited.ContainsKey)} of {possible.Count}{Visited}\n").ToString();
    }

    private static List<(string State, string Action, string Fault)> Possible() =>
        [.. Phases.SelectMany(phase => MachineActions.All.Where(a => a == MachineActions.TestFailoverCleanup ? TestMayRun(phase) : IsAllowed(phase, a)).Append(NoAction)
            .SelectMany(action => (action == NoAction ? Faults : [NoFault, .. Faults]).Select(fault => (phase.Name, action, fault)))).Distinct()];

    /// <summary>In a phase in which none is begun none runs: what leads there is refused while one does.</summary>
    private static bool TestMayRun(Phase phase) => IsAllowed(phase, MachineActions.TestFailover);

    private static bool IsAllowed(Phase phase, string action) => Transitions.Of(phase, action, new Circumstances(TestRuns: false, FromReplica: false)).Allowed;

    private void Add((string, string, string) triple, int times) => _visited[triple] = _visited.GetValueOrDefault(triple) + times;
}
