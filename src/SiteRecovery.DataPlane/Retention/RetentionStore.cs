using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.DataPlane.Keys;
using SiteRecovery.DataPlane.Storage;
using SiteRecovery.Domain.History;

namespace SiteRecovery.DataPlane.Retention;

/// <summary>The history of a machine at the target site: an append-only log with views at every consistent position. STORE.md.</summary>
public sealed partial class RetentionStore : IDisposable, IReplay
{
    private readonly Lock _gate = new(), _flushing = new(); // taken in the order _flushing, _gate
    private readonly IFileSystem _files;
    private readonly TimeProvider _time;
    private readonly StoreKeys _keys;
    private readonly StoreLog _log;
    private readonly StoreHistory _history;
    private readonly BaseImages _bases;
    private readonly SegmentMaps _maps;
    private readonly bool _readOnly;
    private StoreManifest _manifest;
    private byte[] _manifestBytes = []; // as it was opened, where it is only read
    private string? _unviewable;
    private StoreView? _newest;
    private bool _given; // and not flushed yet, perhaps
    private readonly UnreadablePlaces _starts; // of streams; under _gate

    private RetentionStore(string folder, IFileSystem files, TimeProvider time, StoreManifest manifest, bool readOnly, StoreOptions? options)
    {
        var givesUp = readOnly || options?.GivesUpUnreadable == true;
        _starts = new UnreadablePlaces(time) { GivesUp = givesUp };
        (Folder, _files, _time, _manifest, _readOnly, _notes, _unreadable) = (folder, files, time, manifest, readOnly, new PointNotes(folder, files, givesUp), new UnreadablePlaces(time));
        var tag = BatchCodec.TagOf(Machine);
        _keys = new StoreKeys(folder, files, options?.Keys, time, readOnly);
        _bases = new BaseImages(folder, manifest.Disks, files, readOnly, _keys) { IsPromoted = manifest.Promoted is not null, IsEncrypted = manifest.Promoted?.Encrypted == true, UnflushedMax = (options ?? new StoreOptions()).BaseBlocksUnflushedMax };
        _log = new StoreLog(folder, files, tag, readOnly, options ?? new StoreOptions(), _keys) { Sealing = (segment, bytes) => _history!.EndOf(segment, tag, bytes) is { } end ? WithSignals(end) with { Unmarked = _meter.Unmarked } : null };
        _history = new StoreHistory(manifest.Promoted is { } kept ? manifest.Epochs.First(e => e.Epoch == kept.Epoch) : manifest.Epochs[0], manifest.Promoted, _log.EntriesOf, entry => TextOf(_log.ReadFrame(entry.Segment, entry.Offset)).ToArray(), () => Origins, _starts);
        _maps = new SegmentMaps(folder, files, tag, readOnly, _log.BytesOf, MapOf);
        try
        {
            _log.Recover(this, (manifest.Promoted?.Segment ?? 0) + 1);
            BeginUpTo(new Epoch(manifest.Epochs[^1].Epoch), hasFrames: false);
            foreach (var aside in _log.Aside()) Note(aside);
            if (!readOnly) ForgetLeavesOfLost();
            if (manifest.Encrypted == true && !readOnly) StartEncrypting();
            // Also where the log has failed: the base is not what it was.
            if (manifest.Promoting is { } interrupted)
            {
                if (_log.FailedReason is null || _history.Segments.Any(s => s > interrupted)) Plan(interrupted, PartialBlocks.Load(folder, interrupted, tag, files, givesUp));
                else _unviewable = $"the base was being written when the log behind segment {interrupted} was lost: {_log.FailedReason}";
            }
        }
        catch
        {
            _log.Dispose();
            throw;
        }
        _starts.GivesUp = readOnly;
        (Durable, DurableSequence) = (_history.Held, _history.NewestOfSource);
    }

