using System.Runtime.InteropServices;

namespace SiteRecovery.DataPlane.Hypervisors;

/// <summary>The machines of a libvirt host, through libvirt's C library.</summary>
public sealed class LibvirtHypervisor : IHypervisor
{
    private const int StateRunning = 1, StateBlocked = 2, StatePaused = 3, StateShuttingDown = 4, StateShutOff = 5, StateCrashed = 6, StateSuspended = 7, PausedByDisk = 5;
    private static readonly TimeSpan Pause = TimeSpan.FromMilliseconds(200);
    /// <summary>A machine that goes on does first what had failed.</summary>
    private static readonly TimeSpan FailsAgainWithin = TimeSpan.FromMilliseconds(500);
    /// <summary>A guest that is still booting does not hear the button.</summary>
    private static readonly TimeSpan PressAgain = TimeSpan.FromSeconds(10);
    private readonly LibvirtConnection _connection;
    private readonly string? _domainType;
    private readonly TimeProvider _time;

    /// <param name="uri">"qemu:///system", or any other that libvirt's drivers know.</param>
    /// <param name="domainType">What replicas run on: "kvm", "qemu"; null for the best the host offers.</param>
    public LibvirtHypervisor(string uri, TimeProvider time, string? domainType = null) => (_connection, _time, _domainType) = (new LibvirtConnection(uri, time), time, domainType);

    public Task<IReadOnlyList<HypervisorMachine>> ListAsync(CancellationToken stop) => _connection.RunAsync<IReadOnlyList<HypervisorMachine>>(connection =>
    {
        var count = LibvirtLibrary.ListDomains(connection, out var array, 0);
        LibvirtConnection.Check(count, "list its machines");
        var domains = Enumerable.Range(0, count).Select(i => LibvirtHandle.Domain(Marshal.ReadIntPtr(array, i * nint.Size))).ToArray();
        LibvirtLibrary.Free(array);
        try
        {
            // A machine that goes away between the list and the look is not there.
            return [.. domains.Select(TryDescribe).OfType<HypervisorMachine>().OrderBy(m => m.Name, StringComparer.Ordinal)];
        }
        finally
        {
            foreach (var domain in domains) domain.Dispose();
        }
    }, stop);

    public Task<HypervisorMachine?> FindAsync(string name, CancellationToken stop) => _connection.RunAsync(connection =>
    {
        using var domain = LibvirtConnection.TryLookup(connection, name);
        return domain is null ? null : TryDescribe(domain);
    }, stop);

    public Task DefineAsync(MachineDefinition machine, CancellationToken stop) => _connection.RunAsync(connection =>
    {
        using (var before = LibvirtConnection.TryLookup(connection, machine.Name))
        {
            if (before is not null)
            {
                var now = DomainXml.Parse(XmlOf(before));
                if (now.ReplicaOf is null) throw HypervisorException.NotOurs(machine.Name);
                if (StateOf(before) != MachineState.Stopped)
                    return now.ReplicaOf == machine.ReplicaOf && now.Disks.Select(d => d.Source).SequenceEqual(machine.Disks.Select(d => d.Source)) ? true
                        : throw HypervisorException.StillRuns(machine.Name, "defined anew");
                // Another id under the same name would be refused.
                if (now.Id != machine.Id) UndefineDomain(before, machine.Name);
            }
        }
        var host = LibvirtHost.For(LibvirtConnection.Text(LibvirtLibrary.Capabilities(connection), "tell what it can do"), machine.Architecture, _domainType);
        var defined = LibvirtLibrary.Define(connection, DomainXml.Build(machine, host));
        if (defined == 0) throw LibvirtConnection.Failure($"define {machine.Name}");
        LibvirtHandle.Domain(defined).Dispose();
        return true;
    }, stop);

    public Task StartAsync(string name, CancellationToken stop) => OnAsync(name, domain =>
    {
        switch (StateOf(domain))
        {
            case MachineState.Running:
                return;
            case MachineState.Stopped:
                LibvirtConnection.Check(LibvirtLibrary.Start(domain), $"start {name}");
                return;
            default:
                throw new HypervisorException(HypervisorProblem.Refused, $"the machine {name} is paused", "Resume it with its own tools, or destroy it before it is started anew");
        }
    }, stop);

    public async Task<bool> ContinueAsync(string name, CancellationToken stop)
    {
        var (failed, runs) = (false, false);
        await OnAsync(name, domain =>
        {
            Look(domain);
            if (failed) LibvirtConnection.Check(LibvirtLibrary.Resume(domain), $"continue {name}");
        }, stop).ConfigureAwait(false);
        if (!failed) return runs;
        await Task.Delay(FailsAgainWithin, _time, stop).ConfigureAwait(false);
        await OnAsync(name, Look, stop).ConfigureAwait(false);
        return failed ? throw HypervisorException.StopsAgain(name) : runs;

        void Look(LibvirtHandle domain)
        {
            LibvirtConnection.Check(LibvirtLibrary.State(domain, out var state, out var reason, 0), "tell a machine's state");
            (failed, runs) = (state == StatePaused && reason == PausedByDisk, state is StateRunning or StateBlocked);
        }
    }

