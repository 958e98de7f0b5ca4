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
/// <param name="options">Of every store that it opens.</param>
/// <param name="streamsCreateStores">False: a stream finds a store only where <see cref="Hold"/> has made one.</param>
public sealed class StoreReceiver(string root, IFileSystem files, TimeProvider time, bool streamsCreateStores = true, StoreOptions? options = null) : IStreamTarget, IAsyncDisposable
{
    private readonly ConcurrentDictionary<MachineId, RetentionStore> _stores = new();
    private readonly ConcurrentDictionary<MachineId, StoreSession> _sessions = new();
    /// <summary>'~' is in no machine's name.</summary>
    private const string Removed = "~removed";
    private readonly ConcurrentDictionary<MachineId, Gate> _gates = new();

    /// <summary>Of one machine: what its store waits for, a disk or a key service, keeps no other machine waiting.</summary>
    private sealed class Gate
    {
        internal Lock Store { get; } = new();
        internal SemaphoreSlim Opening { get; } = new(1, 1);
        /// <summary>Under the lock; of a store that cannot be opened, and of the manifest of one that is not to be opened: neither has waited for the other.</summary>
        internal long? UnreadableSince { get; set; }
        internal long? ManifestUnreadableSince { get; set; }
        /// <summary>Of the store that was open before, for its writes failed.</summary>
        internal string? WriteFailure { get; set; }
        /// <summary>Protections that have ended here.</summary>
        internal Epoch EndedUpTo { get; set; }
    }

    /// <exception cref="InvalidDataException">There is no store, or its manifest is damaged.</exception>
    public RetentionStore StoreOf(MachineId machine)
    {
        lock (GateOf(machine).Store)
            return _stores.TryGetValue(machine, out var store) ? store
                : _stores[machine] = Open(machine);
    }

    public string FolderOf(MachineId machine) => Path.Combine(root, machine.Value);

    public bool Has(MachineId machine) => RetentionStore.Exists(FolderOf(machine), files);

    /// <summary>The machine's store is there, and open; made for these disks and this epoch where there was none.</summary>
    /// <exception cref="InvalidDataException">There is a store, but for other disks, or it is damaged.</exception>
    /// <param name="bases">Per disk, for a store that has to be made: <see cref="RetentionStore.Create"/>.</param>
    /// <param name="encrypt">Whether what comes is encrypted; null: as before.</param>
    /// <exception cref="Keys.StoreLockedException">It is to be encrypted, and there is no key: no stream is taken until there is.</exception>
    public void Hold(MachineId machine, IReadOnlyList<DiskGeometry> disks, Epoch epoch, IReadOnlyDictionary<ushort, string>? bases = null, bool? encrypt = null)
    {
        RetentionStore store;
        lock (GateOf(machine).Store) CheckDisks(store = Prepare(machine, disks, epoch, mayCreate: true, bases), disks);
        if (encrypt is { } wanted) store.Encrypt(wanted);
    }

    /// <summary>Forks the history at a point, after which every older epoch is refused. The old epoch's stream, if it still runs, learns it.</summary>
    /// <exception cref="StaleEpochException">The store is in a later epoch already.</exception>
    /// <exception cref="InvalidDataException">The point is not viewable in this store.</exception>
    public Task OpenEpochAsync(MachineId machine, Epoch epoch, RecoveryPoint from, CancellationToken stop) =>
        BeginEpochAsync(machine, epoch, store => store.OpenEpoch(epoch, from), stop);

    /// <summary>The next epoch goes on where that of <paramref name="after"/> ends, with a gap. The old epoch's stream, if it still runs, learns it.</summary>
    /// <exception cref="StaleEpochException">The store is in a later epoch already.</exception>
    /// <exception cref="InvalidDataException">The store has no epoch <paramref name="after"/>.</exception>
    public Task ContinueEpochAsync(MachineId machine, Epoch next, Epoch after, CancellationToken stop) =>
        BeginEpochAsync(machine, next, store => store.ContinueEpoch(next, after), stop);

    /// <summary>A failed store is opened anew when it is needed next: only its files say what survived.</summary>
    public void LetGoOfFailed(MachineId machine)
    {
        var gate = GateOf(machine);
        lock (gate.Store)
        {
            if (!_stores.TryGetValue(machine, out var held) || held.FailedReason is null || !_stores.TryRemove(machine, out _)) return;
            gate.WriteFailure = held.WriteFailure ?? (held.HasTaken ? null : gate.WriteFailure);
            held.Dispose();
        }
    }

    /// <summary>Why the machine's store takes no writes; null while it does. That one whose writes failed could be opened anew proves nothing: the reason stays until it has taken one.</summary>
    /// <exception cref="InvalidDataException">There is no store, or its manifest is damaged.</exception>
    public string? FailureOf(MachineId machine)
    {
        var gate = GateOf(machine);
        lock (gate.Store)
        {
            var store = StoreOf(machine);
            return store.FailedReason ?? (store.HasTaken ? null : gate.WriteFailure);
        }
    }