    public string Folder { get; }
    public MachineId Machine => new(_manifest.Machine);
    public IReadOnlyList<DiskRecord> Disks { get { lock (_gate) return _manifest.Disks; } }
    public Epoch CurrentEpoch { get { lock (_gate) return _history.Current; } }
    public StreamPosition Held { get { lock (_gate) return _history.Held; } }
    public StreamPosition Durable { get; private set; }
    /// <summary>Of the current epoch's source.</summary>
    public Sequence DurableSequence { get; private set; }
    /// <summary>It reads as zeroes.</summary>
    public bool IsEmpty { get { lock (_gate) return !_bases.Any && !_history.HasExtents && _below.Count == 0; } }
    /// <summary>The newest viewable position on the current line; its time is that of the newest batch or tick at it.</summary>
    public RecoveryPoint? ConsistentUpTo { get { lock (_gate) return _history.ConsistentUpTo; } }
    public bool Consistent { get { lock (_gate) return _history.Consistent; } }
    public DateTimeOffset CurrentAsOf { get { lock (_gate) return _history.CurrentAsOf; } }
    public int PointCount { get { lock (_gate) return _history.PointCount; } }
    public RecoveryPoint? OldestPoint { get { lock (_gate) return _history.OldestPoint; } }
    public IReadOnlyList<RecoveryPoint> Points { get { lock (_gate) return [.. _history.Points]; } }
    public long Bytes { get { lock (_gate) return _log.Bytes; } }
    /// <summary>Bytes of an unsynced, torn tail that opening cut off.</summary>
    public long CutBytes => _log.CutBytes;
    public IReadOnlyList<StoreDamage> Damage { get { lock (_gate) return [.. _log.Damage]; } }
    public string? FailedReason { get { lock (_gate) return _log.FailedReason ?? _locked; } }

    /// <summary>Why its files took no write; null: each was taken, whatever else is wrong with it.</summary>
    public string? WriteFailure { get { lock (_gate) return _log.WriteFailure; } }
    /// <summary>Since it was opened something that it was given became durable. The start of a stream, small and repeated with each attempt, is nothing yet.</summary>
    public bool HasTaken { get; private set; }

    public static bool Exists(string folder, IFileSystem files) => files.Exists(Path.Combine(folder, StoreManifest.FileName));

    /// <param name="bases">Per disk an absolute path of a raw file, exactly as long as the disk, that holds the state before the log and never changes again.</param>
    /// <exception cref="IOException">There is a store already, or a base is missing or of another size.</exception>
    public static RetentionStore Create(string folder, MachineId machine, IReadOnlyList<DiskGeometry> disks, Epoch epoch, IFileSystem files, TimeProvider time,
        IReadOnlyDictionary<ushort, string>? bases = null, StoreOptions? options = null)
    {
        if (Exists(folder, files)) throw new IOException($"{folder} holds a store already");
        DiskRecord[] records = [.. disks.Select(d => new DiskRecord(d.Index, d.Name, d.SizeBytes, bases?.GetValueOrDefault(d.Index)))];
        if (bases?.Keys.Except(disks.Select(d => d.Index)).Any() == true) throw new ArgumentException("a base of a disk that the store does not have", nameof(bases));
        if (Array.Find(records, r => r.Base is { } path && !Path.IsPathFullyQualified(path)) is { } relative) throw new ArgumentException($"{relative.Base} is no absolute path", nameof(bases));
        using (var keys = new StoreKeys(folder, files, null, time, readOnly: true))
        using (var images = new BaseImages(folder, records, files, readOnly: true, keys))
            foreach (var disk in disks) images.Open(disk.Index);
        files.CreateDirectory(Path.Combine(folder, "log"));
        var manifest = new StoreManifest(StoreManifest.CurrentVersion, machine.Value, records, 4096, [new EpochRecord(epoch.Value, 0, 0, time.GetUtcNow())]).Versioned();
        files.Replace(Path.Combine(folder, StoreManifest.FileName), manifest.ToBytes());
        return new RetentionStore(folder, files, time, manifest, readOnly: false, options);
    }

    /// <param name="readOnly">Changes no byte on disk: a torn tail is passed over instead of cut.</param>
    public static RetentionStore Open(string folder, IFileSystem files, TimeProvider time, bool readOnly = false, StoreOptions? options = null)
    {
        var bytes = files.TryReadAll(Path.Combine(folder, StoreManifest.FileName)) ?? throw new InvalidDataException($"{folder} holds no store");
        return new RetentionStore(folder, files, time, StoreManifest.Parse(bytes), readOnly, options) { _manifestBytes = bytes };
    }

