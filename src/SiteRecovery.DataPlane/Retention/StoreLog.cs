using System.Buffers.Binary;
using System.Collections.Concurrent;
using System.IO.Hashing;
using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.DataPlane.Storage;

namespace SiteRecovery.DataPlane.Retention;

/// <summary>The segments of a store. Appending is not safe for concurrent calls; reading frames is.</summary>
internal sealed partial class StoreLog(string folder, IFileSystem files, ulong tag, bool readOnly, StoreOptions options) : IDisposable
{
    private readonly ConcurrentDictionary<int, Lazy<IBlockFile>> _open = new();
    private readonly List<StoreDamage> _damage = [];
    private readonly List<IBlockFile> _sealed = [];
    private IBlockFile? _tail;
    private IBlockFile? _mark;
    private SegmentIndex _index = new(tag, 1);
    private int _segment;
    private int _frames; // in the last segment, as its extents
    private long _extents, _end;
    private readonly Dictionary<int, long> _lengths = []; // of sealed segments
    private long _sealedBytes;
    private bool _unflushed, _lastIsSealed;

    internal long Bytes => _sealedBytes + _end;
    /// <summary>What is to be known of a segment that ends at so many bytes; null: nothing that could be kept.</summary>
    internal required Func<int, long, SegmentEnd?> Sealing { get; init; }
    internal long CutBytes { get; private set; }
    internal string? FailedReason { get; private set; }
    internal IReadOnlyList<StoreDamage> Damage => _damage;
    private string MarkPath => Path.Combine(folder, "log", "SYNCED");

    internal LogEntry Append(Batch batch)
    {
        if (FailedReason is not null) throw new IOException("the store takes no writes: " + FailedReason);
        if (readOnly) throw new IOException("the store is open read-only");
        try
        {
            if (_tail is null || IsFull()) StartSegment();
            _tail!.Write(_end, batch.Frame.Span);
        }
        catch (IOException failure)
        {
            Fail(failure);
            throw;
        }
        var entry = new LogEntry(_segment, _end, batch.Header);
        _index.Add(_end, batch);
        _end += batch.Frame.Length;
        (_frames, _extents, _unflushed) = (_frames + 1, _extents + batch.Header.ExtentCount, true);
        return entry;
    }

    /// <summary>What one flush makes durable: a segment up to where it ended when the flush began.</summary>
    internal readonly record struct Pending(IBlockFile File, int Segment, long End);

