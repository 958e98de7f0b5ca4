using System.Collections.Concurrent;
using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.DataPlane.Capture;
using SiteRecovery.DataPlane.Transport;

namespace SiteRecovery.Agent;

/// <summary>
/// The machines of an agent: served from its first second, and whatever it is told of them. One change at a time; nothing that fails here may end the process, for other machines' disks hang on it.
/// </summary>
public sealed class AgentMachines : IAsyncDisposable
{
    private static readonly TimeSpan PointPatience = TimeSpan.FromSeconds(10), LateDelay = TimeSpan.FromSeconds(2);
    private readonly AgentHost _host;
    private readonly TimeSpan _askAfterBoot;
    private readonly ReleasedDisks _released;
    private readonly Dictionary<string, AgentMachine> _machines = [];
    private readonly SemaphoreSlim _changing = new(1, 1);
    private readonly CancellationTokenSource _ending = new();
    private readonly ConcurrentDictionary<string, string> _late = new(); // machines' folders, and why they are not served
    private readonly Dictionary<string, MachineStatus> _fencedClosed = []; // machines that were fenced while they were not served
    private Task _asking = Task.CompletedTask, _servingLate = Task.CompletedTask;
    private volatile bool _askedLongEnough;
    private string? _saidOfReleased;

    /// <param name="askAfterBoot">For how long writes wait after a boot of this host until somebody says that no replica of the machine runs elsewhere; infinite: for ever.</param>
    public AgentMachines(AgentHost host, TimeSpan askAfterBoot) => (_host, _askAfterBoot, _released) = (host, askAfterBoot, new ReleasedDisks(host));

    /// <summary>There is a disk that somebody may wait for.</summary>
    public bool ServeAny => _machines.Count > 0 || _released.Any;

    /// <summary>Null where it is not served.</summary>
    internal AgentMachine? Find(string machine) => _machines.GetValueOrDefault(machine);

    /// <summary>Serves what was served before.</summary>
    public async Task StartAsync()
    {
        // What is damaged of one machine keeps none of the others from being served.
        foreach (var folder in _host.Files.Folders(_host.MachinesFolder)) await ServeKeptAsync(folder);
        await ServeReleasedAsync();
        _servingLate = ServeLateAsync(_ending.Token);
    }

    /// <summary>For people alone, and where a disk's storage hangs it takes for ever: nothing waits for it.</summary>
    public Task SayWhatLiesElsewhereAsync()
    {
        if (_host.DiskFolders is not { } folders) return Task.CompletedTask;
        var served = _machines.Values.ToArray();
        return Task.Run(() =>
        {
            foreach (var machine in served.Where(m => !m.Lies(folders)))
                _host.Log.Say($"machine {machine.Name} was protected with a disk outside of {folders}: it is served as before");
        });
    }

    /// <summary>Storage may come up after us, or fail where a machine is opened anew, and there need be nobody who tells us to look again.</summary>
    private async Task ServeLateAsync(CancellationToken stop)
    {
        using var timer = new PeriodicTimer(LateDelay, _host.Time);
        while (await timer.WaitForNextTickAsync(stop))
        {
            foreach (var folder in _late.Keys.Order(StringComparer.Ordinal)) await ServeKeptAsync(folder);
            if (!_released.IsResumed || _released.AnyUnserved) await ServeReleasedAsync();
        }
    }

    private async Task ServeReleasedAsync()
    {
        string? damage = null;
        var problem = await TryAsync(() =>
        {
            if (!_released.IsResumed) damage = _released.Resume(IsProtected);
            else _released.ServeNoted(IsProtected);
            return Task.CompletedTask;
        });
        if (problem is not null) problem = $"disks whose protection has ended are not served: {problem}; looked at again every {LateDelay.TotalSeconds:0} s";
        if ((problem ?? damage) is { } said && said != _saidOfReleased) _host.Log.Say(_saidOfReleased = said);
    }

