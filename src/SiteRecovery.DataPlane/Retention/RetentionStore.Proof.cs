using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.DataPlane.Storage;
using SiteRecovery.Domain.History;

namespace SiteRecovery.DataPlane.Retention;

/// <content>Proof: the root hash of points, from what has changed since the last one that has it.</content>
public sealed partial class RetentionStore
{
    private readonly Lock _proving = new(); // taken before _gate
    private ProofFile? _leaves;
    private Proving? _proof;
    private string? _unprovable; // id of the point at which it was given up
    private bool _strayed = true; // some leaves may be those of a point that was not reached

    /// <summary>The root hash of a point (<see cref="RootHash"/>), kept with it. Reads the blocks that changed since the last point that has one on the way here; where there is none, all.</summary>
    /// <exception cref="InvalidDataException">The point is not viewable in this store.</exception>
    /// <exception cref="IOException">What it shows cannot be read.</exception>
    public string Prove(RecoveryPoint point, CancellationToken stop)
    {
        using var either = CancellationTokenSource.CreateLinkedTokenSource(stop, _ended.Token);
        lock (_proving)
        {
            if (_proof?.Point.Id != point.Id) Begin(point, either.Token);
            var bytes = long.MaxValue;
            try
            {
                return GoOn(ref bytes, either.Token) ?? throw new OperationCanceledException(either.Token);
            }
            catch (InvalidDataException)
            {
                // The leaves were damaged, and are forgotten now.
                Begin(point, either.Token);
                return GoOn(ref bytes, either.Token) ?? throw new OperationCanceledException(either.Token);
            }
        }
    }

    /// <summary>Brings the newest marked point nearer to its root hash, by reading about so many bytes. Points that come faster than that go without, until they are asked for.</summary>
    public void ProveNewest(long bytes, CancellationToken stop)
    {
        using var either = CancellationTokenSource.CreateLinkedTokenSource(stop, _ended.Token);
        lock (_proving)
        {
            _keys.Check();
            while (bytes > 0 && !either.IsCancellationRequested)
            {
                try
                {
                    if (_proof is null)
                    {
                        RecoveryPoint? next;
                        lock (_gate) next = _log.FailedReason is null ? _history.NewestPoint : null;
                        if (next is null || next.Id == _unprovable || NoteOf(next).Root is not null) return;
                        _unprovable = next.Id;
                        Begin(next, CancellationToken.None); // it is not begun again once it was cut short
                    }
                    GoOn(ref bytes, either.Token);
                }
                catch (Exception unreadable) when (unreadable is IOException or InvalidDataException or ObjectDisposedException)
                {
                    return; // the scrub says where; the next point may not show it any more
                }
            }
        }
    }

    private void Begin(RecoveryPoint point, CancellationToken stop)
    {
        GiveUp();
        // A leaf must not outlive what it was made of: no way from point to point would ever touch it again. Of a log that has failed nothing more is written.
        if (FailedReason is null) Flush();
        var leaves = _leaves ??= ProofFile.Open(Folder, Disks, BatchCodec.TagOf(Machine), _files, Encrypts ? _keys : null);
        var view = At(point);
        List<FrameRange> ranges;
        List<FrameRange>? since;
        int thinned;
        lock (_gate)
        {
            ranges = _history.RangesOf(point.Epoch, point.Sequence);
            thinned = _thinned;
            since = leaves.Position is { } from ? _history.Since(from, ranges) : null;
            // Whatever that point was, it was made of frames behind the last one that was reached.
            if (since is not null && _strayed) since = [.. since, new FrameRange(leaves.Position!.Value.Behind, _history.End, long.MaxValue)];
        }
        var proof = new Proving(point, view, ranges.Count == 0 ? default : ranges[^1].To);
        _strayed = true;
        try
        {
            // What was thinned in between is counted otherwise.
            if (since is null || !TryTouch(proof, since, stop) || !IsAsThinnedAs(thinned))
            {
                leaves.Forget();
                foreach (var (_, stale) in proof.Disks) stale.SetAll();
            }
        }
        catch
        {
            view.Release();
            throw;
        }
        _proof = proof;
    }

    /// <summary>False: some of the log in between is gone or damaged.</summary>
    private bool TryTouch(Proving proof, List<FrameRange> since, CancellationToken stop)
    {
        try
        {
            foreach (var range in since)
                for (var segment = range.From.Segment; segment <= range.To.Segment; segment++)
                {
                    var from = segment == range.From.Segment ? range.From : new FramePosition(segment, 0);
                    var to = segment == range.To.Segment ? range.To : new FramePosition(segment + 1, 0);
                    bool isTail;
                    lock (_gate)
                    {
                        if (isTail = _log.IsTail(segment)) Touch(proof, from, to, stop);
                    }
                    if (!isTail) Touch(proof, from, to, stop);
                }
            return true;
        }
        catch (Exception gone) when (gone is IOException or InvalidDataException)
        {
            return false;
        }
    }

