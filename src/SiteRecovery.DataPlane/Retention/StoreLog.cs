using System.Buffers.Binary;
using System.Collections.Concurrent;
using System.IO.Hashing;
using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.DataPlane.Keys;
using SiteRecovery.DataPlane.Storage;

namespace SiteRecovery.DataPlane.Retention;

/// <summary>The segments of a store. Appending is not safe for concurrent calls; reading frames is.</summary>
internal sealed partial class StoreLog(string folder, IFileSystem files, ulong tag, bool readOnly, StoreOptions options, StoreKeys keys) : IDisposable
{
    private readonly ConcurrentDictionary<SegmentId, Lazy<IBlockFile>> _open = new();
    private readonly ConcurrentDictionary<int, SegmentId> _present = new(); // by number, the last one too
    private readonly List<StoreDamage> _damage = [];
    private readonly List<IBlockFile> _sealed = [];
    private IBlockFile? _tail;
    /// <summary>Of a mark that is forgotten with the power, rot in front of it is taken for a torn tail.</summary>
    private const int FlushesPerMark = 16;
    private IBlockFile? _mark;
    private readonly Lock _syncing = new(); // taken in the order of the store's gate, this
    private IOException? _unsynced; // under _syncing; such a log is opened anew
    private long _flushes;
    private SegmentIndex _index = new(tag, 1);
    private int _segment;
    private int _frames; // in the last segment, as its extents
    private long _extents, _end;
    private readonly Dictionary<int, long> _lengths = []; // of sealed segments
    private long _sealedBytes;
    private bool _unflushed, _lastIsSealed;
    private const int ReadAheadBytes = 4 << 20;
    private long _readUpTo; // where the frame that was read last ended

    private static long PlaceOf(SegmentId segment, long offset) => ((long)segment.Number << 40) + offset;

    internal long Bytes => _sealedBytes + _end;
    /// <summary>What is to be known of a segment that ends at so many bytes; null: nothing that could be kept.</summary>
    internal required Func<int, long, SegmentEnd?> Sealing { get; init; }
    internal long CutBytes { get; private set; }
    internal string? FailedReason { get; private set; }
    /// <summary>Of the same, where it was a write that failed.</summary>
    internal string? WriteFailure { get; private set; }
    /// <summary>Perhaps for what could not be read, which it may be again.</summary>
    internal bool HasGivenUp => options.GivesUpUnreadable && FailedReason is not null;
    internal IReadOnlyList<StoreDamage> Damage => _damage;
    private string LogFolder => Path.Combine(folder, "log");
    private string MarkPath => Path.Combine(LogFolder, "SYNCED");

    internal LogEntry Append(Batch batch)
    {
        if (FailedReason is not null) throw new IOException("the store takes no writes: " + FailedReason);
        if (readOnly) throw new IOException("the store is open read-only");
        var stored = batch;
        try
        {
            if (_tail is null || IsFull()) StartSegment();
            stored = AsStored(batch, _segment);
            _tail!.Write(_end, stored.Frame.Span);
        }
        catch (IOException failure)
        {
            Fail(failure);
            throw;
        }
        var entry = new LogEntry(SegmentId.Of(_segment), _end, stored.Header);
        _index.Add(_end, stored);
        _end += stored.Frame.Length;
        (_frames, _extents, _unflushed) = (_frames + 1, _extents + stored.Header.ExtentCount, true);
        if (stored != batch) FramePool.Shared.Return(stored.Frame);
        return entry;
    }

    /// <summary>Whether what is written is encrypted.</summary>
    internal bool Encrypts { get; set; }

    /// <summary>A frame as it is written: itself, or encrypted, in an array of the frame pool.</summary>
    /// <param name="first">The first segment of those that what it is written to stands for.</param>
    internal Batch AsStored(Batch batch, int first) =>
        Encrypts && batch.Header is { Kind: not BatchKind.Marker, RawBytes: > 0 } ? BatchCodec.Encrypt(batch, keys.CipherFor(KeyUse.Frames, first)) : batch;

