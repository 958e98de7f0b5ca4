using System.IO.Hashing;
using SiteRecovery.DataPlane.Blocks;

namespace SiteRecovery.DataPlane.Retention;

/// <summary>All disks of a machine at one position. Read-only; never returns bytes that it has not checked.</summary>
public sealed class StoreView
{
    private const long CacheBytesMax = 32 << 20;
    private const int HashedAtOnceBytes = 64 << 10;
    private readonly Lock _gate = new();
    private readonly StoreLog _log;
    private readonly Dictionary<ushort, ExtentMap> _maps;
    private readonly Dictionary<int, LogEntry> _frames = [];
    private readonly Dictionary<int, LinkedListNode<(int Frame, byte[] Raw)>> _cache = [];
    private readonly LinkedList<(int Frame, byte[] Raw)> _recent = new();
    private readonly HashSet<int> _verified = [];
    private long _cacheBytes;

    internal StoreView(StoreLog log, IReadOnlyList<DiskRecord> disks, IReadOnlyList<LogEntry> entries, List<(int From, int To, long Limit)> ranges)
    {
        (_log, Disks, _maps) = (log, disks, disks.ToDictionary(d => d.Index, _ => new ExtentMap()));
        var segment = 0;
        Dictionary<long, Batch> prefixes = [];
        foreach (var (from, to, limit) in ranges)
            for (var i = from; i <= to; i++)
            {
                if (entries[i].Header.ExtentCount == 0) continue;
                if (entries[i].Segment != segment) prefixes = log.FramesOf(segment = entries[i].Segment).ToDictionary(f => f.Offset, f => f.Prefix);
                Add(i, entries[i], prefixes[entries[i].Offset], i == to ? limit : long.MaxValue);
            }
    }

    public IReadOnlyList<DiskRecord> Disks { get; }

    public IBlockDevice Disk(ushort index) => new StoreViewDisk(this, Disks.First(d => d.Index == index));

    internal void Extend(int index, LogEntry entry, Batch batch)
    {
        lock (_gate) Add(index, entry, batch, long.MaxValue);
    }

    internal void Read(ushort disk, long offset, Span<byte> into)
    {
        List<(long Offset, int Length, int Frame, int RawOffset)> cover;
        lock (_gate) cover = _maps[disk].Cover(offset, into.Length);
        foreach (var run in cover)
        {
            var part = into.Slice((int)(run.Offset - offset), run.Length);
            if (run.RawOffset < 0) part.Clear();
            else ReadFrame(run.Frame, run.RawOffset, part);
        }
    }

    internal IReadOnlyList<BlockStatusExtent> Status(ushort disk, long offset, long length)
    {
        lock (_gate)
        {
            var merged = new List<BlockStatusExtent>();
            foreach (var run in _maps[disk].Cover(offset, length))
            {
                var hole = run.RawOffset < 0;
                if (merged.Count > 0 && merged[^1].Hole == hole) merged[^1] = merged[^1] with { Length = merged[^1].Length + run.Length };
                else merged.Add(new BlockStatusExtent(run.Length, hole, hole));
            }
            return merged;
        }
    }

    internal ValueTask<ulong[]> HashesAsync(ushort disk, long offset, int blockBytes, int blocks, CancellationToken stop)
    {
        var size = Disks.First(d => d.Index == disk).SizeBytes;
        var atOnce = Math.Max(1, HashedAtOnceBytes / blockBytes);
        var (hashes, buffer) = (new ulong[blocks], new byte[Math.Min(atOnce, Math.Max(1, blocks)) * blockBytes]);
        for (var first = 0; first < blocks; first += atOnce)
        {
            stop.ThrowIfCancellationRequested();
            var at = offset + (long)first * blockBytes;
            var read = buffer.AsSpan(0, (int)Math.Clamp(size - at, 0, (long)Math.Min(atOnce, blocks - first) * blockBytes));
            Read(disk, at, read);
            for (var i = first; i < Math.Min(first + atOnce, blocks); i++)
            {
                var from = Math.Min(read.Length, (i - first) * blockBytes);
                var block = read[from..Math.Min(read.Length, from + blockBytes)];
                hashes[i] = block.ContainsAnyExcept((byte)0) ? XxHash3.HashToUInt64(block) : 0;
            }
        }
        return ValueTask.FromResult(hashes);
    }

