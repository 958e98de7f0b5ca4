using System.Collections.Concurrent;
using SiteRecovery.DataPlane.Hypervisors;
using SiteRecovery.DataPlane.Hypervisors.Seeds;
using SiteRecovery.DataPlane.Storage;
using SiteRecovery.Domain.History;
using SiteRecovery.Domain.Networks;

namespace SiteRecovery.Actors.MasterTargets;

/// <summary>Where a master target runs the machines of its replicas.</summary>
/// <param name="FailoverNetwork">What a failed-over machine's cards are plugged into; null: nothing. A test's are plugged in nowhere.</param>
public sealed record ReplicaHosting(IHypervisor Hypervisor, string? FailoverNetwork)
{
    /// <summary>The folders of this host that definitions may name files of.</summary>
    public BootFolders Boot { get; init; } = BootFolders.Default;
}

/// <summary>
/// The replica machines of one master target, each on the disks that are served there. What the machine is lies beside its points, so that nothing is asked
/// of the site it came from.
/// </summary>
/// <param name="seeds">Folder of the images that tell guests their addresses.</param>
public sealed class ReplicaHost(ReplicaHosting? hosting, Func<MachineId, string> folderOf, string seeds, IFileSystem files, TimeProvider time) : IAsyncDisposable
{
    private static readonly TimeSpan StartTold = TimeSpan.FromMinutes(1);
    private const string DefinitionFile = "machine.json";
    private readonly ConcurrentDictionary<string, ReplicaShutDown> _shutDown = new(StringComparer.Ordinal);
    private readonly ConcurrentDictionary<string, long> _started = new(StringComparer.Ordinal);
    private readonly ConcurrentDictionary<string, Epoch> _released = new(StringComparer.Ordinal);

    /// <summary>Durable when it returns.</summary>
    public void Keep(MachineId machine, string? definition)
    {
        var path = DefinitionPathOf(machine);
        if (definition is null) return;
        var bytes = System.Text.Encoding.UTF8.GetBytes(definition);
        if (files.TryReadAll(path) is not { } kept || !kept.AsSpan().SequenceEqual(bytes)) files.Replace(path, bytes);
    }

    /// <summary>Where it is kept; no file is there where only disks are known.</summary>
    public string DefinitionPathOf(MachineId machine) => Path.Combine(folderOf(machine), DefinitionFile);

    /// <summary>The machine runs on the disks that are served; repeated, it continues one that its disks had stopped, and leaves one alone that was shut down from inside.</summary>
    /// <param name="exported">What its disks are served as, before the disk's own name.</param>
    /// <param name="disks">Place of the disk in the machine → NBD URI.</param>
    /// <param name="networks">A <see cref="NetworkPlan"/> as JSON. Null: a failed-over machine goes into the network of the settings, a test into none, and addresses stay.</param>
    /// <param name="mustRun">False: whether it runs is its tester's, or it is about to be moved.</param>
    /// <returns>Where it is reached; null where no machine is known, or none is to run here.</returns>
    /// <exception cref="HypervisorException">The host refuses, another machine has the name, or a machine that was started and must run does not any more.</exception>
    public async Task<string?> RunAsync(
        MachineId machine, string name, string exported, ReplicaPurpose purpose, IReadOnlyDictionary<string, string> disks, string? networks, bool mustRun, CancellationToken stop)
    {
        if (hosting is null || files.TryReadAll(DefinitionPathOf(machine)) is not { } kept) return null;
        var source = MachineDefinition.FromJson(kept);
        var found = await FindOwnAsync(hosting, name, exported, stop);
        // One that was shut down for its move stays down, and is started by whoever calls that off.
        if (found is { State: not MachineState.Stopped } || (found is not null && (_started.ContainsKey(name) || _shutDown.ContainsKey(name))))
        {
            await LookAfterAsync(found, mustRun && !_shutDown.ContainsKey(name), stop);
            return await ConsoleAsync(name, stop);
        }
        ThrowIfMisplaced(hosting, name, source);
        var plan = networks is null ? null : NetworkPlan.FromJson(networks);
        var replica = new ReplicaPlan
        {
            Name = name, Purpose = purpose, Disks = disks,
            DisksLeftOut = [.. source.Disks.Where(d => d.Device == DiskDevice.Disk && !disks.ContainsKey(d.Target)).Select(d => d.Target)],
            Networks = plan is not null ? source.Nics.Select(n => n.Network).OfType<string>().Distinct().ToDictionary(n => n, plan.NetworkOf)
                : purpose == ReplicaPurpose.Failover ? new Dictionary<string, string?> { [ReplicaPlan.AnyNetwork] = hosting.FailoverNetwork } : new Dictionary<string, string?>(),
        }.Make(source);
        await hosting.Hypervisor.DefineAsync(plan is null ? replica : WithSeed(source, replica, plan), stop);
        await hosting.Hypervisor.StartAsync(name, stop);
        _started[name] = time.GetTimestamp();
        return await ConsoleAsync(name, stop);
    }