    /// <summary>Appends a verified batch; durable after <see cref="Flush"/>. False for a duplicate.</summary>
    public bool Append(Batch batch)
    {
        lock (_gate)
        {
            if (batch.Header.MachineTag != BatchCodec.TagOf(Machine)) throw new InvalidDataException("batch of another machine");
            if (_locked is { } reason) throw new IOException("the store takes no writes: " + reason);
            if (batch.Header.Encrypted || batch.Header.Thinned) throw new InvalidDataException("batch is one that only a store writes");
            if (!_history.Accepts(batch.Header)) return false;
            CheckExtents(batch);
            if (_isUnsure) SaveUnsure();
            // Only here a position may come to show another state than it did.
            if (batch.Header.Marker == MarkerKind.SyncCompleted) _notes.ForgetState(RecoveryPoint.IdOf(batch.Header.Epoch, batch.Header.Last), IsThere);
            var entry = _log.Append(batch);
            _given |= batch.Header.Marker != MarkerKind.StreamStart;
            var points = _history.PointCount;
            _history.Apply(entry, TextOf(batch));
            Measure(batch, points);
            Extend(entry, batch);
            return true;
        }
    }

    /// <summary>Makes everything appended durable; appending goes on meanwhile. Returns what is durable now.</summary>
    public (StreamPosition Position, Sequence Sequence) Flush()
    {
        lock (_flushing)
        {
            StoreLog.Pending? pending;
            (StreamPosition Held, Sequence Newest, Epoch Epoch, bool Given) reached;
            lock (_gate)
            {
                _log.CloseSealed();
                pending = _log.BeginFlush();
                reached = (_history.Held, _history.NewestOfSource, _history.Current, _given);
            }
            IOException? failed = null;
            try
            {
                pending?.Flush();
            }
            catch (IOException failure)
            {
                failed = failure;
                throw;
            }
            finally
            {
                lock (_gate)
                {
                    if (pending is { } flushed) _log.EndFlush(flushed, failed);
                    HasTaken |= failed is null && reached.Given;
                    // A fork that came between flushed by itself, and begins anew.
                    if (failed is null && reached.Epoch == _history.Current) (Durable, DurableSequence) = (reached.Held, reached.Newest);
                }
            }
            lock (_gate) return (Durable, DurableSequence);
        }
    }

    /// <summary>Forks the history. Idempotent; durable when it returns, and older epochs are refused from then on.</summary>
    /// <exception cref="StoreLockedException">It is encrypted, and its keys are not to be had.</exception>
    public void OpenEpoch(Epoch next, RecoveryPoint from)
    {
        lock (_gate)
        {
            var last = _manifest.Epochs[^1];
            // Also where what it forked from was lost since.
            if (last.Epoch == next.Value && (last.ContinuesAfter ?? last.ForkedFromEpoch) == from.Epoch.Value && (last.ContinuesAfter is not null || last.ForkedFromSequence == from.Sequence.Value)) return;
            if (next <= _history.Current) throw new StaleEpochException(_history.Current);
            // Before it is final: who cannot read the point must not fail over to it.
            _keys.Check();
            if (_history.Resolve(from.Epoch, from.Sequence) is null) throw _history.NotViewable(from.Epoch, from.Sequence);
            if (_unviewable is { } reason) throw new IOException(reason);
            Begin(new EpochRecord(next.Value, from.Epoch.Value, from.Sequence.Value, _time.GetUtcNow()));
        }
    }

