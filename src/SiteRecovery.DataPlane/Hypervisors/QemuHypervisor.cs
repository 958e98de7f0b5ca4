using SiteRecovery.DataPlane.Storage;

namespace SiteRecovery.DataPlane.Hypervisors;

/// <summary>
/// QEMU run directly, the embedded default: a host needs nothing but QEMU. Definitions are files of one folder; a machine is a process that outlives
/// this one and is found again.
/// </summary>
public sealed class QemuHypervisor : IHypervisor
{
    private readonly string _root;
    private readonly QemuOptions _options;
    private readonly IFileSystem _files;
    private readonly TimeProvider _time;
    /// <summary>One change at a time: two starts of one machine would be two writers.</summary>
    private readonly SemaphoreSlim _changing = new(1, 1);
    private IReadOnlyCollection<string>? _machineTypes;

    /// <param name="folder">Ours alone, for definitions, sockets and firmware variables; a short path, for the sockets' sake.</param>
    public QemuHypervisor(string folder, QemuOptions options, IFileSystem files, TimeProvider time)
    {
        (_root, _options, _files, _time) = (Path.GetFullPath(folder), options, files, time);
        _files.CreateDirectory(_root);
    }

    public async Task<IReadOnlyList<HypervisorMachine>> ListAsync(CancellationToken stop)
    {
        var machines = new List<HypervisorMachine>();
        foreach (var path in _files.List(_root).Where(p => p.EndsWith(QemuFiles.DefinitionEnd, StringComparison.Ordinal)))
            if (await FindAsync(Path.GetFileName(path)[..^QemuFiles.DefinitionEnd.Length], stop).ConfigureAwait(false) is { } machine) machines.Add(machine);
        return machines;
    }

    public async Task<HypervisorMachine?> FindAsync(string name, CancellationToken stop)
    {
        var files = QemuFiles.Of(_root, name);
        return Known(files) is { } machine ? new HypervisorMachine(WithSizes(machine), await ProcessOf(files).StateAsync(stop).ConfigureAwait(false)) : null;
    }

    public Task DefineAsync(MachineDefinition machine, CancellationToken stop) => ChangeAsync(machine.Name, async files =>
    {
        if (Known(files) is { } before)
        {
            if (before.ToJson().AsSpan().SequenceEqual(machine.ToJson())) return;
            if (before.ReplicaOf is null) throw HypervisorException.NotOurs(machine.Name);
            if (ProcessOf(files).IsAlive) throw HypervisorException.StillRuns(machine.Name, "defined anew");
        }
        // What this QEMU cannot do is said now, and not at the failover.
        var type = await MachineTypeAsync(machine, stop).ConfigureAwait(false);
        _ = QemuArguments.Of(machine, _options, files, type, LoaderOf(machine.Firmware));
        _files.CreateDirectory(files.Folder);
        _files.Delete(files.Variables); // those of the machine that it was before
        _files.Replace(files.Definition, machine.ToJson());
    }, stop);

    public Task StartAsync(string name, CancellationToken stop) => ChangeAsync(name, async files =>
    {
        var machine = Known(files) ?? throw HypervisorException.NoSuchMachine(name);
        var process = ProcessOf(files);
        switch (await process.StateAsync(stop).ConfigureAwait(false))
        {
            case MachineState.Running:
                return;
            case MachineState.Paused or MachineState.Unknown:
                throw new HypervisorException(HypervisorProblem.Refused, $"the machine {name} is paused or does not answer", "Look at its console; destroy it before it is started anew");
        }
        var loader = LoaderOf(machine.Firmware);
        _files.CreateDirectory(files.Folder);
        if (loader is not null && !_files.Exists(files.Variables)) _files.Replace(files.Variables, _files.TryReadAll(VariablesOf(machine.Firmware))!);
        var type = await MachineTypeAsync(machine, stop).ConfigureAwait(false);
        await process.StartAsync(QemuArguments.Of(machine, _options, files, type, loader), stop).ConfigureAwait(false);
    }, stop);

    public Task<bool> ContinueAsync(string name, CancellationToken stop) => ProcessOf(Existing(name)).ContinueAsync(stop);

    public Task<StopOutcome> ShutDownAsync(string name, TimeSpan patience, CancellationToken stop) => ProcessOf(Existing(name)).ShutDownAsync(patience, stop);

