using System.Collections.Concurrent;
using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.DataPlane.Storage;
using SiteRecovery.Domain.History;

namespace SiteRecovery.DataPlane.ProcessServer;

/// <summary>A stage of the process server: keeps what agents send on its own disk until the next room has made it durable. SPOOL.md.</summary>
public sealed class SpoolTarget : IStreamTarget, IAsyncDisposable
{
    private readonly SpoolOptions _options;
    private readonly Func<MachineId, IStreamTarget?> _next;
    private readonly IFileSystem _files;
    private readonly TimeProvider _time;
    private readonly SpoolSpace _space;
    private readonly ConcurrentDictionary<MachineId, MachineSpool> _machines = new();
    private readonly SemaphoreSlim _changing = new(1, 1);
    private readonly CancellationTokenSource _stop = new();
    private readonly Task _coalescing;
    private bool _disposed;

    /// <summary>Takes up what an earlier process left in the folder, and goes on sending it without waiting for the agents.</summary>
    /// <param name="next">Null while the route of a machine is not known: asked again.</param>
    public SpoolTarget(SpoolOptions options, Func<MachineId, IStreamTarget?> next, IFileSystem files, TimeProvider time)
    {
        (_next, _files, _time) = (next, files, time);
        _options = options with { BootId = options.BootId ?? HostBoot.IdOf(files) };
        _space = new SpoolSpace(options.BytesMax, LetGo);
        files.CreateDirectory(options.Folder);
        foreach (var (machine, paths) in Found()) _machines[machine] = NewSpool(machine, paths);
        _coalescing = Task.Run(CoalesceAsync);
    }

    public IReadOnlyCollection<MachineId> Machines => (IReadOnlyCollection<MachineId>)_machines.Keys;

    public SpoolStatus StatusOf(MachineId machine) =>
        _machines.TryGetValue(machine, out var spool) ? spool.Status() : SpoolStatus.Nothing;

    /// <summary>The newest that a stream of the machine was of; null where nothing is kept of it, or nobody knows yet.</summary>
    public Epoch? EpochOf(MachineId machine) => _machines.TryGetValue(machine, out var spool) ? spool.NewestEpoch : null;

    public async ValueTask<IStreamSession> OpenAsync(StreamOpening opening, IPositionListener positions, CancellationToken stop)
    {
        if (!MachineId.IsValid(opening.Machine.Value)) throw new InvalidDataException("not a machine's name");
        if (!_machines.TryGetValue(opening.Machine, out var spool))
        {
            await _changing.WaitAsync(stop).ConfigureAwait(false);
            try
            {
                ObjectDisposedException.ThrowIf(_disposed, this);
                if (!_machines.TryGetValue(opening.Machine, out spool)) _machines[opening.Machine] = spool = NewSpool(opening.Machine, Found(opening.Machine).GetValueOrDefault(opening.Machine) ?? []);
            }
            finally
            {
                _changing.Release();
            }
        }
        return await spool.OpenAsync(opening, positions, stop).ConfigureAwait(false);
    }

    /// <summary>
    /// The machine's protection has ended, all of its epochs up to <paramref name="upTo"/>: nothing of it stays. Where that fails it may be repeated; a next protection goes on meanwhile, and
    /// keeps what a stream of its own has brought.
    /// </summary>
    /// <exception cref="IOException">The disk does not let go of it, or does not say yet what it is.</exception>
    public async ValueTask RemoveAsync(MachineId machine, Epoch upTo)
    {
        await _changing.WaitAsync().ConfigureAwait(false);
        try
        {
            if (_machines.TryGetValue(machine, out var spool))
            {
                try
                {
                    if (!await spool.TryEndAsync(upTo, "protection of the machine has ended").ConfigureAwait(false)) return;
                }
                finally
                {
                    if (spool.IsStopped) _machines.TryRemove(machine, out _);
                }
            }
            foreach (var path in _files.List(_options.Folder))
                if (Path.GetFileName(path).StartsWith(machine.Value + '~', StringComparison.Ordinal)) _files.Delete(path);
        }
        finally
        {
            _changing.Release();
        }
    }

    public async ValueTask DisposeAsync()
    {
        await _changing.WaitAsync().ConfigureAwait(false);
        _disposed = true;
        _changing.Release();
        await _stop.CancelAsync().ConfigureAwait(false);
        foreach (var spool in _machines.Values) await spool.DisposeAsync().ConfigureAwait(false);
        await _coalescing.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
    }

    private MachineSpool NewSpool(MachineId machine, IReadOnlyList<string> paths) => new(machine, _options, _next, _files, _time, _space, paths);

    /// <summary>One for all machines, so that its memory and its share of the processor are bounded.</summary>
    private async Task CoalesceAsync()
    {
        while (!_stop.IsCancellationRequested)
        {
            var (pressed, coalescer) = (_space.Pressed.Next(), default(SegmentCoalescer));
            if (IsPressed) LetGo();
            foreach (var spool in _machines.Values)
                while (IsPressed && spool.CoalesceNext(coalescer ??= new SegmentCoalescer(_files)))
                {
                }
            await pressed.WaitAsync(_stop.Token).ConfigureAwait(false);
        }
    }

    private bool IsPressed => _space.Used > _options.CoalesceAtFraction * _options.BytesMax;

    private void LetGo()
    {
        foreach (var spool in _machines.Values) spool.ReleaseDurable(isShort: true);
    }

    /// <summary>The segments of each machine in order; '~' is in no machine's name.</summary>
    /// <param name="only">While the others have spools, whose temporary files are about to get their names.</param>
    private Dictionary<MachineId, List<string>> Found(MachineId? only = null)
    {
        var found = new Dictionary<MachineId, List<string>>();
        foreach (var path in _files.List(_options.Folder))
        {
            var name = Path.GetFileName(path);
            var tilde = name.IndexOf('~', StringComparison.Ordinal);
            if (tilde < 0 || !MachineId.IsValid(name[..tilde]) || (only is { } one && name[..tilde] != one.Value)) continue;
            if (name.EndsWith(".tmp", StringComparison.Ordinal))
            {
                _files.Delete(path);
                continue;
            }
            var machine = new MachineId(name[..tilde]);
            if (!found.TryGetValue(machine, out var paths)) found[machine] = paths = [];
            if (name.EndsWith(".seg", StringComparison.Ordinal)) paths.Add(path);
        }
        return found;
    }
}
