using System.Collections.Concurrent;
using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.DataPlane.Retention;
using SiteRecovery.DataPlane.Storage;
using SiteRecovery.Domain.History;

namespace SiteRecovery.DataPlane.MasterTarget;

/// <summary>The state of a store at a moment, for the RPO as the target sees it.</summary>
public sealed record StoreReport(Sequence DurableSequence, RecoveryPoint? ConsistentUpTo, bool Consistent, DateTimeOffset CurrentAsOf,
    DateTimeOffset? ReceivedAt, long Bytes, string? FailedReason);

/// <summary>The master target's door: one store per machine under a root folder, one session per machine.</summary>
public sealed class StoreReceiver(string root, IFileSystem files, TimeProvider time) : IStreamTarget, IAsyncDisposable
{
    private readonly ConcurrentDictionary<MachineId, RetentionStore> _stores = new();
    private readonly ConcurrentDictionary<MachineId, StoreSession> _sessions = new();
    private readonly SemaphoreSlim _opening = new(1, 1);

    /// <exception cref="InvalidDataException">There is no store, or its manifest is damaged.</exception>
    public RetentionStore StoreOf(MachineId machine)
    {
        lock (_stores)
            return _stores.TryGetValue(machine, out var store) ? store
                : _stores[machine] = RetentionStore.Open(Path.Combine(root, machine.Value), files, time);
    }

    public StoreReport ReportOf(MachineId machine)
    {
        var store = StoreOf(machine);
        return new StoreReport(store.DurableSequence, store.ConsistentUpTo, store.Consistent, store.CurrentAsOf,
            _sessions.TryGetValue(machine, out var session) ? session.ReceivedAt : null, store.Bytes, store.FailedReason);
    }

    public async ValueTask<IStreamSession> OpenAsync(StreamOpening opening, IPositionListener positions, CancellationToken stop)
    {
        if (!MachineId.IsValid(opening.Machine.Value)) throw new InvalidDataException("not a machine's name");
        await _opening.WaitAsync(stop);
        try
        {
            if (_sessions.TryRemove(opening.Machine, out var replaced)) await replaced.EndAsync(new IOException("a newer session has taken over"));
            var store = Prepare(opening);
            if (opening.Epoch < store.CurrentEpoch) throw new StaleEpochException(store.CurrentEpoch);
            if (opening.Epoch > store.CurrentEpoch) throw new InvalidDataException($"the store is in epoch {store.CurrentEpoch}, the stream in {opening.Epoch}");
            return _sessions[opening.Machine] = new StoreSession(store, positions, time);
        }
        finally
        {
            _opening.Release();
        }
    }

    public async ValueTask DisposeAsync()
    {
        foreach (var session in _sessions.Values) await session.DisposeAsync();
        foreach (var store in _stores.Values) store.Dispose();
        _opening.Dispose();
    }

    private RetentionStore Prepare(StreamOpening opening)
    {
        var folder = Path.Combine(root, opening.Machine.Value);
        lock (_stores)
        {
            // A failed store is opened anew: only its files say what survived.
            if (_stores.TryGetValue(opening.Machine, out var held) && held.FailedReason is not null && _stores.TryRemove(opening.Machine, out _)) held.Dispose();
            if (_stores.TryGetValue(opening.Machine, out held)) return held;
            return _stores[opening.Machine] = RetentionStore.Exists(folder, files)
                ? RetentionStore.Open(folder, files, time)
                : RetentionStore.Create(folder, opening.Machine, opening.Disks, opening.Epoch, files, time);
        }
    }
}