    /// <summary>What one flush makes durable: a segment up to where it ended when the flush began.</summary>
    /// <param name="Mark">What an earlier one has made durable, if that is to be known without power too; null: not now.</param>
    internal readonly record struct Pending(StoreLog Log, IBlockFile File, int Segment, long End, IBlockFile? Mark)
    {
        internal void Flush()
        {
            Log.Sync(File);
            try
            {
                Mark?.Flush();
            }
            catch (IOException)
            {
                // It is a bound: what is not known of it costs no data.
            }
        }
    }

    /// <summary>
    /// One after the other, and none behind one that failed: whoever seals or protects flushes beside whoever flushes, and of two flushes at once only one hears of what was not written; the other would vouch for it.
    /// </summary>
    private void Sync(IBlockFile file)
    {
        lock (_syncing)
        {
            if (_unsynced is { } before) throw new IOException("a flush before this one failed: " + before.Message, before);
            try
            {
                file.Flush();
            }
            catch (IOException failure)
            {
                _unsynced = failure;
                throw;
            }
        }
    }

    /// <summary>What has to be flushed, or null. Appending may go on while the file is flushed; then comes <see cref="EndFlush"/>.</summary>
    internal Pending? BeginFlush()
    {
        if (FailedReason is not null) throw new IOException("the store takes no writes: " + FailedReason);
        return _unflushed ? new Pending(this, _tail!, _segment, _end, ++_flushes % FlushesPerMark == 0 ? _mark : null) : null;
    }

    /// <param name="failure">Null: it worked. What a failed flush left in the page cache is unknown: only a new opening finds out.</param>
    internal void EndFlush(Pending flushed, IOException? failure)
    {
        if (failure is not null) Fail(failure);
        // A segment that was sealed meanwhile was flushed for that.
        else if (flushed.Segment == _segment)
        {
            _unflushed = _end > flushed.End;
            WriteMark(flushed.End);
        }
    }

    internal void Flush()
    {
        if (BeginFlush() is not { } pending) return;
        IOException? failed = null;
        try
        {
            pending.Flush();
        }
        catch (IOException failure)
        {
            failed = failure;
            throw;
        }
        finally
        {
            EndFlush(pending, failed);
        }
    }

    /// <summary>Closes the files of sealed segments; no flush may be under way.</summary>
    internal void CloseSealed()
    {
        foreach (var file in _sealed) file.Dispose();
        _sealed.Clear();
    }

    /// <summary>Reads a frame as it came, into an array of the frame pool, and checks all of it.</summary>
    internal Batch ReadFrame(SegmentId segment, long offset) => ReadFrame(segment, offset, out _);

    /// <param name="encrypted">Whether it lies there otherwise than it is returned.</param>
    internal Batch ReadFrame(SegmentId segment, long offset, out bool encrypted)
    {
        var batch = Load(segment, offset, out var frame);
        if (!(encrypted = batch.Header.Encrypted)) return batch;
        try
        {
            return BatchCodec.Decrypt(batch, frame, keys.CipherFor(KeyUse.Frames, segment.First));
        }
        catch (InvalidDataException damage)
        {
            throw DamagedAt(segment, offset, damage);
        }
    }

    /// <summary>Reads a frame and checks all of it, but does not look into what is encrypted.</summary>
    /// <exception cref="IOException">It is damaged.</exception>
    internal void CheckFrame(SegmentId segment, long offset) => FramePool.Shared.Return(Load(segment, offset, out _).Frame);

    private static IOException DamagedAt(SegmentId segment, long offset, InvalidDataException damage) => new($"segment {segment.Number} is damaged at offset {offset}: {damage.Message}", damage);