    private void Add(int index, LogEntry entry, Batch batch, long limit)
    {
        var (header, raw) = (entry.Header, 0);
        for (var i = 0; i < header.ExtentCount; i++)
        {
            if (header is { Kind: BatchKind.Delta, Coalesced: false } && header.First.Value + i > limit) break;
            var extent = batch.ExtentAt(i);
            var data = extent.Kind == ExtentKind.Data;
            _maps[extent.Disk].Set(extent.Offset, extent.Length, index, data ? raw : -1);
            if (data) raw += extent.Length;
        }
        _frames[index] = entry;
    }

    private void ReadFrame(int frame, int rawOffset, Span<byte> into)
    {
        LogEntry entry;
        lock (_gate)
        {
            entry = _frames[frame];
            if (_cache.TryGetValue(frame, out var node))
            {
                _recent.Remove(node);
                _recent.AddFirst(node);
                node.Value.Raw.AsSpan(rawOffset, into.Length).CopyTo(into);
                return;
            }
        }
        if (entry.Header.Compression == PayloadCompression.None && IsVerified(frame))
        {
            _log.ReadRaw(entry, rawOffset, into);
            return;
        }
        var raw = Load(entry);
        raw.AsSpan(rawOffset, into.Length).CopyTo(into);
        Keep(frame, raw);
    }

    private bool IsVerified(int frame)
    {
        lock (_gate) return _verified.Contains(frame);
    }

    private byte[] Load(LogEntry entry)
    {
        var raw = GC.AllocateUninitializedArray<byte>(entry.Header.RawBytes);
        try
        {
            var frame = _log.ReadFrame(entry);
            BatchCodec.Decompress(frame, raw);
            FramePool.Shared.Return(frame.Frame);
            return raw;
        }
        catch (InvalidDataException damage)
        {
            throw new IOException($"segment {entry.Segment} is damaged at offset {entry.Offset}: {damage.Message}", damage);
        }
    }

    private void Keep(int frame, byte[] raw)
    {
        lock (_gate)
        {
            _verified.Add(frame);
            if (_cache.ContainsKey(frame)) return;
            _cache[frame] = _recent.AddFirst((frame, raw));
            _cacheBytes += raw.Length;
            while (_cacheBytes > CacheBytesMax && _recent.Last is { } oldest)
            {
                _recent.RemoveLast();
                _cache.Remove(oldest.Value.Frame);
                _cacheBytes -= oldest.Value.Raw.Length;
            }
        }
    }
}

internal sealed class StoreViewDisk(StoreView view, DiskRecord disk) : IBlockDevice
{
    private const string Reason = "a view of a recovery point is read-only";

    public long SizeBytes => disk.SizeBytes;
    public bool ReadOnly => true;

    public ValueTask ReadAsync(long offset, Memory<byte> into, CancellationToken stop)
    {
        view.Read(disk.Index, offset, into.Span);
        return ValueTask.CompletedTask;
    }

    public ValueTask WriteAsync(long offset, ReadOnlyMemory<byte> from, bool forceUnitAccess, CancellationToken stop) => throw new ReadOnlyDeviceException(Reason);
    public ValueTask WriteZeroesAsync(long offset, long length, bool mayTrim, bool forceUnitAccess, CancellationToken stop) => throw new ReadOnlyDeviceException(Reason);
    public ValueTask FlushAsync(CancellationToken stop) => ValueTask.CompletedTask;
    public ValueTask<IReadOnlyList<BlockStatusExtent>> StatusAsync(long offset, long length, CancellationToken stop) => new(view.Status(disk.Index, offset, length));
    public ValueTask DisposeAsync() => ValueTask.CompletedTask;
}
