using SiteRecovery.Agent;
using SiteRecovery.DataPlane.Transport;

namespace SiteRecovery.Simulation.Agents;

/// <summary>Nothing can be kept of where the agent belongs.</summary>
/// <param name="open">The way to a process server; null: none answers.</param>
internal sealed class BareHome(Func<ControlChannel?> open) : IAgentHome
{
    private volatile int _refreshed;

    internal int Refreshed => _refreshed;
    public string Name => "agent-1";
    public string Instance => "1";
    public bool IsKnown => true;
    public Task LoadAsync(CancellationToken stop) => Task.CompletedTask;
    public ValueTask<ControlChannel> OpenControlAsync(CancellationToken stop) => new(open() ?? throw new IOException($"none answers, {_refreshed}"));

    public Task RefreshAsync(CancellationToken stop)
    {
        Interlocked.Increment(ref _refreshed);
        throw new UnauthorizedAccessException("Read-only file system");
    }

    public void Admit()
    {
        // There is no other agent of its identity.
    }

    public void Bar()
    {
        // As above.
    }
}