    /// <summary>It runs for as long as its owner lets it, and is started no more. Of one that is served in a later epoch nothing is said.</summary>
    public void Release(string name, Epoch epoch) => _released[name] = epoch;

    /// <summary>It is to be released and does not run: also where a process before this one started it.</summary>
    /// <param name="epoch">In which its disks are served.</param>
    public async Task<bool> StaysStoppedAsync(string name, Epoch epoch, CancellationToken stop) => hosting is not null && _released.TryGetValue(name, out var released) && released >= epoch
        && await hosting.Hypervisor.FindAsync(name, stop) is null or { State: MachineState.Stopped };

    /// <summary>What would keep a failed-over machine from being run here, however often it is tried, is said before its source is given up for it.</summary>
    /// <exception cref="HypervisorException">That, or the hypervisor cannot tell.</exception>
    public async Task CheckAsync(MachineId machine, CancellationToken stop)
    {
        if (hosting is null || files.TryReadAll(DefinitionPathOf(machine)) is not { } kept) return;
        await FindOwnAsync(hosting, machine.Value, exported: machine.Value, stop);
        ThrowIfMisplaced(hosting, machine.Value, MachineDefinition.FromJson(kept));
    }

    /// <summary>Null: there is none.</summary>
    /// <exception cref="HypervisorException">The name is another machine's.</exception>
    private static async Task<HypervisorMachine?> FindOwnAsync(ReplicaHosting hosting, string name, string exported, CancellationToken stop) =>
        await hosting.Hypervisor.FindAsync(name, stop) is { } found ? IsOurs(found, exported) ? found : throw HypervisorException.NotOurs(name) : null;

    /// <summary>It is a replica, and on these disks. Another one of its name, such as the old source that was left on its host, is nobody's to continue, to stop or to take for it.</summary>
    private static bool IsOurs(HypervisorMachine found, string exported) =>
        found.Definition.ReplicaOf is not null && found.Definition.Disks.Any(d => d.ExportName()?.StartsWith(exported + ".", StringComparison.Ordinal) == true);

    /// <summary>Whoever sent it looked only at what it says, if at all.</summary>
    private static void ThrowIfMisplaced(ReplicaHosting hosting, string name, MachineDefinition source)
    {
        if (hosting.Boot.MisplacedHere(source) is { } misplaced)
            throw new HypervisorException(HypervisorProblem.Unfit, $"the machine {name} is not started: {misplaced.What} {misplaced.Why}",
                $"If the machine may read it, add its folder to {BootFolders.Setting} of this node and restart the node; or put the file where it may be, under the name that the definition has");
    }

    /// <summary>One that its guest or a person has stopped stays so; but where it is production, somebody must hear of it.</summary>
    private async Task LookAfterAsync(HypervisorMachine found, bool mustRun, CancellationToken stop)
    {
        var name = found.Name;
        if (found.State == MachineState.Paused && !await hosting!.Hypervisor.ContinueAsync(name, stop) && mustRun)
            throw new HypervisorException(HypervisorProblem.Refused, $"the machine {name} is paused, and not by an error of its disks", $"Continue it with its hypervisor's tools (virsh resume {name})");
        // What was told of its start may have been lost; until it is told again nobody could choose another point for a guest that ends at once.
        if (found.State == MachineState.Stopped && mustRun && StartedAgo(name) >= StartTold)
            throw new HypervisorException(HypervisorProblem.Refused, $"the machine {name} does not run any more: its guest shut it down, or its hypervisor ended",
                $"Start it with its hypervisor's tools (virsh start {name}), or restart this node's service, which starts it");
    }