    /// <summary>
    /// The next epoch goes on where another one's log ends, consistent or not, and begins with a gap: its stream brings what is stale, and nothing of it is
    /// viewable before its first sync completed. Idempotent; durable when it returns, and older epochs are refused from then on.
    /// </summary>
    /// <exception cref="StaleEpochException">The store is in that epoch or a later one already.</exception>
    /// <exception cref="InvalidDataException">The store has no epoch <paramref name="after"/>.</exception>
    public void ContinueEpoch(Epoch next, Epoch after)
    {
        lock (_gate)
        {
            var last = _manifest.Epochs[^1];
            if (last.Epoch == next.Value && last.ContinuesAfter == after.Value) return;
            if (next <= _history.Current) throw new StaleEpochException(_history.Current);
            if (!_history.Knows(after)) throw new InvalidDataException($"there is no epoch {after} in this store");
            Begin(new EpochRecord(next.Value, 0, 0, _time.GetUtcNow(), after.Value));
        }
    }

    /// <summary>It has been in that epoch.</summary>
    public bool Knows(Epoch epoch)
    {
        lock (_gate) return _history.Knows(epoch);
    }

    public RecoveryPoint? ResolvePoint(PointSelector selector)
    {
        lock (_gate) return _history.Choose(selector);
    }

    /// <summary>All disks at a point.</summary>
    /// <exception cref="StoreLockedException">It is encrypted, and its keys are not to be had.</exception>
    public StoreView At(RecoveryPoint point)
    {
        _keys.Check();
        if (_unviewable is { } reason) throw new IOException(reason);
        MakeMaps();
        lock (_gate)
        {
            var ranges = _history.RangesOf(point.Epoch, point.Sequence);
            var last = LastOf(ranges);
            return InUse(new StoreView(_log, _bases, [.. _below, .. SourcesOf(ranges)]) { Gone = _readOnly ? failed => WhyGone(last, failed) : null }, ranges, point);
        }
    }

    /// <summary>XxHash3 of each block of the newest state, consistent or not; 0 for a block of zeroes.</summary>
    public ValueTask<ulong[]> HashesAsync(ushort disk, long offset, int blockBytes, int blocks, CancellationToken stop)
    {
        StoreView? view;
        lock (_gate) view = _newest;
        if (view is null)
        {
            _keys.Check();
            if (_unviewable is { } reason) throw new IOException(reason);
            MakeMaps();
            lock (_gate) view = _newest ??= NewestView();
        }
        return view.HashesAsync(disk, offset, blockBytes, blocks, stop);
    }

    /// <summary>Reads and checks every frame of the log. Of a base only that it is there and as long as its disk: it has no checksums.</summary>
    /// <exception cref="StoreLockedException">It is encrypted, and its keys are not to be had.</exception>
    public IReadOnlyList<StoreDamage> Verify()
    {
        _keys.Check();
        lock (_gate) return [.. _log.Verify((_manifest.Promoted?.Segment ?? 0) + 1), .. _bases.Verify(),
            .. _notes.IsDamaged ? (IEnumerable<StoreDamage>)[new StoreDamage(Path.Combine(Folder, PointNotes.FileName), 0, "which points are protected is not known, so all are kept: protect one of them anew")] : []];
    }

    public void Dispose()
    {
        _ended.Cancel();
        lock (_proving)
        {
            GiveUp();
            _leaves?.Dispose();
        }
        lock (_maintaining)
            lock (_flushing)
                lock (_gate)
                {
                    _log.Dispose();
                    _maps.Dispose();
                    _bases.Dispose();
                    _keys.Dispose();
                }
    }

    void IReplay.Frame(LogEntry entry, Batch prefix, ToldMarker known)
    {
        if (entry.Header.Epoch > _history.Current) BeginUpTo(entry.Header.Epoch, hasFrames: true);
        var points = _history.PointCount;
        _history.Apply(entry, entry.Header.Kind == BatchKind.Marker ? TextOf(entry, known) : default);
        Measure(Readable(entry, prefix), points);
    }

    private ReadOnlySpan<byte> TextOf(LogEntry marker, ToldMarker known)
    {
        try
        {
            return TextOf(_log.ReadFrame(marker.Segment, marker.Offset));
        }
        catch (IOException failure)
        {
            // What may be readable in a moment is not guessed.
            if (known(Origins) is var (text, isSure) && (isSure || _starts.IsDamage(failure, marker.Segment.Number, marker.Offset))) return text;
            throw;
        }
    }