    /// <summary>What was cut off may have been on the way to a point, and of its blocks nothing tells any more which they are.</summary>
    private void ForgetLeavesOfLost()
    {
        var path = Path.Combine(Folder, ProofFile.FileName);
        if (!_log.HasLost || !_files.Exists(path)) return;
        _files.Delete(path);
        _files.FlushFolder(Folder);
    }

    private void Touch(Proving proof, FramePosition from, FramePosition to, CancellationToken stop)
    {
        foreach (var (_, entry, prefix) in _log.PrefixesOf(from, to))
        {
            stop.ThrowIfCancellationRequested();
            for (var i = 0; i < entry.Header.ExtentCount; i++)
                if (prefix.ExtentAt(i) is { Length: > 0 } extent)
                    proof.StaleOf(extent.Disk).Set(extent.Offset / RootHash.BlockBytes, (extent.Offset + extent.Length - 1) / RootHash.BlockBytes);
        }
    }

    /// <returns>The root; null: there is more to be read.</returns>
    private string? GoOn(ref long bytes, CancellationToken stop)
    {
        var (proof, leaves) = (_proof!, _leaves!);
        try
        {
            while (proof.Next() is var (disk, block))
            {
                if (bytes <= 0 || stop.IsCancellationRequested) return null;
                var (leaf, read) = proof.Hash(disk, block);
                leaves.Set(disk.Index, block, leaf);
                proof.Done(block);
                bytes -= Math.Max(RootHash.BlockBytes / 256, read);
            }
            leaves.Reach(proof.Point.Epoch, proof.Point.Sequence, proof.Behind);
            _strayed = false;
            var root = leaves.Root();
            lock (_gate)
                if (_history.Resolve(proof.Point.Epoch, proof.Point.Sequence) is not null) _notes.Set([_notes.Of(proof.Point.Id) with { Root = root }], IsThere);
            GiveUp();
            return root;
        }
        catch (Exception failed) when (failed is IOException or InvalidDataException or ObjectDisposedException)
        {
            GiveUp();
            // What a failed write or flush has left in the file is not what is in memory: it is opened anew.
            _leaves = null;
            using (leaves)
                if (failed is InvalidDataException) leaves.Forget();
            throw;
        }
    }

    private bool IsAsThinnedAs(int before)
    {
        lock (_gate) return _thinned == before;
    }

    private void GiveUp()
    {
        _proof?.View.Release();
        _proof = null;
    }

    /// <summary>On the way to a point: which blocks of it have no leaf yet.</summary>
    private sealed class Proving
    {
        private readonly byte[] _block = new byte[RootHash.BlockBytes];
        private int _disk;
        private long _from;
        private (IBlockFile? File, long Until) _hole;

        internal Proving(RecoveryPoint point, StoreView view, FramePosition behind)
        {
            (Point, View, Behind) = (point, view, behind);
            Disks = [.. view.Disks.OrderBy(d => d.Index).Select(d => (d, new BlockBits(null, 0, RootHash.BlocksOf(d.SizeBytes))))];
        }

        internal RecoveryPoint Point { get; }
        internal StoreView View { get; }
        /// <summary>The frame behind the last that it shows.</summary>
        internal FramePosition Behind { get; }
        internal IReadOnlyList<(DiskRecord Disk, BlockBits Stale)> Disks { get; }

        internal BlockBits StaleOf(ushort disk) => Disks.First(d => d.Disk.Index == disk).Stale;

        internal (DiskRecord Disk, long Block)? Next()
        {
            for (; _disk < Disks.Count; (_disk, _from, _hole) = (_disk + 1, 0, default))
                if (Disks[_disk].Stale.Next(_from) is >= 0 and var block) return (Disks[_disk].Disk, block);
            return null;
        }

        internal void Done(long block) => _from = block + 1;

        internal (ulong Leaf, int Read) Hash(DiskRecord disk, long block)
        {
            var file = _hole.File ?? View.File(disk.Index);
            var offset = block * RootHash.BlockBytes;
            var length = (int)Math.Min(RootHash.BlockBytes, disk.SizeBytes - offset);
            if (offset + length > _hole.Until) _hole = (file, file.RunAt(offset) is { Hole: true } run ? offset + run.Length : 0);
            if (offset + length <= _hole.Until) return (0, 0);
            file.Read(offset, _block.AsSpan(0, length));
            return (RootHash.LeafOf(_block.AsSpan(0, length)), length);
        }
    }
}