    private async Task ServeKeptAsync(string folder)
    {
        var problem = await TryAsync(() => InFolder(folder).Kept() is { } kept && !_machines.ContainsKey(kept.Machine) ? ProtectAsync(kept) : Task.CompletedTask);
        if (problem is null) _late.TryRemove(folder, out _);
        else if (_late.GetValueOrDefault(folder) != problem)
            _host.Log.Say($"machine {Path.GetFileName(folder)} is not served: {_late[folder] = problem}; looked at again every {LateDelay.TotalSeconds:0} s");
    }

    /// <summary>The host was down: a replica of its machines may run elsewhere. A process server says so, or that none does.</summary>
    private void Ask()
    {
        var limit = _askAfterBoot == Timeout.InfiniteTimeSpan ? "" : $", {_askAfterBoot.TotalSeconds:0} s at most";
        _host.Log.Say($"this host has booted since its machines were last known to be at home here: their writes wait until a process server says that no replica runs elsewhere{limit}");
        _asking = GiveUpAskingAsync(_ending.Token);
    }

    private async Task GiveUpAskingAsync(CancellationToken stop)
    {
        await Task.Delay(_askAfterBoot, _host.Time, stop);
        _askedLongEnough = true;
        var problem = await TryAsync(() =>
        {
            foreach (var machine in _machines.Values.Where(m => m.IsAsking)) GiveUpAsking(machine);
            return Task.CompletedTask;
        });
        if (problem is not null) _host.Log.Say(problem);
    }

    private void GiveUpAsking(AgentMachine machine)
    {
        try
        {
            machine.Answer();
            _host.Log.Say($"machine {machine.Name}: nobody has said whether a replica of it runs elsewhere; it takes writes now");
        }
        // The others' writes wait, too.
        catch (Exception unsaved) when (unsaved is IOException or UnauthorizedAccessException)
        {
            _host.Log.Say($"machine {machine.Name}: nobody has said whether a replica of it runs elsewhere; it takes writes now, and asks again when this agent is started anew: {unsaved.Message}");
        }
    }

    /// <summary>What is to be said of each machine now.</summary>
    /// <param name="problem">What was in the way of tidying up; a full disk must not end the reports.</param>
    internal async Task<(MachineStatus[] Machines, string? Problem)> StatusAsync(CancellationToken stop)
    {
        await _changing.WaitAsync(stop);
        try
        {
            MachineStatus[] machines = [.. _machines.Values.Select(m => m.Status()), .. _fencedClosed.Values];
            return (machines, await TidyAsync());
        }
        finally
        {
            _changing.Release();
        }
    }

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

    /// <summary>Carries out a command; null: it is none.</summary>
    internal async Task<AgentMessage?> AnswerAsync(AgentMessage message, CancellationToken stop) => message switch
    {
        ProtectMachine protect => new CommandDone(protect.Id, await TryAsync(() => ProtectAsync(protect))),
        FenceMachine fence => new CommandDone(fence.Id, await TryAsync(() => FenceAsync(fence, stop))),
        ReleaseMachine release => new CommandDone(release.Id, await TryAsync(() => ReleaseAsync(release))),
        TakePoint point => await TakePointAsync(point, stop),
        InspectDisk inspect => await InspectAsync(inspect),
        _ => null,
    };

    /// <summary>What a fenced machine wrote that may not have reached the target.</summary>
    internal async Task<(string? Problem, int Epoch, long Newest, StreamPosition Told, IReadOnlyList<DiskRange> Ranges)> TailOfAsync(string name)
    {
        var (epoch, newest, told, ranges) = (0, 0L, default(StreamPosition), (IReadOnlyList<DiskRange>)[]);
        var problem = await TryAsync(() => OnMachineAsync(name, machine =>
        {
            (newest, told, ranges) = machine.Tail();
            epoch = machine.Epoch;
            return Task.CompletedTask;
        }));
        return (problem, epoch, newest, told, ranges);
    }

    /// <summary>Who has which disk, as of now.</summary>
    internal async Task<Func<string, string?>> OwnersAsync(CancellationToken stop)
    {
        await _changing.WaitAsync(stop);
        AgentMachine[] machines = [.. _machines.Values];
        _changing.Release();
        return path => machines.FirstOrDefault(m => m.Owns(path))?.Name;
    }