    /// <summary>How long the machine has run since it was started by this process; null: it was not.</summary>
    public TimeSpan? StartedAgo(string name) => _started.TryGetValue(name, out var at) ? time.GetElapsedTime(at) : null;

    /// <summary>A replica of this name is there, and has disks of this export's.</summary>
    /// <param name="exported">What its disks are served as, before the disk's own name.</param>
    public async Task<bool> IsOnAsync(string name, string exported, CancellationToken stop) =>
        hosting is not null && await hosting.Hypervisor.FindAsync(name, stop) is { } found && IsOurs(found, exported);

    /// <summary>The machine is gone from the host, whatever it was doing.</summary>
    /// <param name="exported">As in <see cref="RunAsync"/>.</param>
    public async Task RemoveAsync(string name, string exported, CancellationToken stop)
    {
        if (hosting is null) return;
        // First: nobody must start it meanwhile.
        if (_shutDown.TryRemove(name, out var shutDown)) await shutDown.DisposeAsync();
        if (await hosting.Hypervisor.FindAsync(name, stop) is { } found && IsOurs(found, exported))
        {
            if (found.State != MachineState.Stopped) await hosting.Hypervisor.DestroyAsync(name, stop);
            await hosting.Hypervisor.UndefineAsync(name, stop);
        }
        if (files.Exists(SeedOf(name))) files.Delete(SeedOf(name));
        _started.TryRemove(name, out _);
    }

    /// <summary>For a planned failover the machine is asked to shut down; when it is called off, what was shut down is started again, or watched for as long as it may still obey.</summary>
    /// <param name="exported">As in <see cref="RunAsync"/>.</param>
    /// <param name="drain">False: its disks take writes. A hypervisor starts no machine on disks that do not.</param>
    /// <exception cref="HypervisorException">The hypervisor cannot tell.</exception>
    /// <exception cref="IOException">What came of it so far: it goes on.</exception>
    public async Task DrainAsync(string name, string exported, bool drain, CancellationToken stop)
    {
        if (hosting is null) return;
        if (_shutDown.TryGetValue(name, out var shutDown) && shutDown.IsOver)
        {
            _shutDown.TryRemove(name, out _);
            await shutDown.DisposeAsync();
            shutDown = null;
        }
        if (!drain)
        {
            if (shutDown is not null) await shutDown.CallOffAsync();
            return;
        }
        if (shutDown is null && await hosting.Hypervisor.FindAsync(name, stop) is { State: not MachineState.Stopped } found && IsOurs(found, exported))
            shutDown = _shutDown[name] = new ReplicaShutDown(hosting.Hypervisor, name, machine => IsOurs(machine, exported), time);
        if (shutDown is not null) await shutDown.PressAsync();
    }

    /// <summary>Its power button was pressed for a planned failover.</summary>
    public bool IsAskedToStop(string name) => _shutDown.TryGetValue(name, out var shutDown) && shutDown.IsAsked;

    /// <summary>Its machines are left as they are.</summary>
    public async ValueTask DisposeAsync()
    {
        foreach (var shutDown in _shutDown.Values) await shutDown.DisposeAsync();
    }

    private MachineDefinition WithSeed(MachineDefinition source, MachineDefinition replica, NetworkPlan plan)
    {
        if (CloudInitSeed.Of(source, replica, plan) is not { } seed) return replica;
        files.CreateDirectory(seeds);
        files.Replace(SeedOf(replica.Name), seed);
        return replica with { Seed = SeedOf(replica.Name) };
    }

    private string SeedOf(string name) => Path.GetFullPath(Path.Combine(seeds, name + ".iso"));

    private async Task<string> ConsoleAsync(string name, CancellationToken stop)
    {
        var consoles = await hosting!.Hypervisor.ConsolesAsync(name, stop);
        return consoles.Count == 0 ? $"machine {name}" : string.Join(", ", consoles.Select(c => $"{c.Kind} {c.Address}"));
    }
}
