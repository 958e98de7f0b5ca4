using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.Domain.History;

namespace SiteRecovery.DataPlane.Capture;

/// <summary>A range of a disk, in bytes.</summary>
public readonly record struct DiskRange(ushort Disk, long Offset, long Length);

/// <content>The ends of an epoch: drained for a planned failover, or left with a tail that the other side must take back.</content>
public sealed partial class MachineCapture
{
    private volatile bool _frozen;
    private volatile RunningHash? _hashing;

    public bool IsFrozen => _frozen;
    public bool IsHeld => _frozen && _state.Held;
    /// <summary>Of the drain that it is frozen for.</summary>
    public int FrozenRound => _state.FrozenRound;
    public int LapsedRound => _state.LapsedRound;

    /// <summary>From here on no write is taken, while what is there still flows to the target. Durable before it returns: a restart stays frozen, until <see cref="Unfreeze"/>.</summary>
    /// <param name="round">Of the drain.</param>
    public async Task FreezeAsync(int round, CancellationToken stop)
    {
        _frozen = true;
        while (!_disks.TrueForAll(d => d.HasPassed(long.MaxValue))) await Task.Delay(TimeSpan.FromMilliseconds(1), _time, stop).ConfigureAwait(false);
        foreach (var disk in _disks) disk.Flush();
        var noted = FlushesNoted();
        while (!_disks.TrueForAll(noted)) await Task.Delay(TimeSpan.FromMilliseconds(1), _time, stop).ConfigureAwait(false);
        if (_mayForget && !_state.Frozen)
        {
            EndHashing(); // it has hashed what they showed
            ShowWhatIsOnDisk();
        }
        // What was promised to a drain of before is nothing that this one has promised. An agent of before did not know for which it was.
        Save(s => s with { Frozen = true, FrozenRound = round, Held = s.Held && (s.FrozenRound == 0 || s.FrozenRound == round) });
    }

    /// <summary>Frozen until it is told otherwise, however long it hears nothing. Durable when it returns.</summary>
    public void Hold() => Save(s => s with { Held = true });

    /// <summary>The planned failover was rolled back: the source takes writes again.</summary>
    /// <param name="lapsed">Of which drain nothing was heard any more; 0: it was told.</param>
    public void Unfreeze(int lapsed = 0)
    {
        Save(s => s with { Frozen = false, Held = false, FrozenRound = 0, LapsedRound = Math.Max(s.LapsedRound, lapsed) });
        _frozen = false;
    }

    /// <summary>The newest write, once the machine is frozen and all of it is durable at the target; null before that.</summary>
    public Sequence? DrainedAt()
    {
        lock (_log)
            return _frozen && !_fenced && _accepting && _consistent && _ring.Count == 0 && _durableSequence >= _newest && _durableOrdinal >= _completeOrdinal
                ? new Sequence(_newest) : null;
    }

    /// <summary>Hears of every write while it is there.</summary>
    internal RunningHash? Hashing => _hashing;

    /// <summary>Hashes the disks while they are written to, so that <see cref="RootHashAsync"/> has little left to do; <see cref="EndHashing"/> ends it.</summary>
    /// <exception cref="IOException">A disk cannot be read.</exception>
    internal async Task HashAsync(CancellationToken stop)
    {
        EndHashing();
        var hashing = _hashing = new RunningHash(_disks, _options.StateFolder, _files);
        // A write that looked before it was there may land where it was hashed already.
        var ticket = NextTicket();
        while (!_disks.TrueForAll(d => d.HasPassed(ticket))) await Task.Delay(TimeSpan.FromMilliseconds(1), _time, stop).ConfigureAwait(false);
        await Task.Run(() => hashing.CatchUp(stop), stop).ConfigureAwait(false);
    }

    internal void EndHashing()
    {
        var hashing = _hashing;
        _hashing = null;
        hashing?.Dispose();
    }

    /// <summary>Of the disks as they are; nobody may write meanwhile.</summary>
    /// <exception cref="IOException">A disk cannot be read.</exception>
    /// <exception cref="InvalidDataException">What was hashed before has been damaged since: hash it anew.</exception>
    public Task<string> RootHashAsync(CancellationToken stop) => _hashing is { } hashing ? Task.Run(() => hashing.Finish(stop), stop)
        : RootHash.OfAsync(_disks.Select(d => (d.Geometry.Index, (IBlockDevice)d)), stop);

    /// <summary>What a fenced machine wrote without knowing it durable at the target: with what arrived there after the fork, its tail.</summary>
    /// <exception cref="InvalidOperationException">The machine is not fenced: its tail still grows.</exception>
    public IReadOnlyList<DiskRange> NotKnownDurable()
    {
        if (!_fenced) throw new InvalidOperationException($"machine {_options.Machine} is not fenced");
        var ranges = new List<DiskRange>();
        foreach (var disk in _disks)
        {
            disk.Bitmap.Fold();
            var (bits, none) = (disk.Bitmap.Unsynced, new BlockBits(null, 0, disk.Bitmap.Unsynced.Blocks));
            for (var first = bits.Next(0, none); first >= 0; first = bits.Next(first, none))
            {
                var end = first + 1;
                while (end < bits.Blocks && bits[end]) end++;
                var offset = first * BitmapFile.BlockBytes;
                ranges.Add(new DiskRange(disk.Geometry.Index, offset, Math.Min(end * BitmapFile.BlockBytes, disk.SizeBytes) - offset));
                first = end;
            }
        }
        return ranges;
    }

    /// <summary>Ranges in which the target is known to differ, though nothing was written there here: the next synchronization compares them. Durable when it returns.</summary>
    public void MarkUnsynced(IReadOnlyCollection<DiskRange> ranges, string reason)
    {
        if (ranges.Count == 0) return;
        lock (_log)
        {
            LoseStream(reason);
            foreach (var range in ranges) MarkUnsynced(_disks.First(d => d.Geometry.Index == range.Disk), range.Offset, range.Length);
        }
        foreach (var disk in _disks) disk.Bitmap.Flush();
        _signal.Set();
    }
}