    internal async Task<string[]> NamesAsync(CancellationToken stop)
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

    private async Task<AgentMessage> InspectAsync(InspectDisk inspect)
    {
        long size = 0;
        var problem = await TryAsync(() =>
        {
            _host.CheckPlace(inspect.Path);
            RefuseIfTaken(inspect.Path, null);
            size = _host.SizeOf(inspect.Path);
            if (_released.Has(inspect.Path)) return Task.CompletedTask; // it is this agent that holds it, and it was protected as raw
            _host.CheckRaw(inspect.Path);
            using var free = _host.Take(inspect.Path);
            return Task.CompletedTask;
        });
        return new DiskInspected(inspect.Id, inspect.Path, size, problem);
    }

    private async Task<AgentMessage> TakePointAsync(TakePoint take, CancellationToken stop)
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
            return new CommandDone(take.Id, Result: (await taking!.WaitAsync(PointPatience, _host.Time, stop)).Id);
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

    /// <summary>What is protected already stays so, wherever it lies: its guest needs it. An order that is repeated asks no disk, for one that hangs would hold all others up.</summary>
    private void CheckPlaces(ProtectMachine wanted)
    {
        if (_host.DiskFolders is null) return;
        _machines.TryGetValue(wanted.Machine, out var served);
        DiskAssignment[] others = [.. wanted.Disks.Where(d => served?.Owns(d.Path) != true)];
        if (others.Length == 0) return;
        var folder = FolderOf(wanted.Machine);
        var kept = folder.TryKept();
        // Of an assignment that is damaged nobody knows which disks it had.
        if (kept is null && folder.IsKept) return;
        foreach (var disk in others.Where(d => kept?.Disks.Any(k => k.Path == d.Path) != true)) _host.CheckPlace(disk.Path);
    }

    private async Task ProtectAsync(ProtectMachine wanted)
    {
        foreach (var disk in wanted.Disks) RefuseIfTaken(disk.Path, wanted.Machine);
        CheckPlaces(wanted);
        if (_machines.TryGetValue(wanted.Machine, out var machine))
        {
            if (machine.IsLate(wanted)) return;
            if (!machine.NeedsReopening(wanted))
            {
                await machine.ApplyAsync(wanted);
                if (wanted.Fresh) machine.Answer();
                return;
            }
            // What can be known before cuts nobody off.
            machine.CheckReopening(wanted);
            await machine.CutGuestsAsync();
            _machines.Remove(wanted.Machine);
        }
        var folder = FolderOf(wanted.Machine);
        ReleasedDisk[] released = [.. wanted.Disks.SelectMany(d => _released.Of(d.Path))];
        try
        {
            if (machine is not null) await machine.DisposeAsync();
            AgentMachine.CheckSizes(wanted, _host);
            foreach (var disk in released) await _released.LetGoAsync(disk);
            _machines[wanted.Machine] = await AgentMachine.OpenAsync(wanted, folder, _host);
            _fencedClosed.Remove(wanted.Machine);
        }
        catch
        {
            _late.TryAdd(folder.Path, ""); // its guest waits for its disks, and whoever told us so may not tell us again
            _released.ServeNoted(IsProtected);
            throw;
        }
        if (released.Length > 0) _machines[wanted.Machine].ExpectGuest();
        // Where it fails, the next process sees that they are protected.
        if (_released.TryForget(_machines[wanted.Machine].Concerns) is { } unsaved) _host.Log.Say(unsaved);
        if (wanted.Fresh || _askedLongEnough) _machines[wanted.Machine].Answer();
        // Also one whose disks came up later than its host: its patience has an end too.
        else if (_machines[wanted.Machine].IsAsking && _asking.IsCompleted) Ask();
    }

    /// <summary>A machine that could not be opened is fenced in its folder, for the day when it can.</summary>
    private Task FenceAsync(FenceMachine fence, CancellationToken stop)
    {
        if (_machines.TryGetValue(fence.Machine, out var machine)) return machine.FenceAsync(fence.Epoch, fence.StopMachine, stop);
        _fencedClosed[fence.Machine] = FenceClosed(fence.Machine, fence.Epoch, fence.StopMachine);
        return Task.CompletedTask;
    }