    private Batch Load(SegmentId segment, long offset, out Memory<byte> frame)
    {
        try
        {
            Span<byte> prefix = stackalloc byte[BatchCodec.HeaderBytes];
            var file = FileOf(segment);
            file.Read(offset, prefix);
            var length = BatchCodec.ReadHeader(prefix).FrameBytes;
            // Frames that are read in the order of the log: while one is checked and decompressed the next ones come.
            if (Interlocked.Exchange(ref _readUpTo, PlaceOf(segment, offset + length)) == PlaceOf(segment, offset)) file.Expect(offset + length, ReadAheadBytes);
            frame = FramePool.Shared.Rent(length).AsMemory(0, length);
            return Checked(file, offset, frame);
        }
        catch (InvalidDataException damage)
        {
            throw DamagedAt(segment, offset, damage);
        }
    }

    /// <summary>What is damaged is read again and again until it is mended: its array goes back to the pool as well.</summary>
    private Batch Checked(IBlockFile file, long offset, Memory<byte> frame)
    {
        var isWhole = false;
        try
        {
            file.Read(offset, frame.Span);
            var batch = BatchCodec.Verify(frame);
            isWhole = batch.Header.MachineTag == tag;
            return isWhole ? batch : throw new InvalidDataException("a frame of another machine");
        }
        finally
        {
            if (!isWhole) FramePool.Shared.Return(frame);
        }
    }

    internal void ReadRaw(SegmentId segment, long offset, Span<byte> into) => FileOf(segment).Read(offset, into);

    /// <summary>The frames of a segment without their payloads, in log order: all of them.</summary>
    /// <exception cref="IOException">The segment's index is damaged, and so is the segment.</exception>
    internal List<(long Offset, Batch Prefix)> FramesOf(SegmentId segment)
    {
        var bytes = IsTail(segment.Number) ? _index.ToBytes() : TryReadMade(IndexPath(segment));
        if (SegmentIndex.TryRead(bytes, tag, segment.Number) is { } frames) return frames;
        var (found, end, reason) = ScanSealed(segment);
        return reason is null ? found : throw new IOException($"segment {segment.Number} is damaged at offset {end}: {reason}", new InvalidDataException(reason));
    }

    internal IEnumerable<LogEntry> EntriesOf(int number) => IdOf(number) is var segment ? FramesOf(segment).Select(f => new LogEntry(segment, f.Offset, f.Prefix.Header)) : [];

    /// <summary>Those of the frames that have extents, with their prefixes.</summary>
    internal IEnumerable<(FramePosition Position, LogEntry Entry, Batch Prefix)> PrefixesOf(FramePosition from, FramePosition to)
    {
        for (var number = from.Segment; number <= Math.Min(to.Segment, _segment); number++)
        {
            if (number == to.Segment && to.Index == 0 || !_present.TryGetValue(number, out var segment)) continue;
            var first = number == from.Segment ? from.Index : 0;
            foreach (var frame in PrefixesOf(segment, first, number == to.Segment ? to.Index : int.MaxValue)) yield return frame;
        }
    }

    /// <summary>Those of a segment's frames from one on that have extents.</summary>
    /// <exception cref="IOException">It has not so many; or it and its index are damaged.</exception>
    internal IEnumerable<(FramePosition Position, LogEntry Entry, Batch Prefix)> PrefixesOf(SegmentId segment, int first = 0, int end = int.MaxValue)
    {
        var frames = FramesOf(segment);
        if (end != int.MaxValue && end > frames.Count) throw OtherFrames(segment.Number, frames.Count, end);
        for (var i = first; i < Math.Min(end, frames.Count); i++)
            if (frames[i].Prefix.Header.ExtentCount > 0) yield return (new FramePosition(segment.Number, i), new LogEntry(segment, frames[i].Offset, frames[i].Prefix.Header), frames[i].Prefix);
    }

    /// <summary>Two files of a segment, each whole by its checksum, do not agree; what one of them leaves out must not be missing from a view without a word.</summary>
    internal static IOException OtherFrames(int segment, int found, int expected) => new(
        $"segment {segment} is damaged: it has {found} frames, and {expected} are expected of it. Move its .end, .idx and .map away: they are made anew from the segment", new InvalidDataException("other frames than expected"));

