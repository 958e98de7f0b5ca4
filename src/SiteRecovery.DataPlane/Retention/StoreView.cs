using System.IO.Hashing;
using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.DataPlane.Nbd;
using SiteRecovery.DataPlane.Storage;

namespace SiteRecovery.DataPlane.Retention;

/// <summary>All disks of a machine at one position. Read-only; never returns bytes that it has not checked.</summary>
public sealed class StoreView
{
    private const long CacheBytesMax = 32 << 20;
    private const int HashedAtOnceBytes = 64 << 10, RunBytesMax = 64 << 20;
    private readonly Lock _gate = new();
    private readonly StoreLog _log;
    private readonly BaseImages _bases;
    private readonly Dictionary<ushort, ExtentMap> _maps;
    private readonly Dictionary<int, LogEntry> _frames = [];
    private readonly Dictionary<int, LinkedListNode<(int Frame, byte[] Raw)>> _cache = [];
    private readonly LinkedList<(int Frame, byte[] Raw)> _recent = new();
    private readonly HashSet<int> _verified = [];
    private long _cacheBytes;

    internal StoreView(StoreLog log, BaseImages bases, IReadOnlyList<LogEntry> entries, List<(int From, int To, long Limit)> ranges)
    {
        (_log, _bases, _maps) = (log, bases, bases.Disks.ToDictionary(d => d.Index, _ => new ExtentMap()));
        foreach (var (from, to, limit) in ranges)
            foreach (var (i, entry, prefix) in log.PrefixesOf(entries, from, to)) Add(i, entry, prefix, i == to ? limit : long.MaxValue);
    }

    public IReadOnlyList<DiskRecord> Disks => _bases.Disks;

    /// <summary>A disk as a file that refuses writes. Disposing it does nothing.</summary>
    public IBlockFile File(ushort index) => new StoreViewFile(this, Disks.First(d => d.Index == index));

    public IBlockDevice Disk(ushort index) => new FileDevice(File(index), readOnly: true);

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
            if (run.RawOffset >= 0) ReadFrame(run.Frame, run.RawOffset, part);
            else if (run.Frame < 0 && _bases.Of(disk) is { } image) image.Read(run.Offset, part);
            else part.Clear();
        }
    }

    /// <summary>The first run at that offset, as far as it was looked for.</summary>
    internal (long Length, bool Hole) RunAt(ushort disk, long offset, long length)
    {
        var (at, end) = (offset, offset + Math.Min(length, RunBytesMax));
        bool? kind = null;
        while (at < end)
        {
            List<(long Offset, int Length, int Frame, int RawOffset)> cover;
            lock (_gate) cover = _maps[disk].Cover(at, Math.Min(end - at, ExtentMap.RegionBytes - at % ExtentMap.RegionBytes));
            foreach (var run in cover)
            {
                for (var runEnd = run.Offset + run.Length; at < runEnd;)
                {
                    var (part, hole) = (runEnd - at, run.RawOffset < 0);
                    if (run.Frame < 0 && _bases.Of(disk) is { } image) (part, hole) = image.RunAt(at);
                    if ((kind ??= hole) != hole) return (at - offset, kind.Value);
                    at += Math.Clamp(part, 1, runEnd - at);
                }
            }
        }
        return (at - offset, kind ?? true);
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

    /// <summary>Into an array of the frame pool.</summary>
    private byte[] Load(LogEntry entry)
    {
        var frame = _log.ReadFrame(entry);
        var raw = FramePool.Shared.Rent(entry.Header.RawBytes);
        try
        {
            BatchCodec.Decompress(frame, raw);
            FramePool.Shared.Return(frame.Frame);
            return raw;
        }
        catch (InvalidDataException damage)
        {
            FramePool.Shared.Return(raw);
            throw new IOException($"segment {entry.Segment} is damaged at offset {entry.Offset}: {damage.Message}", damage);
        }
    }

    private void Keep(int frame, byte[] raw)
    {
        lock (_gate)
        {
            _verified.Add(frame);
            if (_cache.ContainsKey(frame))
            {
                FramePool.Shared.Return(raw);
                return;
            }
            _cache[frame] = _recent.AddFirst((frame, raw));
            _cacheBytes += raw.Length;
            while (_cacheBytes > CacheBytesMax && _recent.Last is { } oldest)
            {
                _recent.RemoveLast();
                _cache.Remove(oldest.Value.Frame);
                _cacheBytes -= oldest.Value.Raw.Length;
                // Nobody reads it: what lies in the cache is only read with the lock held.
                FramePool.Shared.Return(oldest.Value.Raw);
            }
        }
    }
}