    public Task DestroyAsync(string name, CancellationToken stop) => ChangeAsync(name, files => ProcessOf(Existing(files.Name)).DestroyAsync(stop), stop);

    public Task UndefineAsync(string name, CancellationToken stop) => ChangeAsync(name, files =>
    {
        if (Known(files) is not { } machine) return Task.CompletedTask;
        if (machine.ReplicaOf is null) throw HypervisorException.NotOurs(name);
        if (ProcessOf(files).IsAlive) throw HypervisorException.StillRuns(name, "undefined");
        _files.DeleteFolder(files.Folder);
        _files.Delete(files.Definition);
        _files.FlushFolder(_root);
        return Task.CompletedTask;
    }, stop);

    public Task<IReadOnlyList<MachineConsole>> ConsolesAsync(string name, CancellationToken stop)
    {
        var files = Existing(name);
        return Task.FromResult<IReadOnlyList<MachineConsole>>(ProcessOf(files).IsAlive
            ? [new MachineConsole("vnc", "unix:" + files.Display), new MachineConsole("serial", "unix:" + files.Serial)]
            : []);
    }

    /// <summary>The machines run on.</summary>
    public ValueTask DisposeAsync()
    {
        _changing.Dispose();
        return ValueTask.CompletedTask;
    }

    private QemuProcess ProcessOf(QemuFiles files) => new(files, _options, _files, _time);

    private QemuFiles Existing(string name)
    {
        var files = QemuFiles.Of(_root, name);
        return _files.Exists(files.Definition) ? files : throw HypervisorException.NoSuchMachine(name);
    }

    private MachineDefinition? Known(QemuFiles files) => _files.TryReadAll(files.Definition) is { } json ? MachineDefinition.FromJson(json) : null;

    private MachineDefinition WithSizes(MachineDefinition machine) => machine with { Disks = [.. machine.Disks.Select(d => d with { SizeBytes = d.SizeBytes ?? SizeOf(d) })] };

    private long? SizeOf(MachineDisk disk)
    {
        if (disk.Format != "raw" || disk.Source is not { } path || !path.StartsWith('/') || !_files.Exists(path)) return null;
        using var file = _files.Open(path, FileOpening.Read);
        return file.LengthBytes;
    }

    private string? LoaderOf(MachineFirmware firmware)
    {
        if (firmware.Kind == FirmwareKind.Bios) return null;
        var loader = firmware.Loader is { } own && _files.Exists(own) ? own : firmware.SecureBoot ? _options.UefiSecureLoader : _options.UefiLoader;
        return (string[])[loader, VariablesOf(firmware)] is var needed && needed.FirstOrDefault(p => !_files.Exists(p)) is { } missing
            ? throw new HypervisorException(HypervisorProblem.Unavailable, $"the machine boots by UEFI, and {missing} is not on this host", "Install the package ovmf, or name the firmware in the settings")
            : loader;
    }

    /// <summary>The variables belong to the code: its own template goes with its own code only.</summary>
    private string VariablesOf(MachineFirmware firmware) =>
        firmware is { Loader: { } loader, VariablesTemplate: { } own } && _files.Exists(loader) && _files.Exists(own) ? own
        : firmware.SecureBoot ? _options.UefiSecureVariables : _options.UefiVariables;

    private async Task<string> MachineTypeAsync(MachineDefinition machine, CancellationToken stop)
    {
        if (_machineTypes is null)
        {
            var (code, said) = await QemuProcess.RunAsync(_options.Program, ["-machine", "help"], stop).ConfigureAwait(false);
            if (code != 0) throw new HypervisorException(HypervisorProblem.Unavailable, $"{_options.Program} does not say which machines it has: {said.Trim()}");
            _machineTypes = [.. said.Split('\n').Skip(1).Select(l => l.Split(' ', 2)[0]).Where(t => t.Length > 0)];
        }
        return MachineTypes.Nearest(machine.MachineType, _machineTypes)
            ?? throw new HypervisorException(HypervisorProblem.Unfit, $"{_options.Program} has no machine like {machine.MachineType}, which {machine.Name} is");
    }

    private async Task ChangeAsync(string name, Func<QemuFiles, Task> change, CancellationToken stop)
    {
        var files = QemuFiles.Of(_root, name);
        await _changing.WaitAsync(stop).ConfigureAwait(false);
        try
        {
            await change(files).ConfigureAwait(false);
        }
        finally
        {
            _changing.Release();
        }
    }
}