    /// <summary>What has to be flushed, or null. Appending may go on while the file is flushed; then comes <see cref="EndFlush"/>.</summary>
    internal Pending? BeginFlush()
    {
        if (FailedReason is not null) throw new IOException("the store takes no writes: " + FailedReason);
        return _unflushed ? new Pending(_tail!, _segment, _end) : null;
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
            pending.File.Flush();
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

    /// <summary>Reads a frame, into an array of the frame pool, and checks all of it.</summary>
    internal Batch ReadFrame(int segment, long offset)
    {
        try
        {
            Span<byte> prefix = stackalloc byte[BatchCodec.HeaderBytes];
            var file = FileOf(segment);
            file.Read(offset, prefix);
            var length = BatchCodec.ReadHeader(prefix).FrameBytes;
            var frame = FramePool.Shared.Rent(length).AsMemory(0, length);
            file.Read(offset, frame.Span);
            var batch = BatchCodec.Verify(frame);
            return batch.Header.MachineTag == tag ? batch : throw new InvalidDataException("a frame of another machine");
        }
        catch (InvalidDataException damage)
        {
            throw new IOException($"segment {segment} is damaged at offset {offset}: {damage.Message}", damage);
        }
    }

    internal void ReadRaw(int segment, long offset, Span<byte> into) => FileOf(segment).Read(offset, into);

    /// <summary>The frames of a segment without their payloads, in log order: all of them.</summary>
    /// <exception cref="IOException">The segment's index is damaged, and so is the segment.</exception>
    internal List<(long Offset, Batch Prefix)> FramesOf(int segment)
    {
        var bytes = IsTail(segment) ? _index.ToBytes() : files.TryReadAll(IndexPath(segment));
        if (SegmentIndex.TryRead(bytes, tag, segment) is { } frames) return frames;
        var (found, end, reason) = ScanSealed(segment);
        return reason is null ? found : throw new IOException($"segment {segment} is damaged at offset {end}: {reason}");
    }

    internal IEnumerable<LogEntry> EntriesOf(int segment) => FramesOf(segment).Select(f => new LogEntry(segment, f.Offset, f.Prefix.Header));

    /// <summary>Those of the frames that have extents, with their prefixes.</summary>
    internal IEnumerable<(FramePosition Position, LogEntry Entry, Batch Prefix)> PrefixesOf(FramePosition from, FramePosition to)
    {
        for (var segment = from.Segment; segment <= Math.Min(to.Segment, _segment); segment++)
        {
            if (segment == to.Segment && to.Index == 0 || !Has(segment)) continue;
            var frames = FramesOf(segment);
            for (var i = segment == from.Segment ? from.Index : 0; i < (segment == to.Segment ? Math.Min(to.Index, frames.Count) : frames.Count); i++)
                if (frames[i].Prefix.Header.ExtentCount > 0) yield return (new FramePosition(segment, i), new LogEntry(segment, frames[i].Offset, frames[i].Prefix.Header), frames[i].Prefix);
        }
    }

    internal IReadOnlyList<StoreDamage> Verify(int first)
    {
        var found = new List<StoreDamage>();
        for (var segment = first; segment <= LastSegment(); segment++)
        {
            if (!files.Exists(SegmentFile.PathOf(folder, segment)))
            {
                found.Add(new StoreDamage(SegmentFile.PathOf(folder, segment), 0, "the segment is missing"));
                continue;
            }
            var (end, reason) = SegmentFile.Scan(FileOf(segment), tag, segment, null);
            if (reason is not null && (segment != _segment || end < _end)) found.Add(new StoreDamage(SegmentFile.PathOf(folder, segment), end, reason));
            if (files.TryReadAll(IndexPath(segment)) is { } index && SegmentIndex.TryRead(index, tag, segment) is null)
                found.Add(new StoreDamage(IndexPath(segment), 0, "index is damaged; it is rebuilt from the segment"));
        }
        return [.. found.Concat(_damage).DistinctBy(d => (d.File, d.Offset))];
    }

    public void Dispose()
    {
        CloseSealed();
        _tail?.Dispose();
        _mark?.Dispose();
        foreach (var file in _open.Values) file.Value.Dispose();
    }

    private void Fail(Exception failure) => FailedReason ??= failure.Message;

    private int LastSegment() => files.List(Path.Combine(folder, "log"))
        .Select(p => p.EndsWith(".seg", StringComparison.Ordinal) && int.TryParse(Path.GetFileNameWithoutExtension(p), out var n) ? n : 0)
        .DefaultIfEmpty(0).Max();

    internal long BytesOf(int segment)
    {
        lock (_lengths)
            if (_lengths.TryGetValue(segment, out var bytes)) return bytes;
        return FileOf(segment).LengthBytes;
    }

    private void Count(int segment, long bytes)
    {
        lock (_lengths) _lengths[segment] = bytes;
        _sealedBytes += bytes;
    }

    internal bool IsTail(int segment) => segment == _segment && !_lastIsSealed;

    internal bool HasHeader(int segment)
    {
        var header = new byte[SegmentFile.HeaderBytes];
        FileOf(segment).Read(0, header);
        return header.AsSpan().SequenceEqual(SegmentFile.Header(tag, segment));
    }

    internal bool Has(int segment) => files.Exists(SegmentFile.PathOf(folder, segment));

    private string EndPath(int segment) => Path.ChangeExtension(SegmentFile.PathOf(folder, segment), ".end");

    private string IndexPath(int segment) => Path.ChangeExtension(SegmentFile.PathOf(folder, segment), ".idx");

    private IBlockFile FileOf(int segment) =>
        _open.GetOrAdd(segment, n => new Lazy<IBlockFile>(() => files.Open(SegmentFile.PathOf(folder, n), FileOpening.Read))).Value;

    private bool IsFull() => _end >= options.SegmentBytesMax || _frames >= options.SegmentFramesMax || _extents >= options.SegmentExtentsMax;

    /// <summary>Ends the last segment: what comes is in another. Durable when it returns; no flush may be under way.</summary>
    internal void Seal()
    {
        if (_tail is null) return;
        Flush();
        files.Replace(IndexPath(_segment), _index.ToBytes());
        if (Sealing(_segment, _end) is { } end) files.Replace(EndPath(_segment), end.ToBytes());
        _sealed.Add(_tail);
        (_tail, _lastIsSealed) = (null, true);
        Count(_segment, _end);
        _end = 0;
    }

    private void StartSegment()
    {
        Seal();
        var tail = files.Open(SegmentFile.PathOf(folder, _segment + 1), FileOpening.Create);
        tail.SetLength(0);
        tail.Write(0, SegmentFile.Header(tag, _segment + 1));
        tail.Flush();
        files.FlushFolder(Path.Combine(folder, "log"));
        (_tail, _segment, _end, _index) = (tail, _segment + 1, SegmentFile.HeaderBytes, new SegmentIndex(tag, _segment + 1));
        (_frames, _extents, _lastIsSealed) = (0, 0, false);
        WriteMark(_end);
    }

    private void NoteDamage(int segment, long offset, string reason)
    {
        _damage.Add(new StoreDamage(SegmentFile.PathOf(folder, segment), offset, reason));
        FailedReason ??= $"segment {segment} is damaged at offset {offset}: {reason}";
    }

    /// <summary>A lower bound of what was flushed: damage below it is damage, not a torn tail.</summary>
    private void WriteMark(long end)
    {
        Span<byte> mark = stackalloc byte[24];
        BinaryPrimitives.WriteInt64LittleEndian(mark, _segment);
        BinaryPrimitives.WriteInt64LittleEndian(mark[8..], end);
        BinaryPrimitives.WriteUInt64LittleEndian(mark[16..], XxHash3.HashToUInt64(mark[..16]));
        (_mark ??= files.Open(MarkPath, FileOpening.Create)).Write(0, mark);
    }

    private long SyncedEnd(int segment)
    {
        var mark = files.TryReadAll(MarkPath);
        if (mark is not { Length: >= 24 } || XxHash3.HashToUInt64(mark.AsSpan(0, 16)) != BinaryPrimitives.ReadUInt64LittleEndian(mark.AsSpan(16))) return 0;
        return BinaryPrimitives.ReadInt64LittleEndian(mark) == segment ? BinaryPrimitives.ReadInt64LittleEndian(mark.AsSpan(8)) : 0;
    }
}