    bool IReplay.Segment(SegmentEnd end)
    {
        if (end.Epoch > _history.Current.Value) BeginUpTo(new Epoch(end.Epoch), hasFrames: true);
        Restore(end);
        return _history.TryRestore(end);
    }

    private void Begin(EpochRecord epoch)
    {
        // Each epoch in segments of its own, so that what is to be known of one needs no frames.
        _log.Seal();
        // Read before it is on the disk: what fails then has begun nothing, and is tried again.
        var planned = _history.Plan(epoch);
        Save(_manifest with { Epochs = [.. _manifest.Epochs, epoch] });
        _history.Begin(planned);
        (Durable, DurableSequence, _newest) = (_history.Held, _history.NewestOfSource, null);
        _tail = null;
    }

    /// <summary>Nothing comes to lie over what the manifest may say otherwise.</summary>
    private void SaveUnsure()
    {
        try
        {
            Save(_manifest);
        }
        catch (IOException failure)
        {
            _log.Fail(failure);
            throw;
        }
    }

    /// <summary>Where epochs have forked.</summary>
    private IEnumerable<(Epoch, Sequence)> Origins => _manifest.Epochs.Where(e => e.ForkedFromEpoch > 0).Select(e => (new Epoch(e.ForkedFromEpoch), new Sequence(e.ForkedFromSequence)));

    /// <param name="hasFrames">The last of them.</param>
    private void BeginUpTo(Epoch epoch, bool hasFrames)
    {
        foreach (var next in _manifest.Epochs)
            if (next.Epoch > _history.Current.Value && next.Epoch <= epoch.Value) _history.Begin(PlanAgain(next, hasFrames));
    }

    /// <summary>
    /// Where what an epoch forks from was lost with the end of the log, it goes on from what is left, with a gap: nothing of it is viewable before all of it was sent.
    /// Its frames, and those of epochs behind it, lie over that then, so the manifest says so before there are any.
    /// </summary>
    /// <exception cref="UnfoundedEpochException">What it forks from is there, but cannot be viewed any more, and frames lie over that.</exception>
    private StoreHistory.Beginning PlanAgain(EpochRecord epoch, bool hasFrames)
    {
        try
        {
            return _history.Plan(epoch);
        }
        catch (InvalidDataException) when (epoch.ForkedFromEpoch != 0 && _history.Knows(new Epoch(epoch.ForkedFromEpoch)))
        {
            var (origin, at) = (new Epoch(epoch.ForkedFromEpoch), new Sequence(epoch.ForkedFromSequence));
            if (hasFrames && _history.Holds(origin, at))
            {
                throw new UnfoundedEpochException($"epoch {epoch.Epoch} forks from {RecoveryPoint.IdOf(origin, at)}, and nothing tells any more that this was whole. "
                    + $"Put back what was lost of epoch {origin}; or, where its segments are whole, move their .end away: they are made anew");
            }
            var continued = epoch with { ForkedFromEpoch = 0, ForkedFromSequence = 0, ContinuesAfter = epoch.ForkedFromEpoch };
            var planned = _history.Plan(continued);
            // What is damaged may be put back; nothing comes to lie over such a log.
            if (!_readOnly && _log.FailedReason is null) (_manifest, _isUnsure) = (_manifest with { Epochs = [.. _manifest.Epochs.Select(e => e == epoch ? continued : e)] }, true);
            return planned;
        }
    }

    private void CheckExtents(Batch batch)
    {
        for (var i = 0; i < batch.Header.ExtentCount; i++)
        {
            var extent = batch.ExtentAt(i);
            var size = _manifest.Disks.FirstOrDefault(d => d.Index == extent.Disk)?.SizeBytes ?? -1;
            if (extent.Offset > size - extent.Length) throw new InvalidDataException($"extent at {extent.Offset} lies outside disk {extent.Disk}");
        }
    }

    internal static ReadOnlySpan<byte> TextOf(Batch batch)
    {
        if (batch.Header.Kind != BatchKind.Marker) return default;
        if (batch.Header.Compression == PayloadCompression.None) return batch.StoredPayload.Span;
        var text = new byte[batch.Header.RawBytes];
        BatchCodec.Decompress(batch, text);
        return text;
    }
}
