using SiteRecovery.Actors.Configuration;
using SiteRecovery.DataPlane.ProcessServer;
using SiteRecovery.Domain.History;
using SiteRecovery.Domain.Vaults;

namespace SiteRecovery.Actors.ProcessServers;

/// <summary>
/// Of which machines an agent's word is passed on. Whatever is told to a machine makes its actor, which then stays for ever: an agent must not be able to make machines up. A machine is known by an order for this agent or by its route; of any
/// other, such as one that was fenced while another process server had the agent, the configuration is asked whether somebody protects it.
/// </summary>
internal sealed class KnownMachines(AgentName agent, MachineRoutes routes, Action<MachineId> ask, TimeProvider clock)
{
    /// <summary>So many questions at a time, and none twice within this. No host has as many machines that nobody knows of.</summary>
    private const int AskedMax = 256;
    private static readonly TimeSpan AskAgainAfter = TimeSpan.FromSeconds(30);

    private readonly HashSet<MachineId> _known = [];
    private readonly Dictionary<MachineId, long> _asked = [];
    private long _swept;

    /// <summary>There is an order for it.</summary>
    public void Add(MachineId machine) => _known.Add(machine);

    /// <summary>The agent has let go of it.</summary>
    public void Remove(MachineId machine) => _known.Remove(machine);

    public bool Contains(MachineId machine)
    {
        if (_known.Contains(machine) || routes.Find(machine) is { FromNode: false } route && route.Agent == agent.Value) return true;
        if (_asked.Count >= AskedMax && clock.GetElapsedTime(_swept) >= AskAgainAfter) Sweep();
        if (_asked.TryGetValue(machine, out var at) ? clock.GetElapsedTime(at) < AskAgainAfter : _asked.Count >= AskedMax) return false;
        _asked[machine] = clock.GetTimestamp();
        ask(machine);
        return false;
    }

    public void Hear(ListedFound listed)
    {
        if (_asked.Remove(listed.Machine)) _known.Add(listed.Machine);
    }

    private void Sweep()
    {
        _swept = clock.GetTimestamp();
        foreach (var (machine, at) in _asked.ToArray())
            if (clock.GetElapsedTime(at) >= AskAgainAfter) _asked.Remove(machine);
    }
}