    /// <summary>Its protection has ended with this epoch: for what it is told late no store is made any more.</summary>
    /// <returns>False: the store is a later protection's.</returns>
    /// <exception cref="IOException">Whose it is cannot be read just now.</exception>
    public bool TryEnd(MachineId machine, Epoch epoch)
    {
        var gate = GateOf(machine);
        lock (gate.Store)
        {
            if ((_stores.TryGetValue(machine, out var store) ? store.CurrentEpoch : EpochOf(machine)) > epoch) return false;
            if (epoch > gate.EndedUpTo) gate.EndedUpTo = epoch;
            return true;
        }
    }

    /// <summary>Of a store that is not open; none where there is none, or where nothing says it any more: such a store must be removable.</summary>
    private Epoch? EpochOf(MachineId machine)
    {
        var gate = GateOf(machine);
        try
        {
            var manifest = files.TryReadAll(Path.Combine(FolderOf(machine), StoreManifest.FileName));
            gate.ManifestUnreadableSince = null;
            return manifest is null ? null : new Epoch(StoreManifest.Parse(manifest).Epochs[^1].Epoch);
        }
        catch (InvalidDataException)
        {
            return null;
        }
        catch (IOException) when (time.GetElapsedTime(gate.ManifestUnreadableSince ??= time.GetTimestamp()) > DiskFailure.Patience)
        {
            return null;
        }
    }

    /// <summary>Removes a machine's store with all its points. Nothing happens where there is none.</summary>
    public Task RemoveAsync(MachineId machine, CancellationToken stop) => LetGoAsync(machine, () =>
    {
        // Renamed first: a removal that was cut short leaves nothing that looks like a store.
        var gone = FolderOf(machine) + Removed;
        files.DeleteFolder(gone);
        DeleteFormerlyRemoved(machine);
        if (Has(machine))
        {
            files.Rename(FolderOf(machine), gone);
            RetentionStore.DestroyKeys(gone, files);
        }
        files.DeleteFolder(gone);
    }, stop);

    /// <summary>A machine's store is no master target's any more: its folder, as it is and with all that is in it, belongs to whoever finds it there. Durable when it returns.</summary>
    /// <param name="to">Where nothing is yet, in a folder that is there.</param>
    public Task GiveAwayAsync(MachineId machine, string to, CancellationToken stop) => LetGoAsync(machine, () =>
    {
        files.Rename(FolderOf(machine), to);
        files.FlushFolder(Path.GetDirectoryName(to)!);
    }, stop);

    private async Task LetGoAsync(MachineId machine, Action remove, CancellationToken stop)
    {
        var gate = GateOf(machine);
        await gate.Opening.WaitAsync(stop);
        try
        {
            if (_sessions.TryRemove(machine, out var session)) await session.EndAsync(new IOException("the store is being removed"));
            lock (gate.Store)
            {
                (gate.UnreadableSince, gate.ManifestUnreadableSince, gate.WriteFailure) = (null, null, null);
                if (_stores.TryRemove(machine, out var store)) store.Dispose();
                remove();
                // Come back after a loss of power, it would be in the way of the next protection's.
                if (files.FolderExists(root)) files.FlushFolder(root);
            }
        }
        finally
        {
            gate.Opening.Release();
        }
    }

    /// <summary>
    /// What a removal of a version before 2026-12 has left, cut short: it named the folder as a machine may be named. Only what says that it is of this machine,
    /// or is no store of anybody's, goes.
    /// </summary>
    private void DeleteFormerlyRemoved(MachineId machine)
    {
        var namesake = new MachineId(machine.Value + ".removed");
        lock (GateOf(namesake).Store)
        {
            var folder = FolderOf(namesake);
            if (!files.FolderExists(folder) || (Has(namesake) ? OwnerOf(folder) != machine.Value : HasSegments(folder))) return;
            RetentionStore.DestroyKeys(folder, files);
            files.DeleteFolder(folder);
        }
    }

    /// <summary>A store whose manifest was lost may be rescued by somebody.</summary>
    private bool HasSegments(string folder) => files.List(Path.Combine(folder, "log")).Any(f => f.EndsWith(".seg", StringComparison.Ordinal));

    /// <summary>Null where it does not say.</summary>
    private string? OwnerOf(string folder)
    {
        try
        {
            return files.TryReadAll(Path.Combine(folder, StoreManifest.FileName)) is { } manifest ? StoreManifest.Parse(manifest).Machine : null;
        }
        catch (Exception unread) when (unread is InvalidDataException or IOException)
        {
            return null;
        }
    }

