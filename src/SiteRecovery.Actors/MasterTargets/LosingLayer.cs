using System.Text.Json;
using SiteRecovery.DataPlane.Export;
using SiteRecovery.DataPlane.Retention;
using SiteRecovery.DataPlane.Storage;
using SiteRecovery.Domain.History;
using SiteRecovery.Domain.ProtectedMachines;
using SiteRecovery.Domain.Results;

namespace SiteRecovery.Actors.MasterTargets;

/// <summary>What was written to a replica that lost is kept, as the end of its epoch; and where it cannot be, nothing waits for it for ever.</summary>
/// <param name="givesUp">What cannot be read of it has been waited for.</param>
internal sealed class LosingLayer(MasterTargetRoom room, ContinueStore next, Epoch layer, bool givesUp)
{
    private readonly RetentionStore _store = room.Stores.StoreOf(next.Machine);
    private readonly string _folder = room.LayerFolderOf(next.Machine, StoreWork.LayerOf(layer));
    /// <summary>Nothing is given up for what could only not be written.</summary>
    private readonly ReadFailures _files = new(room.Files);
    private UnreadableException? _unread;

    internal static string LabelOf(ContinueStore next) => $"kept when epoch {next.Epoch} began";

    /// <summary>
    /// Nothing builds on what is lost there: everything is compared, or the failover was cancelled, and its source, which never left its own disks, finds out what the store lacks. A source that
    /// is left was served out of its layer, and what follows builds on that.
    /// </summary>
    internal static bool MayGoWithout(StoreContinuation from) => from.MayStartEmpty || (!from.FromDisks && from.Fold != from.After);

    /// <exception cref="UnreadLayerException">Some of it cannot be read now.</exception>
    /// <exception cref="IOException">It is lost, and an operator has to say that it goes on without it; or it is, and lies aside, where the next attempt does not find it.</exception>
    internal void Keep(CancellationToken stop)
    {
        var (layers, end, lost) = TryOpen(stop);
        if (layers is not null)
        {
            using (layers) Fold(layers, end);
            return;
        }
        if (!MayGoWithout(next.Continuation)) throw Gone($"what the replica of {next.Machine} wrote is gone: reverse the replication with full ({lost})");
        if (IsEmpty()) return;
        // It may be the only copy of something. Its operator hears of it by this attempt, and the next one goes on.
        var aside = room.PutAside(next.Machine, StoreWork.LayerOf(layer));
        throw new IOException($"what the replica of {next.Machine} wrote cannot be kept, and the store goes on without it; until the next such files do, or the protection ends, its files lie in {aside} ({lost})");
    }

    /// <summary>Read once before the first of it is taken: an attempt that fails leaves nothing in the store.</summary>
    /// <returns>The layers, and where the replica ended if anybody remembers; or why they are lost.</returns>
    private (ReplicaLayers? Layers, Sequence? End, string? Lost) TryOpen(CancellationToken stop)
    {
        ReplicaLayers? opened = null;
        try
        {
            if (WhyLost() is { } lost) return (null, null, lost);
            var end = EndOf();
            opened = new ReplicaLayers(_store, _store.ConsistentUpTo!, _folder, _files, onlyWritten: true, stop: stop);
            opened.ReadWritten(stop);
            var layers = opened;
            opened = null;
            return (layers, end, null);
        }
        catch (InvalidDataException damaged)
        {
            return (null, null, damaged.Message);
        }
        catch (UnreadableException unread)
        {
            _unread = unread;
            return givesUp ? (null, null, unread.Message) : throw Gone(unread.Message);
        }
        finally
        {
            LetGo(opened);
        }
    }

    /// <summary>Null: the layer is there, over what it lay over.</summary>
    private string? WhyLost()
    {
        if (!_files.FolderExists(_folder)) return "there is no layer";
        var maps = _store.Disks.Count(d => _files.Exists(Path.Combine(_folder, ReplicaLayers.FileOf(d.Index)) + ".map"));
        // One that was never opened as a whole has had no writes.
        if (maps == 0 || (maps < _store.Disks.Count && ReplicaMachine.WasServed(_folder, _files))) return $"of {_store.Disks.Count} disks {maps} have a map of their layer";
        // The point was changed, or the store begun anew, and nobody has heard of it.
        if (_store.CurrentEpoch != layer) return $"it lies over where epoch {layer} began, and the store is in {_store.CurrentEpoch}";
        // A store that has failed may be whole again once what it misses is put back.
        if (_store.LacksItsStream && _store.FailedReason is { } failed) throw new IOException($"the store has failed: {failed}");
        // One without the other is no state that the machine ever had.
        return _store.LacksItsStream || _store.ConsistentUpTo is null ? "what it lies over is lost" : null;
    }

    /// <summary>Null: nobody remembers how many writes there were, or what says so is lost. The layers may be whole all the same.</summary>
    private Sequence? EndOf()
    {
        try
        {
            return ReplicaMachine.EndOf(_folder, _files);
        }
        catch (Exception unknown) when (unknown is JsonException || (unknown is UnreadableException && givesUp))
        {
            return null;
        }
    }

    private void Fold(ReplicaLayers layers, Sequence? known)
    {
        var top = _store.ConsistentUpTo!;
        var (end, label) = (known ?? top.Sequence, LabelOf(next));
        // What was written has a position of its own, also where nobody remembers how many writes there were.
        var isRepeated = _store.Points.LastOrDefault(p => p.Label == label)?.Id == top.Id;
        if (end <= top.Sequence && !isRepeated && layers.Written.Any(d => d.Runs.Any())) end = new Sequence(top.Sequence.Value + 1);
        _store.Fold(layers.Written, end, room.Time.GetUtcNow(), label);
    }

    /// <summary>Nobody misses anything of it.</summary>
    private bool IsEmpty()
    {
        try
        {
            return _files.List(_folder).Count == 0;
        }
        catch (UnreadableException)
        {
            return false;
        }
    }

    /// <summary>What is told every time that it could not be read is not waited for anew.</summary>
    private IOException Gone(string message) => _unread is { } unread ? new UnreadLayerException(message, unread) : new IOException(message);

    private static void LetGo(ReplicaLayers? layers)
    {
        try
        {
            layers?.Dispose();
        }
        catch (IOException)
        {
            // What is told is why they could not be read. Who opens them next hears of this.
        }
    }
}

/// <summary>The layer of a replica that lost does not give what is to be kept of it: it may in a moment.</summary>
internal sealed class UnreadLayerException(string message, UnreadableException failure) : IOException(message, failure);
