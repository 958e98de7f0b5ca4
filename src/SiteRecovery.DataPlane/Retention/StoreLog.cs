using System.Buffers.Binary;
using System.Collections.Concurrent;
using System.IO.Hashing;
using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.DataPlane.Storage;

namespace SiteRecovery.DataPlane.Retention;

/// <summary>The segments of a store. Appending is not safe for concurrent calls; reading frames is.</summary>
internal sealed class StoreLog(string folder, IFileSystem files, ulong tag, bool readOnly) : IDisposable
{
    internal const long SegmentBytesMax = 256 << 20;
    private readonly ConcurrentDictionary<int, Lazy<IBlockFile>> _open = new();
    private readonly List<StoreDamage> _damage = [];
    private readonly List<IBlockFile> _sealed = [];
    private IBlockFile? _tail;
    private IBlockFile? _mark;
    private SegmentIndex _index = new(tag, 1);
    private int _segment;
    private long _end;
    private long _sealedBytes;
    private bool _unflushed;

    internal long Bytes => _sealedBytes + _end;
    internal long CutBytes { get; private set; }
    internal string? FailedReason { get; private set; }
    internal IReadOnlyList<StoreDamage> Damage => _damage;
    private string MarkPath => Path.Combine(folder, "log", "SYNCED");

    internal void Recover(Action<LogEntry, Batch> replay)
    {
        var last = LastSegment();
        for (var segment = 1; segment < last; segment++) ReplaySealed(segment, replay);
        if (last > 0) RecoverTail(last, replay);
    }

    internal LogEntry Append(Batch batch)
    {
        if (FailedReason is not null) throw new IOException("the store takes no writes: " + FailedReason);
        if (readOnly) throw new IOException("the store is open read-only");
        try
        {
            if (_tail is null || _end >= SegmentBytesMax) StartSegment();
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
        _unflushed = true;
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
    internal Batch ReadFrame(LogEntry entry)
    {
        var frame = FramePool.Shared.Rent(entry.Header.FrameBytes).AsMemory(0, entry.Header.FrameBytes);
        try
        {
            FileOf(entry.Segment).Read(entry.Offset, frame.Span);
            var batch = BatchCodec.Verify(frame);
            if (batch.Header == entry.Header) return batch;
            throw new InvalidDataException("another frame than the index says");
        }
        catch (InvalidDataException damage)
        {
            throw new IOException($"segment {entry.Segment} is damaged at offset {entry.Offset}: {damage.Message}", damage);
        }
    }

    internal void ReadRaw(LogEntry entry, int rawOffset, Span<byte> into) => FileOf(entry.Segment).Read(
        entry.Offset + BatchCodec.HeaderBytes + entry.Header.ExtentCount * BatchCodec.ExtentBytes + rawOffset, into);

    internal List<(long Offset, Batch Prefix)> FramesOf(int segment)
    {
        var bytes = segment == _segment ? _index.ToBytes() : files.TryReadAll(IndexPath(segment));
        return SegmentIndex.TryRead(bytes, tag, segment) ?? ScanSealed(segment);
    }

    /// <summary>Those of the entries that have extents, with their prefixes.</summary>
    internal IEnumerable<(int Index, LogEntry Entry, Batch Prefix)> PrefixesOf(IReadOnlyList<LogEntry> entries, int from, int to)
    {
        var (segment, prefixes) = (0, new Dictionary<long, Batch>());
        for (var i = from; i <= to; i++)
        {
            if (entries[i].Header.ExtentCount == 0) continue;
            if (entries[i].Segment != segment) prefixes = FramesOf(segment = entries[i].Segment).ToDictionary(f => f.Offset, f => f.Prefix);
            yield return (i, entries[i], prefixes[entries[i].Offset]);
        }
    }

    internal IReadOnlyList<StoreDamage> Verify()
    {
        var found = new List<StoreDamage>();
        for (var segment = 1; segment <= LastSegment(); segment++)
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

    private string IndexPath(int segment) => Path.ChangeExtension(SegmentFile.PathOf(folder, segment), ".idx");

    private IBlockFile FileOf(int segment) =>
        _open.GetOrAdd(segment, n => new Lazy<IBlockFile>(() => files.Open(SegmentFile.PathOf(folder, n), FileOpening.Read))).Value;

    private void StartSegment()
    {
        if (_tail is not null)
        {
            Flush();
            files.Replace(IndexPath(_segment), _index.ToBytes());
            _sealed.Add(_tail);
            _tail = null;
            _sealedBytes += _end;
            _end = 0;
        }
        var tail = files.Open(SegmentFile.PathOf(folder, _segment + 1), FileOpening.Create);
        tail.SetLength(0);
        tail.Write(0, SegmentFile.Header(tag, _segment + 1));
        tail.Flush();
        files.FlushFolder(Path.Combine(folder, "log"));
        (_tail, _segment, _end, _index) = (tail, _segment + 1, SegmentFile.HeaderBytes, new SegmentIndex(tag, _segment + 1));
        WriteMark(_end);
    }

    private void ReplaySealed(int segment, Action<LogEntry, Batch> replay)
    {
        if (!files.Exists(SegmentFile.PathOf(folder, segment)))
        {
            NoteDamage(segment, 0, "the segment is missing");
            return;
        }
        if (_damage.Count > 0) return; // what follows damage has no known base
        _sealedBytes += FileOf(segment).LengthBytes;
        var frames = SegmentIndex.TryRead(files.TryReadAll(IndexPath(segment)), tag, segment) ?? ScanSealed(segment);
        foreach (var (offset, prefix) in frames) replay(new LogEntry(segment, offset, prefix.Header), prefix);
    }

    private List<(long, Batch)> ScanSealed(int segment)
    {
        var (frames, index) = (new List<(long, Batch)>(), new SegmentIndex(tag, segment));
        var (end, reason) = SegmentFile.Scan(FileOf(segment), tag, segment, (offset, batch) => Collect(frames, index, offset, batch));
        if (reason is not null) NoteDamage(segment, end, reason);
        else if (!readOnly) files.Replace(IndexPath(segment), index.ToBytes());
        return frames;
    }

    private static void Collect(List<(long, Batch)> frames, SegmentIndex index, long offset, Batch batch)
    {
        index.Add(offset, batch);
        var prefix = BatchCodec.HeaderBytes + batch.Header.ExtentCount * BatchCodec.ExtentBytes;
        frames.Add((offset, new Batch(batch.Header, batch.Frame[..prefix].ToArray())));
    }

    private void RecoverTail(int segment, Action<LogEntry, Batch> replay)
    {
        (_segment, _index) = (segment, new SegmentIndex(tag, segment));
        if (_damage.Count > 0) return;
        var file = FileOf(segment);
        var (end, reason) = SegmentFile.Scan(file, tag, segment, (offset, batch) =>
        {
            _index.Add(offset, batch);
            replay(new LogEntry(segment, offset, batch.Header), batch);
        });
        _end = end;
        if (reason is not null && end < SyncedEnd(segment))
        {
            NoteDamage(segment, end, reason);
            return;
        }
        CutBytes = file.LengthBytes - end;
        if (readOnly) return;
        _tail = files.Open(SegmentFile.PathOf(folder, segment), FileOpening.ReadWrite);
        if (end == 0)
        {
            _tail.Write(0, SegmentFile.Header(tag, segment));
            _end = SegmentFile.HeaderBytes;
        }
        _tail.SetLength(_end);
        _tail.Flush();
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
