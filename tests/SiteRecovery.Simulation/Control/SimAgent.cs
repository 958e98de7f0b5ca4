using SiteRecovery.Agent;
using SiteRecovery.DataPlane.Capture;
using SiteRecovery.DataPlane.Nbd;
using SiteRecovery.DataPlane.Transport;
using SiteRecovery.Domain.History;
using SiteRecovery.Simulation.World;

namespace SiteRecovery.Simulation.Control;

/// <summary>The real agent on a simulated host: its machines and its conversation, without its process's sockets and identity. One life of its process.</summary>
internal sealed class SimAgent : IAgentHome, IAsyncDisposable
{
    private readonly SimSites _sites;
    private readonly CancellationToken _stop;
    private readonly NbdServer _nbd;
    private readonly AgentMachines _machines;
    private readonly AgentConversation _conversation;
    private readonly HashSet<string> _taken = [];
    private Task _running = Task.CompletedTask;

    internal SimAgent(SimSource host, SimSites sites, CancellationToken stop)
    {
        (_sites, _stop, Instance) = (sites, stop, $"{host.Lives}");
        var exports = new NbdExports();
        _nbd = new NbdServer(exports, new NbdServerOptions(), host.Clock);
        var on = new AgentHost("/agent", "/agent/nbd.sock", host.Disk, host.Clock, exports, _nbd, sites.WayOfAgent())
        {
            TakeDisk = path => _taken.Add(path) ? new Taken(() => _taken.Remove(path)) : null, Log = TextWriter.Null, BufferBytes = SimSites.BufferBytes, SequencesReserved = 500,
        };
        _machines = new AgentMachines(on, AgentOptions.AskAfterBootDefault);
        _conversation = new AgentConversation(this, _machines, new HostListing(on, null), on, () => { });
    }

    /// <summary>Of a machine that it serves, with the epoch in which it writes while it is not fenced.</summary>
    internal (Epoch Epoch, MachineCapture Capture)? CaptureOf(MachineId machine) => _machines.Find(machine.Value) is { } served ? (new Epoch(served.Epoch), served.Capture) : null;

    /// <summary>Serves what it served before, then obeys whoever it reaches.</summary>
    internal async Task StartAsync()
    {
        await _machines.StartAsync();
        _running = _conversation.RunAsync(_stop);
    }

    public async ValueTask DisposeAsync()
    {
        await _running.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        await _machines.EndAsync();
        await _nbd.DisposeAsync();
        await _machines.DisposeAsync();
    }

    public string Name => SimSites.Agent.Value;
    public string Instance { get; }
    public bool IsKnown => true;
    public Task LoadAsync(CancellationToken stop) => Task.CompletedTask;
    public Task RefreshAsync(CancellationToken stop) => Task.CompletedTask;
    public async ValueTask<ControlChannel> OpenControlAsync(CancellationToken stop) => new(await _sites.ConnectAgentAsync(stop));

    public void Admit()
    {
        // No other agent has its identity.
    }

    public void Bar()
    {
        // As above.
    }

    private sealed class Taken(Action release) : IDisposable
    {
        public void Dispose() => release();
    }
}