    public async Task<StopOutcome> ShutDownAsync(string name, TimeSpan patience, CancellationToken stop)
    {
        var started = _time.GetTimestamp();
        for (var presses = 0; ;)
        {
            var state = MachineState.Stopped;
            var press = _time.GetElapsedTime(started) >= PressAgain * presses;
            await OnAsync(name, domain =>
            {
                state = StateOf(domain);
                if (state == MachineState.Stopped || !press) return;
                // It may stop between the two calls.
                if (LibvirtLibrary.ShutDown(domain) < 0 && StateOf(domain) != MachineState.Stopped) throw LibvirtConnection.Failure($"shut {name} down");
            }, stop).ConfigureAwait(false);
            if (state == MachineState.Stopped) return StopOutcome.Stopped;
            if (press) presses++;
            else if (_time.GetElapsedTime(started) >= patience) return StopOutcome.StillRunning;
            await Task.Delay(Pause, _time, stop).ConfigureAwait(false);
        }
    }

    public Task DestroyAsync(string name, CancellationToken stop) => OnAsync(name, domain =>
    {
        if (StateOf(domain) == MachineState.Stopped) return;
        if (LibvirtLibrary.Destroy(domain) < 0)
        {
            var failure = LibvirtConnection.Failure($"destroy {name}");
            if (StateOf(domain) != MachineState.Stopped) throw failure;
        }
    }, stop);

    public Task UndefineAsync(string name, CancellationToken stop) => _connection.RunAsync(connection =>
    {
        using var domain = LibvirtConnection.TryLookup(connection, name);
        if (domain is null) return true;
        if (DomainXml.Parse(XmlOf(domain)).ReplicaOf is null) throw HypervisorException.NotOurs(name);
        if (StateOf(domain) != MachineState.Stopped) throw HypervisorException.StillRuns(name, "undefined");
        UndefineDomain(domain, name);
        return true;
    }, stop);

    public async Task<IReadOnlyList<MachineConsole>> ConsolesAsync(string name, CancellationToken stop)
    {
        IReadOnlyList<MachineConsole> consoles = [];
        await OnAsync(name, domain =>
        {
            if (StateOf(domain) != MachineState.Stopped) consoles = DomainXml.Consoles(LibvirtConnection.Text(LibvirtLibrary.Xml(domain, 0), $"describe {name}"));
        }, stop).ConfigureAwait(false);
        return consoles;
    }

    /// <summary>The machines run on.</summary>
    public ValueTask DisposeAsync()
    {
        _connection.Dispose();
        return ValueTask.CompletedTask;
    }

    private Task OnAsync(string name, Action<LibvirtHandle> calls, CancellationToken stop) => _connection.RunAsync(connection =>
    {
        using var domain = LibvirtConnection.Lookup(connection, name);
        calls(domain);
        return true;
    }, stop);

    private static void UndefineDomain(LibvirtHandle domain, string name)
    {
        const uint all = LibvirtLibrary.UndefineVariables | LibvirtLibrary.UndefineManagedSave | LibvirtLibrary.UndefineSnapshots | LibvirtLibrary.UndefineCheckpoints;
        // Drivers that know no variables or checkpoints refuse the flags for them.
        foreach (var flags in (uint[])[all, LibvirtLibrary.UndefineManagedSave | LibvirtLibrary.UndefineSnapshots])
            if (LibvirtLibrary.Undefine(domain, flags) >= 0) return;
        LibvirtConnection.Check(LibvirtLibrary.Undefine(domain, 0), $"undefine {name}");
    }

    /// <summary>As it will be at its next start, where there is a definition; what does not outlive its run has only what runs.</summary>
    private static string XmlOf(LibvirtHandle domain) => LibvirtLibrary.TakeString(LibvirtLibrary.Xml(domain, LibvirtLibrary.XmlInactive))
        ?? LibvirtConnection.Text(LibvirtLibrary.Xml(domain, 0), "describe a machine");

    private static HypervisorMachine? TryDescribe(LibvirtHandle domain)
    {
        try
        {
            var machine = DomainXml.Parse(XmlOf(domain));
            return new HypervisorMachine(machine with { Disks = [.. machine.Disks.Select(d => d with { SizeBytes = SizeOf(domain, d) })] }, StateOf(domain));
        }
        catch (HypervisorException gone) when (gone.Problem == HypervisorProblem.NoSuchMachine)
        {
            return null;
        }
    }

    private static long? SizeOf(LibvirtHandle domain, MachineDisk disk) =>
        disk.Source is not null && LibvirtLibrary.BlockInfo(domain, disk.Target, out var info, 0) >= 0 && info.CapacityBytes > 0 ? (long)info.CapacityBytes : null;

    private static MachineState StateOf(LibvirtHandle domain)
    {
        LibvirtConnection.Check(LibvirtLibrary.State(domain, out var state, out _, 0), "tell a machine's state");
        return state switch
        {
            StateRunning or StateBlocked or StateShuttingDown => MachineState.Running,
            StatePaused or StateSuspended => MachineState.Paused,
            StateShutOff or StateCrashed => MachineState.Stopped,
            _ => MachineState.Unknown,
        };
    }
}