    internal IReadOnlyList<StoreDamage> Verify(int first)
    {
        var found = new List<StoreDamage>();
        var next = first;
        foreach (var segment in Listed().Where(s => s.Number >= first))
        {
            if (segment.First > next) found.Add(new StoreDamage(PathOf(SegmentId.Of(next)), 0, "the segment is missing"));
            next = segment.Number + 1;
            var (end, reason) = Check(segment);
            if (reason is not null && (segment.Number != _segment || end < _end)) found.Add(new StoreDamage(PathOf(segment), end, reason));
            if (files.Exists(IndexPath(segment)) && SegmentIndex.TryRead(TryReadMade(IndexPath(segment)), tag, segment.Number) is null)
                found.Add(new StoreDamage(IndexPath(segment), 0, "index is damaged; it is rebuilt from the segment"));
        }
        return [.. found.Concat(_damage).Concat(Aside()).DistinctBy(d => (d.File, d.Offset))];
    }

    /// <summary>That one cannot be read says nothing of the others.</summary>
    private (long End, string? Reason) Check(SegmentId segment)
    {
        try
        {
            return SegmentFile.Scan(FileOf(segment), tag, segment, null, givesUp: true);
        }
        catch (IOException unopened)
        {
            return (0, "it cannot be opened: " + unopened.Message);
        }
    }

    public void Dispose()
    {
        CloseSealed();
        _tail?.Dispose();
        _mark?.Dispose();
        foreach (var file in _open.Values)
            if (file.IsValueCreated) file.Value.Dispose();
    }

    /// <summary>No write is taken any more, until it is opened anew.</summary>
    internal void Fail(Exception failure) => FailedReason ??= WriteFailure = failure.Message;

    internal long BytesOf(SegmentId segment)
    {
        lock (_lengths)
            if (_present.TryGetValue(segment.Number, out var now) && now == segment && _lengths.TryGetValue(segment.Number, out var bytes)) return bytes;
        return FileOf(segment).LengthBytes;
    }

    private void Count(int segment, long bytes)
    {
        lock (_lengths) _lengths[segment] = bytes;
        _sealedBytes += bytes;
    }

    internal bool IsTail(int segment) => segment == _segment && !_lastIsSealed;

    /// <summary>The file that has a segment's frames now.</summary>
    /// <exception cref="IOException">There is none of that number any more.</exception>
    internal SegmentId IdOf(int number) => _present.TryGetValue(number, out var segment) ? segment : throw new IOException($"segment {number} is missing");

    internal bool HasHeader(SegmentId segment) => SegmentFile.StepOf(FileOf(segment), tag, segment) is not null;

    internal bool Has(int number) => _present.ContainsKey(number);

    internal bool Has(SegmentId segment) => _present.TryGetValue(segment.Number, out var now) && now == segment;

    internal string PathOf(SegmentId segment, string extension = ".seg") => SegmentFile.PathOf(folder, segment, extension);

    private string EndPath(SegmentId segment) => PathOf(segment, ".end");

    private string IndexPath(SegmentId segment) => PathOf(segment, ".idx");

    /// <summary>A file that was made from a segment. One that cannot be read is as good as none: it is made again, in other sectors.</summary>
    private byte[]? TryReadMade(string path)
    {
        try
        {
            return files.TryReadAll(path);
        }
        catch (IOException)
        {
            return null;
        }
    }

    /// <exception cref="IOException">It cannot be opened just now.</exception>
    internal void Open(SegmentId segment) => FileOf(segment);

    private IBlockFile FileOf(SegmentId segment)
    {
        var file = _open.GetOrAdd(segment, n => new Lazy<IBlockFile>(() => files.Open(PathOf(n), FileOpening.Read)));
        try
        {
            return file.Value;
        }
        catch (IOException)
        {
            // It would say so for ever.
            _open.TryRemove(KeyValuePair.Create(segment, file));
            throw;
        }
    }

