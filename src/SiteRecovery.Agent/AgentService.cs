using System.Collections.Concurrent;
using System.Net;
using System.Net.Sockets;
using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.DataPlane.Hypervisors;
using SiteRecovery.DataPlane.Nbd;
using SiteRecovery.DataPlane.Storage;
using SiteRecovery.DataPlane.Transport;

namespace SiteRecovery.Agent;

/// <summary>The agent: serves its machines' disks from the first second, and obeys a process server whenever one is reachable.</summary>
public sealed class AgentService : IAsyncDisposable
{
    private static readonly TimeSpan ReconnectDelay = TimeSpan.FromSeconds(1), IdentityDelay = TimeSpan.FromSeconds(5), StatusInterval = TimeSpan.FromMilliseconds(500), PointPatience = TimeSpan.FromSeconds(10), LateDelay = TimeSpan.FromSeconds(2);
    /// <summary>Every status is answered: a process server that has lost its power, or a dead line, does not keep the agent.</summary>
    private static readonly TimeSpan SilenceMax = TimeSpan.FromSeconds(20);
    /// <summary>Three for each range, and what one message of the cluster can carry on.</summary>
    private const int TailNumbersMax = 3 * 1000;
    private readonly FileStream _held;
    private readonly AgentOptions _options;
    private readonly Membership _membership;
    private readonly NbdExports _exports = new();
    private readonly NbdServer _nbd;
    private readonly IHypervisor? _hypervisor;
    private readonly HostListing _listing;
    private readonly ReleasedDisks _released;
    private readonly ChannelClient _target;
    private readonly string _machinesFolder, _socket;
    private readonly TimeProvider _time;
    private readonly Dictionary<string, AgentMachine> _machines = [];
    private readonly SemaphoreSlim _changing = new(1, 1);
    private readonly CancellationTokenSource _ending = new();
    private readonly ConcurrentDictionary<string, string> _late = new(); // machines' folders, and why they are not served
    private readonly Dictionary<string, MachineStatus> _fencedClosed = []; // machines that were fenced while they were not served
    private Task _asking = Task.CompletedTask, _servingLate = Task.CompletedTask;
    private volatile bool _askedLongEnough;
    private string? _saidOfTls;

    private AgentService(AgentOptions options, FileStream held, TimeProvider time)
    {
        (_options, _held, _membership, _time) = (options, held, new Membership(options), time);
        _machinesFolder = Path.Combine(Path.GetFullPath(options.DataFolder), "machines");
        _socket = UnixSocketPath.Checked(Path.Combine(Path.GetFullPath(options.DataFolder), "nbd.sock"));
        _hypervisor = options.OpenHypervisor(time);
        _listing = new HostListing(_hypervisor, options.Hypervisor, _socket, time);
        _nbd = new NbdServer(_exports, new NbdServerOptions(), time);
        _released = new ReleasedDisks(Path.Combine(Path.GetFullPath(options.DataFolder), "released.json"), _exports, _nbd, time);
        _target = new ChannelClient(_membership.ConnectDataAsync, new ChannelOptions { Time = time });
    }

    /// <exception cref="AgentProblem">It belongs nowhere, and has no disks to serve either.</exception>
    public static async Task<AgentService> StartAsync(AgentOptions options, TimeProvider time, CancellationToken stop)
    {
        var agent = new AgentService(options, Hold(options.DataFolder), time);
        try
        {
            await agent.ServeAsync();
            await agent.LoadIdentityAsync(stop);
            agent.ListenOverTls();
            await Console.Out.WriteLineAsync($"agent {agent._membership.Name} of site {agent._membership.Site} serves disks at {agent._socket}");
            return agent;
        }
        catch
        {
            await agent.DisposeAsync();
            throw;
        }
    }