    private MachineStatus FenceClosed(string machine, int epoch, bool? stopMachine)
    {
        var folder = FolderOf(machine);
        var disks = folder.Concerns();
        try
        {
            return folder.Fence(epoch, stopMachine, WhyUnserved(machine), _host);
        }
        finally
        {
            // Also where it is refused: they must not come back as nobody's when the folder goes.
            if (_released.TryForget(disks) is { } unsaved) _host.Log.Say(unsaved);
        }
    }

    private Task OnMachineAsync(string name, Func<AgentMachine, Task> act) =>
        _machines.TryGetValue(name, out var machine) ? act(machine)
        : throw new AgentProblem(WhyUnserved(name) is { } why ? $"machine {name} is not served: {why}" : $"this agent does not know the machine {name}");

    private MachineFolder FolderOf(string machine) => InFolder(Path.Combine(_host.MachinesFolder, machine));

    private MachineFolder InFolder(string path) => new(path, _host.Files);

    private string? WhyUnserved(string name) => _late.GetValueOrDefault(FolderOf(name).Path) is { Length: > 0 } why ? why : null;

    private async Task ReleaseAsync(ReleaseMachine release)
    {
        if (!_machines.TryGetValue(release.Machine, out var machine))
        {
            // One that could not be opened has its folder all the same.
            var folder = FolderOf(release.Machine);
            if (folder.TryKept()?.Epoch > release.Epoch) return;
            // Of one that is gone nobody knows any more whether it was ever here: it may have been released, and the answer lost.
            if (release.Fence && folder.IsKept) FenceClosed(release.Machine, release.Epoch, stopMachine: null);
            var disks = folder.Concerns();
            if (release.Fence || folder.IsFenced) _released.Note(disks, []);
            folder.BeginRelease();
            folder.EndRelease();
            _fencedClosed.Remove(release.Machine);
            return;
        }
        if (machine.Epoch > release.Epoch) return; // protected anew meanwhile: the order is late
        if (release.Fence) await machine.FenceAsync(release.Epoch, stopMachine: null, CancellationToken.None);
        // Before anything ends: whenever this process is killed, the next one serves them as the one or as the other.
        var open = machine.DisksInUse(_released.IsNoted);
        _released.Note(machine.Concerns, open);
        await machine.BeginReleaseAsync();
        _machines.Remove(release.Machine);
        try
        {
            await machine.ReleaseAsync();
        }
        finally
        {
            // Whatever is left of the machine: their guests must not lose them.
            _released.ServeNoted(d => !open.Contains(d) && IsProtected(d));
        }
    }

    /// <summary>Its release was cut short at its beginning, or it was protected anew.</summary>
    private bool IsProtected(ReleasedDisk disk) => _machines.Values.Any(m => m.Concerns(disk)) || _host.Files.Folders(_host.MachinesFolder).Any(f => InFolder(f).Keeps(disk));

    /// <summary>Null, or what went wrong.</summary>
    private async Task<string?> TryAsync(Func<Task> change)
    {
        await _changing.WaitAsync();
        try
        {
            await change();
            return null;
        }
        catch (Exception problem) when (problem is not OperationCanceledException)
        {
            return problem.Message;
        }
        finally
        {
            _changing.Release();
        }
    }

    /// <summary>Nothing new is begun any more.</summary>
    public async Task EndAsync()
    {
        await _ending.CancelAsync();
        await _asking.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        await _servingLate.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
    }

    /// <summary>Whoever serves their disks takes no more requests by now.</summary>
    public async ValueTask DisposeAsync()
    {
        await EndAsync();
        _ending.Dispose();
        foreach (var machine in _machines.Values)
        {
            try
            {
                await machine.DisposeAsync();
            }
            catch (Exception problem) when (problem is IOException or UnauthorizedAccessException)
            {
                // The others end well all the same.
                _host.Log.Say($"machine {machine.Name} did not end cleanly, and what it wrote last is compared when it is served next: {problem.Message}");
            }
        }
        await _released.DisposeAsync();
    }
}