    private bool IsFull() => _end >= options.SegmentBytesMax || _frames >= options.SegmentFramesMax || _extents >= options.SegmentExtentsMax;

    /// <summary>Ends the last segment: what comes is in another. Durable when it returns; no flush may be under way.</summary>
    internal void Seal()
    {
        if (_tail is null) return;
        Flush();
        files.Replace(IndexPath(SegmentId.Of(_segment)), _index.ToBytes());
        if (Sealing(_segment, _end) is { } end) files.Replace(EndPath(SegmentId.Of(_segment)), end.ToBytes());
        _sealed.Add(_tail);
        (_tail, _lastIsSealed) = (null, true);
        Count(_segment, _end);
        _end = 0;
    }

    private void StartSegment()
    {
        Seal();
        var next = SegmentId.Of(_segment + 1);
        var tail = files.Open(PathOf(next), FileOpening.Create);
        tail.SetLength(0);
        tail.Write(0, SegmentFile.Header(tag, next, TimeSpan.Zero));
        tail.Flush();
        files.FlushFolder(LogFolder);
        (_tail, _segment, _end, _index) = (tail, next.Number, SegmentFile.HeaderBytesOf(next), new SegmentIndex(tag, next.Number));
        _present[next.Number] = next;
        (_frames, _extents, _lastIsSealed) = (0, 0, false);
        WriteMark(_end);
    }

    private void NoteDamage(SegmentId segment, long offset, string reason)
    {
        _damage.Add(new StoreDamage(PathOf(segment), offset, reason));
        FailedReason ??= $"segment {segment.Number} is damaged at offset {offset}: {reason}";
    }

    /// <summary>A lower bound of what was flushed: damage below it is damage, not a torn tail.</summary>
    private void WriteMark(long end)
    {
        Span<byte> mark = stackalloc byte[24];
        BinaryPrimitives.WriteInt64LittleEndian(mark, _segment);
        BinaryPrimitives.WriteInt64LittleEndian(mark[8..], end);
        BinaryPrimitives.WriteUInt64LittleEndian(mark[16..], XxHash3.HashToUInt64(mark[..16]));
        try
        {
            (_mark ??= OpenMark()).Write(0, mark);
        }
        catch (IOException)
        {
            // It is a bound: an older one, or none, takes more for a torn tail; a source that was told otherwise says so.
            ForgetMark();
        }
    }

    /// <summary>Of a page that cannot be read no part can be written: the next one is written into a file of its own.</summary>
    private void ForgetMark()
    {
        if (_mark is not null) _sealed.Add(_mark); // a flush of it may be under way
        try
        {
            files.Delete(MarkPath);
        }
        catch (IOException)
        {
            // Then it is tried again the next time.
        }
        _mark = null;
    }

    private IBlockFile OpenMark()
    {
        // A part of a page that cannot be read cannot be written either.
        if (options.GivesUpUnreadable && files.Exists(MarkPath) && TryReadMade(MarkPath) is null)
        {
            files.Delete(MarkPath);
            files.Open(MarkPath, FileOpening.Create).Dispose();
            files.FlushFolder(LogFolder);
        }
        return files.Open(MarkPath, FileOpening.Create);
    }

    private long SyncedEnd(int segment)
    {
        // It may be readable in a moment, and without it rot looks like a torn tail.
        var mark = options.GivesUpUnreadable || readOnly ? TryReadMade(MarkPath) : files.TryReadAll(MarkPath);
        if (mark is not { Length: >= 24 } || XxHash3.HashToUInt64(mark.AsSpan(0, 16)) != BinaryPrimitives.ReadUInt64LittleEndian(mark.AsSpan(16))) return 0;
        return BinaryPrimitives.ReadInt64LittleEndian(mark) == segment ? BinaryPrimitives.ReadInt64LittleEndian(mark.AsSpan(8)) : 0;
    }
}