    private async Task ServeAsync()
    {
        // What is damaged of one machine keeps none of the others from being served.
        foreach (var folder in AgentMachine.FoldersIn(_machinesFolder)) await ServeKeptAsync(folder);
        _servingLate = ServeLateAsync(_ending.Token);
        if (_released.Resume() is { } damage) await Console.Error.WriteLineAsync(damage);
        _nbd.Listen(new UnixDomainSocketEndPoint(_socket));
    }

    /// <summary>Storage may come up after us, or fail where a machine is opened anew, and there need be nobody who tells us to look again.</summary>
    private async Task ServeLateAsync(CancellationToken stop)
    {
        using var timer = new PeriodicTimer(LateDelay, _time);
        while (await timer.WaitForNextTickAsync(stop))
            foreach (var folder in _late.Keys) await ServeKeptAsync(folder);
    }

    private async Task ServeKeptAsync(string folder)
    {
        var problem = await TryAsync(() => AgentMachine.KeptIn(folder) is { } kept && !_machines.ContainsKey(kept.Machine) ? ProtectAsync(kept) : Task.CompletedTask);
        if (problem is null) _late.TryRemove(folder, out _);
        else if (_late.GetValueOrDefault(folder) != problem)
            await Console.Error.WriteLineAsync($"machine {Path.GetFileName(folder)} is not served: {_late[folder] = problem}; looked at again every {LateDelay.TotalSeconds:0} s");
    }

    /// <summary>The host was down: a replica of its machines may run elsewhere. A process server says so, or that none does.</summary>
    private void Ask()
    {
        var patience = _options.AskAfterBoot ?? AgentOptions.AskAfterBootDefault;
        var limit = patience == Timeout.InfiniteTimeSpan ? "" : $", {patience.TotalSeconds:0} s at most";
        Console.Error.WriteLine($"this host has booted since its machines were last known to be at home here: their writes wait until a process server says that no replica runs elsewhere{limit}");
        _asking = GiveUpAskingAsync(patience, _ending.Token);
    }

    private async Task GiveUpAskingAsync(TimeSpan patience, CancellationToken stop)
    {
        await Task.Delay(patience, _time, stop);
        var problem = await TryAsync(async () =>
        {
            _askedLongEnough = true;
            foreach (var machine in _machines.Values.Where(m => m.IsAsking))
            {
                machine.Answer();
                await Console.Error.WriteLineAsync($"machine {machine.Name}: nobody has said whether a replica of it runs elsewhere; it takes writes now");
            }
        });
        if (problem is not null) await Console.Error.WriteLineAsync(problem);
    }

    /// <summary>What is wrong with the identity keeps no guest from its disk.</summary>
    private async Task LoadIdentityAsync(CancellationToken stop)
    {
        try
        {
            await _membership.LoadAsync(stop);
        }
        catch (AgentProblem problem) when (_machines.Count > 0 || _released.Any)
        {
            await Console.Error.WriteLineAsync($"{problem.Message}; until then the disks are served, and their changes tracked, without replication");
        }
    }

    /// <summary>Its certificate comes with the identity. A port that is taken keeps no guest of this host from its disk, nor the writes from the target.</summary>
    private void ListenOverTls()
    {
        if (NbdEndpoint is not null || _options.NbdListen is not { } wanted || _membership.ForServer() is not { } tls) return;
        try
        {
            NbdEndpoint = (IPEndPoint)_nbd.Listen(wanted, tls);
        }
        catch (SocketException taken)
        {
            if (_saidOfTls != taken.Message) Console.Error.WriteLine($"disks are not served over TLS at {wanted}: {_saidOfTls = taken.Message}; tried again with the next connection to a process server");
        }
    }

    /// <summary>Where disks are served over TLS; null where they are not.</summary>
    public IPEndPoint? NbdEndpoint { get; private set; }

    /// <summary>Two agents on one folder would take the disks from each other.</summary>
    private static FileStream Hold(string folder)
    {
        RealFileSystem.Instance.CreateDirectory(folder);
        try
        {
            return new FileStream(Path.Combine(folder, "lock"), FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None);
        }
        catch (IOException)
        {
            throw new AgentProblem($"{folder} is in use by another agent: stop it, or give this one a folder of its own with --data");
        }
    }

