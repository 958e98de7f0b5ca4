namespace SiteRecovery.DataPlane.Hypervisors;

/// <summary>
/// A host's machines: what they are, and the life of the replicas among them. Every call may be repeated: a call whose effect is there already
/// succeeds. HYPERVISORS.md says what each implementation reads and defines.
/// </summary>
/// <remarks>Every method throws <see cref="HypervisorException"/> where the host refuses or cannot be reached.</remarks>
public interface IHypervisor : IAsyncDisposable
{
    /// <summary>All machines, running or not, in the order of their names.</summary>
    Task<IReadOnlyList<HypervisorMachine>> ListAsync(CancellationToken stop);

    /// <summary>Null where there is no machine of this name.</summary>
    Task<HypervisorMachine?> FindAsync(string name, CancellationToken stop);

    /// <summary>Makes the machine known without starting it. A stopped replica of the same name is replaced; any other machine of that name is a conflict.</summary>
    Task DefineAsync(MachineDefinition machine, CancellationToken stop);

    /// <summary>Returns when the machine's processors run.</summary>
    Task StartAsync(string name, CancellationToken stop);

    /// <summary>Lets a machine run on that the hypervisor stopped because a disk failed it: full, or its export gone. One that somebody paused stays so, and a stopped one stopped.</summary>
    /// <returns>Whether its processors run.</returns>
    Task<bool> ContinueAsync(string name, CancellationToken stop);

    /// <summary>Presses the machine's power button and waits for the guest to shut down. Nothing is taken from a guest that does not.</summary>
    Task<StopOutcome> ShutDownAsync(string name, TimeSpan patience, CancellationToken stop);

    /// <summary>Pulls the plug: when it returns, no processor of the machine runs and none of its disks is open.</summary>
    Task DestroyAsync(string name, CancellationToken stop);

    /// <summary>Forgets a stopped replica together with its firmware variables. A machine that is no replica is never touched; none at all is fine.</summary>
    Task UndefineAsync(string name, CancellationToken stop);

    /// <summary>Where a person reaches the running machine; empty where it has no console or does not run.</summary>
    Task<IReadOnlyList<MachineConsole>> ConsolesAsync(string name, CancellationToken stop);
}

/// <param name="Definition">As it is on this host, disks and networks included.</param>
public sealed record HypervisorMachine(MachineDefinition Definition, MachineState State)
{
    public string Name => Definition.Name;
}

/// <summary>Unknown: its process lives and does not answer. It counts as running wherever two writers would be possible.</summary>
public enum MachineState { Stopped, Running, Paused, Unknown }

public enum StopOutcome { Stopped, StillRunning }

/// <param name="Kind">"vnc", "spice" or "serial".</param>
/// <param name="Address">"vnc://host:port", "unix:/path of a socket" or "pty:/dev/pts/n"; as seen from the hypervisor's host.</param>
public sealed record MachineConsole(string Kind, string Address);