    public StoreReport ReportOf(MachineId machine)
    {
        var store = StoreOf(machine);
        return new StoreReport(store.DurableSequence, store.ConsistentUpTo, store.Consistent, store.CurrentAsOf,
            _sessions.TryGetValue(machine, out var session) ? session.ReceivedAt : null, store.Bytes, FailureOf(machine));
    }

    public async ValueTask<IStreamSession> OpenAsync(StreamOpening opening, IPositionListener positions, CancellationToken stop)
    {
        if (!MachineId.IsValid(opening.Machine.Value)) throw new InvalidDataException("not a machine's name");
        var gate = GateOf(opening.Machine);
        await gate.Opening.WaitAsync(stop);
        try
        {
            if (_sessions.TryRemove(opening.Machine, out var replaced)) await replaced.EndAsync(new IOException("a newer session has taken over"));
            RetentionStore store;
            lock (gate.Store) store = Prepare(opening.Machine, opening.Disks, opening.Epoch, streamsCreateStores);
            CheckDisks(store, opening.Disks);
            if (opening.Epoch < store.CurrentEpoch) throw new StaleEpochException(store.CurrentEpoch);
            if (opening.Epoch > store.CurrentEpoch) throw new InvalidDataException($"the store is in epoch {store.CurrentEpoch}, the stream in {opening.Epoch}");
            // What a session before it took and could not acknowledge is not sent again, and may be the last for long.
            if (store.Durable != store.Held) store.Flush();
            return _sessions[opening.Machine] = new StoreSession(store, opening.KnownPosition, positions, time);
        }
        finally
        {
            gate.Opening.Release();
        }
    }

    public async ValueTask DisposeAsync()
    {
        foreach (var session in _sessions.Values) await session.DisposeAsync();
        foreach (var store in _stores.Values) store.Dispose();
        foreach (var gate in _gates.Values) gate.Opening.Dispose();
    }

    private async Task BeginEpochAsync(MachineId machine, Epoch epoch, Action<RetentionStore> begin, CancellationToken stop)
    {
        var gate = GateOf(machine);
        await gate.Opening.WaitAsync(stop);
        try
        {
            var store = StoreOf(machine);
            // Repeated, it leaves the stream of the new epoch alone.
            StoreSession? old = null;
            if (store.CurrentEpoch < epoch && _sessions.TryRemove(machine, out old)) await old.StopAsync();
            try
            {
                begin(store);
                // Only now: whoever hears it is fenced for good.
                old?.Tell(new StaleEpochException(epoch));
            }
            catch (Exception failed)
            {
                old?.Tell(new IOException($"epoch {epoch} could not be opened: {failed.Message}"));
                throw;
            }
        }
        finally
        {
            gate.Opening.Release();
        }
    }

    private Gate GateOf(MachineId machine) => _gates.GetOrAdd(machine, _ => new Gate());

    /// <summary>Under the machine's lock.</summary>
    private RetentionStore Prepare(MachineId machine, IReadOnlyList<DiskGeometry> disks, Epoch epoch, bool mayCreate, IReadOnlyDictionary<ushort, string>? bases = null)
    {
        var folder = FolderOf(machine);
        LetGoOfFailed(machine);
        if (_stores.TryGetValue(machine, out var held)) return held;
        if (RetentionStore.Exists(folder, files)) return _stores[machine] = Open(machine);
        if (!mayCreate) throw new InvalidDataException($"this master target holds no store of {machine}");
        if (epoch <= GateOf(machine).EndedUpTo) throw new IOException($"the protection of {machine} that epoch {epoch} was of has ended");
        return _stores[machine] = RetentionStore.Create(folder, machine, disks, epoch, files, time, bases, options);
    }

    /// <summary>A disk that cannot be read may be back in a moment; one that still cannot after a while has lost what it does not give.</summary>
    private RetentionStore Open(MachineId machine)
    {
        var gate = GateOf(machine);
        var givesUp = gate.UnreadableSince is { } since && time.GetElapsedTime(since) > DiskFailure.Patience;
        try
        {
            var store = RetentionStore.Open(FolderOf(machine), files, time, options: (options ?? new StoreOptions()) with { GivesUpUnreadable = givesUp });
            // One that had to give up what it needs is opened again and again, until it is whole: it has been waited for.
            if (!store.HasGivenUp) gate.UnreadableSince = null;
            return store;
        }
        catch (IOException)
        {
            gate.UnreadableSince ??= time.GetTimestamp();
            throw;
        }
    }

    private static void CheckDisks(RetentionStore store, IReadOnlyList<DiskGeometry> disks)
    {
        foreach (var disk in disks)
        {
            var held = store.Disks.FirstOrDefault(d => d.Index == disk.Index);
            if (held?.SizeBytes != disk.SizeBytes)
                throw new InvalidDataException($"disk {disk.Index} has {disk.SizeBytes} bytes, but the store was made for {held?.SizeBytes ?? 0}");
        }
    }
}