    /// <summary>Obeys one process server after another until told to stop.</summary>
    public async Task RunAsync(CancellationToken stop)
    {
        string? said = null;
        while (!stop.IsCancellationRequested)
        {
            try
            {
                await _membership.LoadAsync(stop);
                ListenOverTls();
                await using var channel = await ControlChannel.OpenAsync(await _membership.ConnectAsync(stop), null, stop);
                await ObeyAsync(channel, () => said = null, stop);
            }
            // Whatever a process server does to this conversation, the disks are served on.
            catch (Exception error) when (!stop.IsCancellationRequested)
            {
                if (said != error.Message) await Console.Error.WriteLineAsync($"no process server: {said = error.Message}; trying again");
                await _membership.RefreshAsync(stop);
            }
            await Task.Delay(_membership.IsKnown ? ReconnectDelay : IdentityDelay, _time, stop);
        }
    }

    private async Task ObeyAsync(ControlChannel channel, Action admitted, CancellationToken stop)
    {
        using var over = CancellationTokenSource.CreateLinkedTokenSource(stop);
        await channel.SendAsync(new AgentHello(_membership.Name, "0.1.0", await NamesAsync(stop), _membership.Instance), stop);
        var (reporting, listing) = (ReportAsync(channel, over.Token), Task.CompletedTask);
        try
        {
            while (await channel.ReceiveMessageAsync(SilenceMax, _time, stop) is { } message)
            {
                if (message is HelloRefused refused)
                {
                    _membership.Bar();
                    throw new AgentProblem(refused.Reason);
                }
                _membership.Admit();
                admitted();
                if (message is ReportTail tail) await TellTailAsync(channel, tail, stop);
                // No order waits for a hypervisor.
                else if (message is ListMachines list) listing = ListAsync(channel, list, listing, over.Token);
                else if (await AnswerAsync(message, stop) is { } answer) await channel.SendAsync(answer, stop);
            }
        }
        finally
        {
            await over.CancelAsync();
            await reporting.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            await listing.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }
    }

    private async Task ReportAsync(ControlChannel channel, CancellationToken stop)
    {
        using var timer = new PeriodicTimer(StatusInterval, _time);
        string? said = null;
        do
        {
            await _changing.WaitAsync(stop);
            MachineStatus[] machines;
            try
            {
                machines = [.. _machines.Values.Select(m => m.Status()), .. _fencedClosed.Values];
                if (await TidyAsync() is { } problem && problem != said) await Console.Error.WriteLineAsync(said = problem);
            }
            finally
            {
                _changing.Release();
            }
            await channel.SendAsync(new AgentStatus(_time.GetUtcNow(), machines), stop);
        }
        while (await timer.WaitForNextTickAsync(stop));
    }

    /// <summary>A full disk must not end the reports.</summary>
    private async Task<string?> TidyAsync()
    {
        try
        {
            await _released.TidyAsync();
            return null;
        }
        catch (Exception problem) when (problem is IOException or UnauthorizedAccessException)
        {
            return problem.Message;
        }
    }

    private async Task<AgentMessage?> AnswerAsync(AgentMessage message, CancellationToken stop) => message switch
    {
        ProtectMachine protect => new CommandDone(protect.Id, await TryAsync(() => ProtectAsync(protect))),
        FenceMachine fence => new CommandDone(fence.Id, await TryAsync(() => FenceAsync(fence, stop))),
        ReleaseMachine release => new CommandDone(release.Id, await TryAsync(() => ReleaseAsync(release))),
        TakePoint point => await TakePointAsync(point),
        InspectDisk inspect => await InspectAsync(inspect),
        _ => null,
    };

    private async Task TellTailAsync(ControlChannel channel, ReportTail report, CancellationToken stop)
    {
        var (epoch, newest, told, numbers) = (0, 0L, default(StreamPosition), new List<long>());
        var problem = await TryAsync(() => OnMachineAsync(report.Machine, machine =>
        {
            (newest, told, var ranges) = machine.Tail();
            epoch = machine.Epoch;
            foreach (var range in ranges) numbers.AddRange([range.Disk, range.Offset, range.Length]);
            return Task.CompletedTask;
        }));
        if (problem is null)
            foreach (var part in numbers.Chunk(TailNumbersMax).DefaultIfEmpty([])) await channel.SendAsync(new TailRanges(report.Id, report.Machine, epoch, newest, part, told.Incarnation, told.Ordinal), stop);
        await channel.SendAsync(new CommandDone(report.Id, problem), stop);
    }

    /// <summary>One list after the other: whoever asks much does not keep all of the pool's threads waiting.</summary>
    private async Task ListAsync(ControlChannel channel, ListMachines list, Task before, CancellationToken stop)
    {
        await before.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        await _changing.WaitAsync(stop);
        AgentMachine[] machines = [.. _machines.Values];
        _changing.Release();
        await channel.SendAsync(await _listing.AnswerAsync(list, path => machines.FirstOrDefault(m => m.Owns(path))?.Name, stop), stop);
    }

    private async Task<AgentMessage> InspectAsync(InspectDisk inspect)
    {
        long size = 0;
        var problem = await TryAsync(() =>
        {
            RefuseIfTaken(inspect.Path, null);
            size = AgentMachine.SizeOf(inspect.Path);
            if (_released.Has(inspect.Path)) return Task.CompletedTask; // it is this agent that holds it
            using var free = DiskLock.TryTake(inspect.Path) ?? throw InUse(inspect.Path);
            return Task.CompletedTask;
        });
        return new DiskInspected(inspect.Id, inspect.Path, size, problem);
    }

    private async Task<AgentMessage> TakePointAsync(TakePoint take)
    {
        Task<Domain.History.RecoveryPoint>? taking = null;
        var problem = await TryAsync(() => OnMachineAsync(take.Machine, machine =>
        {
            taking = machine.TakePointAsync(take.Label, take.Kind);
            return Task.CompletedTask;
        }));
        if (problem is not null) return new CommandDone(take.Id, problem);
        try
        {
            return new CommandDone(take.Id, Result: (await taking!.WaitAsync(PointPatience, _time)).Id);
        }
        catch (Exception error) when (error is InvalidOperationException or TimeoutException)
        {
            return new CommandDone(take.Id, error.Message);
        }
    }

    /// <summary>A disk belongs to one machine.</summary>
    private void RefuseIfTaken(string path, string? machine)
    {
        var owner = _machines.Values.FirstOrDefault(m => m.Name != machine && m.Owns(path));
        if (owner is not null) throw new AgentProblem($"the disk {path} is already protected as a disk of machine {owner.Name}");
    }

    internal static AgentProblem InUse(string path) =>
        new($"the disk {path} is in use by another program: stop its machine, then let the machine open the disk at the address that protection gives it");

    private async Task ProtectAsync(ProtectMachine wanted)
    {
        foreach (var disk in wanted.Disks) RefuseIfTaken(disk.Path, wanted.Machine);
        if (_machines.TryGetValue(wanted.Machine, out var machine))
        {
            if (machine.IsLate(wanted)) return;
            if (!machine.NeedsReopening(wanted))
            {
                await machine.ApplyAsync(wanted);
                if (wanted.Fresh) machine.Answer();
                return;
            }
            _machines.Remove(wanted.Machine);
        }
        var folder = Path.Combine(_machinesFolder, wanted.Machine);
        try
        {
            if (machine is not null) await machine.DisposeAsync();
            foreach (var disk in wanted.Disks) await _released.LetGoAsync(disk.Path);
            _machines[wanted.Machine] = await AgentMachine.OpenAsync(wanted, folder, _socket, _exports, _nbd, _target, _time, _hypervisor);
            _fencedClosed.Remove(wanted.Machine);
        }
        catch
        {
            _late.TryAdd(folder, ""); // its guest waits for its disks, and whoever told us so may not tell us again
            throw;
        }
        if (wanted.Fresh || _askedLongEnough) _machines[wanted.Machine].Answer();
        // Also one whose disks came up later than its host: its patience has an end too.
        else if (_machines[wanted.Machine].IsAsking && _asking.IsCompleted) Ask();
    }

    /// <summary>A machine that could not be opened is fenced in its folder, for the day when it can.</summary>
    private Task FenceAsync(FenceMachine fence, CancellationToken stop)
    {
        if (_machines.TryGetValue(fence.Machine, out var machine)) return machine.FenceAsync(fence.Epoch, fence.StopMachine, stop);
        _fencedClosed[fence.Machine] = AgentMachine.FenceClosed(fence.Machine, Path.Combine(_machinesFolder, fence.Machine), fence.Epoch, WhyUnserved(fence.Machine));
        return Task.CompletedTask;
    }

    private Task OnMachineAsync(string name, Func<AgentMachine, Task> act) =>
        _machines.TryGetValue(name, out var machine) ? act(machine)
        : throw new AgentProblem(WhyUnserved(name) is { } why ? $"machine {name} is not served: {why}" : $"this agent does not know the machine {name}");

    private string? WhyUnserved(string name) => _late.GetValueOrDefault(Path.Combine(_machinesFolder, name)) is { Length: > 0 } why ? why : null;

    private async Task ReleaseAsync(ReleaseMachine release)
    {
        if (!_machines.TryGetValue(release.Machine, out var machine))
        {
            // One that could not be opened has its folder all the same.
            var folder = Path.Combine(_machinesFolder, release.Machine);
            if (AgentMachine.TryKeptIn(folder)?.Epoch > release.Epoch) return;
            RealFileSystem.Instance.DeleteFolder(folder);
            _fencedClosed.Remove(release.Machine);
            return;
        }
        if (machine.Epoch > release.Epoch) return; // protected anew meanwhile: the order is late
        if (release.Fence) await machine.FenceAsync(release.Epoch, stopMachine: false, CancellationToken.None);
        _machines.Remove(release.Machine);
        var open = machine.DisksInUse();
        try
        {
            await machine.ReleaseAsync();
        }
        finally
        {
            // Whatever could not be written down: their guests must not lose them.
            foreach (var disk in open)
                if (_released.Add(disk) is { } problem) await Console.Error.WriteLineAsync($"{disk.ExportName}: {problem}");
        }
    }

    /// <summary>Runs one change at a time; null, or what went wrong.</summary>
    private async Task<string?> TryAsync(Func<Task> change)
    {
        await _changing.WaitAsync();
        try
        {
            await change();
            return null;
        }
        // Nothing that fails here may end the process: other machines' disks hang on it.
        catch (Exception problem) when (problem is not OperationCanceledException)
        {
            return problem.Message;
        }
        finally
        {
            _changing.Release();
        }
    }

    private async Task<string[]> NamesAsync(CancellationToken stop)
    {
        await _changing.WaitAsync(stop);
        try
        {
            return [.. _machines.Keys];
        }
        finally
        {
            _changing.Release();
        }
    }

    public async ValueTask DisposeAsync()
    {
        await _ending.CancelAsync();
        await _asking.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        await _servingLate.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        _ending.Dispose();
        await _nbd.DisposeAsync();
        foreach (var machine in _machines.Values)
        {
            try
            {
                await machine.DisposeAsync();
            }
            catch (Exception problem) when (problem is IOException or UnauthorizedAccessException)
            {
                // The others end well all the same.
                await Console.Error.WriteLineAsync($"machine {machine.Name} did not end cleanly, and what it wrote last is compared when it is served next: {problem.Message}");
            }
        }
        await _released.DisposeAsync();
        await _target.DisposeAsync();
        if (_hypervisor is not null) await _hypervisor.DisposeAsync();
        _held.Dispose();
        _membership.Dispose();
    }
}
