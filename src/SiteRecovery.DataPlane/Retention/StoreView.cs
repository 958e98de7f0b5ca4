using System.IO.Hashing;
using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.DataPlane.Nbd;
using SiteRecovery.DataPlane.Storage;

namespace SiteRecovery.DataPlane.Retention;

/// <summary>All disks of a machine at one position. Read-only. What it returns was checked: a frame that is not compressed at its first read, everything else whenever it is loaded.</summary>
public sealed class StoreView
{
    // A real block has it once in 2^64.
    private const ulong Unreadable = 0xDEAD_B10C_0000_0001;
    internal const int BelowTheLog = -1; // a segment's number
    private const long CacheBytesMax = 32 << 20;
    private const int HashedAtOnceBytes = 64 << 10, RunBytesMax = 64 << 20, FramesKnownMax = 64 << 10;
    private readonly Lock _gate = new();
    private readonly StoreLog _log;
    private readonly BaseImages _bases;
    private volatile IReadOnlyList<(int Segment, IExtentSource Source)> _sources;
    private readonly Dictionary<(SegmentId Segment, long Offset), LinkedListNode<((SegmentId Segment, long Offset) Frame, byte[] Raw, int RawBytes)>> _cache = [];
    private readonly LinkedList<((SegmentId Segment, long Offset) Frame, byte[] Raw, int RawBytes)> _recent = new();
    // Of frames that were checked once: where their uncompressed payload begins in the segment; -1 where it is compressed or encrypted.
    private readonly Dictionary<(SegmentId Segment, long Offset), (long PlainAt, int RawBytes)> _checked = [];
    private long _cacheBytes;

    /// <param name="sources">In log order: what a later one has hides what is in those before it.</param>
    internal StoreView(StoreLog log, BaseImages bases, IReadOnlyList<(int Segment, IExtentSource Source)> sources) => (_log, _bases, _sources) = (log, bases, sources);

    /// <summary>The segments up to one are in the base: reads that have begun may still look into them, or fail and look again.</summary>
    internal void WithoutUpTo(int segment) => _sources = [.. _sources.Where(s => s.Segment > segment)];

    /// <summary>Thinning has put a segment in the place of those up to its own. False: the view shows only a part of them.</summary>
    internal bool TryPut(SegmentId thinned, IExtentSource source)
    {
        var former = _sources.Where(s => thinned.First <= s.Segment && s.Segment <= thinned.Number).ToList();
        if (former.Count == 0) return true;
        if (former[^1].Segment != thinned.Number || former.Exists(s => s.Source is ExtentMap)) return false;
        _sources = [.. _sources.TakeWhile(s => s.Segment < thinned.First), (thinned.Number, source), .. _sources.SkipWhile(s => s.Segment <= thinned.Number)];
        return true;
    }

    /// <summary>It goes on with what another view of the same position reads from.</summary>
    internal void Adopt(StoreView other) => _sources = other._sources;

    public IReadOnlyList<DiskRecord> Disks => _bases.Disks;

    internal bool IsReleased { get; private set; }

    /// <summary>Of a store that somebody else may be writing to, asked behind each read of the base, and whether that failed: why it is not what this view shows; null: it is, or it is damaged.</summary>
    internal Func<bool, string?>? Gone { get; init; }

    /// <summary>Nobody reads from it any more: what it stands on may be promoted. A view that is only forgotten is released with its memory.</summary>
    public void Release()
    {
        IsReleased = true;
        lock (_gate)
        {
            foreach (var (_, raw, _) in _recent) FramePool.Shared.Return(raw);
            _cache.Clear();
            _recent.Clear();
            _cacheBytes = 0;
        }
    }

    /// <summary>A disk as a file that refuses writes. Disposing it does nothing.</summary>
    public IBlockFile File(ushort index) => new StoreViewFile(this, Disks.First(d => d.Index == index));

    public IBlockDevice Disk(ushort index) => new FileDevice(File(index), readOnly: true);

    internal void Read(ushort disk, long offset, Span<byte> into)
    {
        for (var sources = _sources; ; sources = _sources)
        {
            try
            {
                Read(sources, disk, offset, into);
                return;
            }
            catch (Exception gone) when (HasMoved(sources, gone))
            {
                // The base has it now, or another segment.
            }
        }
    }

    private bool HasMoved(IReadOnlyList<(int Segment, IExtentSource Source)> sources, Exception gone) => gone is IOException or ObjectDisposedException && sources != _sources;

    private void Read(IReadOnlyList<(int Segment, IExtentSource Source)> sources, ushort disk, long offset, Span<byte> into)
    {
        foreach (var run in Cover(sources, disk, offset, into.Length))
        {
            var part = into.Slice((int)(run.Offset - offset), run.Length);
            if (run.Segment.Number == BelowTheLog) ReadBase(disk, run.Offset, part);
            else if (run.RawOffset >= 0) ReadFrameOrSay((run.Segment, run.FrameOffset), run.RawOffset, part);
            else part.Clear();
        }
    }

    private void ReadFrameOrSay((SegmentId Segment, long Offset) frame, int rawOffset, Span<byte> into)
    {
        try
        {
            ReadFrame(frame, rawOffset, into);
        }
        catch (IOException gone) when (Gone?.Invoke(true) is { } why)
        {
            throw new IOException(why, gone);
        }
    }

    private void ReadBase(ushort disk, long offset, Span<byte> into)
    {
        try
        {
            _bases.Read(disk, offset, into);
        }
        catch (IOException changing) when (Gone?.Invoke(true) is { } why)
        {
            throw new IOException(why, changing);
        }
        if (Gone?.Invoke(false) is { } gone) throw new IOException(gone);
    }

    /// <summary>The first run at that offset, as far as it was looked for.</summary>
    internal (long Length, bool Hole) RunAt(ushort disk, long offset, long length)
    {
        for (var sources = _sources; ; sources = _sources)
        {
            try
            {
                return RunAt(sources, disk, offset, length);
            }
            catch (Exception gone) when (HasMoved(sources, gone))
            {
                // The base has it now, or another segment.
            }
        }
    }

    private (long Length, bool Hole) RunAt(IReadOnlyList<(int Segment, IExtentSource Source)> sources, ushort disk, long offset, long length)
    {
        var (at, end) = (offset, offset + Math.Min(length, RunBytesMax));
        bool? kind = null;
        while (at < end)
            foreach (var run in Cover(sources, disk, at, (int)Math.Min(end - at, 1 << 20)))
                while (at < run.End)
                {
                    var (part, hole) = (run.End - at, run.RawOffset < 0);
                    if (run.Segment.Number == BelowTheLog && _bases.RunAt(disk, at) is { } below) (part, hole) = below;
                    if ((kind ??= hole) != hole)
                    {
                        if (Gone?.Invoke(false) is { } why) throw new IOException(why);
                        return (at - offset, kind.Value);
                    }
                    at += Math.Clamp(part, 1, run.End - at);
                }
        if (Gone?.Invoke(false) is { } gone) throw new IOException(gone);
        return (at - offset, kind ?? true);
    }

    /// <summary>Runs that cover a block of the base, as far as its disk reaches.</summary>
    internal List<MappedExtent> CoverOfBlock(ushort disk, long offset) =>
        Cover(disk, offset, (int)Math.Min(PromotedImage.BlockBytes, Disks.First(d => d.Index == disk).SizeBytes - offset));

    /// <summary>Runs that cover the range in order and without gaps.</summary>
    internal List<MappedExtent> Cover(ushort disk, long offset, int length) => Cover(_sources, disk, offset, length);

    private static List<MappedExtent> Cover(IReadOnlyList<(int Segment, IExtentSource Source)> sources, ushort disk, long offset, int length)
    {
        var (cover, found) = (new List<MappedExtent>(), new List<MappedExtent>());
        Fill(sources, sources.Count - 1, disk, offset, offset + length, cover, found);
        return cover;
    }

    /// <param name="found">What the levels above have found and not used yet; it is left as it was.</param>
    private static void Fill(IReadOnlyList<(int Segment, IExtentSource Source)> sources, int level, ushort disk, long from, long to, List<MappedExtent> cover, List<MappedExtent> found)
    {
        var first = found.Count;
        for (; level >= 0 && found.Count == first; level--) sources[level].Source.Find(disk, from, to, found);
        var count = found.Count;
        for (var i = first; i < count; i++)
        {
            var extent = found[i];
            if (extent.Offset > from) Fill(sources, level, disk, from, extent.Offset, cover, found);
            cover.Add(extent);
            from = extent.End;
        }
        found.RemoveRange(first, count - first);
        if (from == to) return;
        if (count > first) Fill(sources, level, disk, from, to, cover, found);
        else cover.Add(new MappedExtent(from, (int)(to - from), SegmentId.Of(BelowTheLog), 0, -1));
    }

    /// <exception cref="InvalidDataException">It has no such disk.</exception>
    /// <remarks>A block that cannot be read has a hash that no block has, so that its source sends it again.</remarks>
    internal ValueTask<ulong[]> HashesAsync(ushort disk, long offset, int blockBytes, int blocks, CancellationToken stop)
    {
        if (!Disks.Any(d => d.Index == disk)) throw new InvalidDataException($"the store has no disk {disk}");
        var atOnce = Math.Max(1, HashedAtOnceBytes / blockBytes);
        var (hashes, buffer) = (new ulong[blocks], new byte[Math.Min(atOnce, Math.Max(1, blocks)) * blockBytes]);
        for (var first = 0; first < blocks; first += atOnce)
        {
            stop.ThrowIfCancellationRequested();
            var some = hashes.AsSpan(first, Math.Min(atOnce, blocks - first));
            if (TryHash(disk, offset + (long)first * blockBytes, blockBytes, some, buffer)) continue;
            for (var i = 0; i < some.Length; i++)
                if (!TryHash(disk, offset + (long)(first + i) * blockBytes, blockBytes, some.Slice(i, 1), buffer)) some[i] = Unreadable;
        }
        return ValueTask.FromResult(hashes);
    }

    private bool TryHash(ushort disk, long offset, int blockBytes, Span<ulong> hashes, byte[] buffer)
    {
        var read = buffer.AsSpan(0, (int)Math.Clamp(Disks.First(d => d.Index == disk).SizeBytes - offset, 0, (long)hashes.Length * blockBytes));
        try
        {
            Read(disk, offset, read);
        }
        catch (Exception unreadable) when (unreadable is IOException or InvalidDataException)
        {
            return false;
        }
        for (var i = 0; i < hashes.Length; i++)
        {
            var from = Math.Min(read.Length, i * blockBytes);
            var block = read[from..Math.Min(read.Length, from + blockBytes)];
            hashes[i] = block.ContainsAnyExcept((byte)0) ? XxHash3.HashToUInt64(block) : 0;
        }
        return true;
    }

    private void ReadFrame((SegmentId Segment, long Offset) frame, int rawOffset, Span<byte> into)
    {
        (long PlainAt, int RawBytes) known;
        lock (_gate)
        {
            if (_cache.TryGetValue(frame, out var node))
            {
                _recent.Remove(node);
                _recent.AddFirst(node);
                Copy(frame, node.Value.Raw.AsSpan(0, node.Value.RawBytes), rawOffset, into);
                return;
            }
            known = _checked.GetValueOrDefault(frame, (-1, 0));
        }
        if (known.PlainAt >= 0)
        {
            Check(frame, known.RawBytes, rawOffset, into.Length);
            _log.ReadRaw(frame.Segment, known.PlainAt + rawOffset, into);
            return;
        }
        var (header, raw, encrypted) = Load(frame.Segment, frame.Offset);
        Copy(frame, raw.AsSpan(0, header.RawBytes), rawOffset, into);
        Keep(frame, raw, header.RawBytes, encrypted || header.Compression != PayloadCompression.None ? -1 : frame.Offset + BatchCodec.HeaderBytes + header.ExtentCount * BatchCodec.ExtentBytes);
    }

    private static void Copy((SegmentId Segment, long Offset) frame, ReadOnlySpan<byte> raw, int rawOffset, Span<byte> into)
    {
        Check(frame, raw.Length, rawOffset, into.Length);
        raw.Slice(rawOffset, into.Length).CopyTo(into);
    }

    /// <summary>A map or an index that is whole may still be of other frames. An array of the pool goes on behind its frame, with another one's bytes.</summary>
    private static void Check((SegmentId Segment, long Offset) frame, int rawBytes, int rawOffset, int length)
    {
        if (rawOffset < 0 || length > rawBytes - rawOffset) throw new IOException($"segment {frame.Segment.Number} is damaged: its map names {length} bytes at {rawOffset} of the {rawBytes} that the frame at offset {frame.Offset} has");
    }

    /// <summary>Into an array of the frame pool.</summary>
    private (BatchHeader Header, byte[] Raw, bool Encrypted) Load(SegmentId segment, long offset)
    {
        var frame = _log.ReadFrame(segment, offset, out var encrypted);
        var raw = FramePool.Shared.Rent(frame.Header.RawBytes);
        try
        {
            BatchCodec.Decompress(frame, raw);
            return (frame.Header, raw, encrypted);
        }
        catch (InvalidDataException damage)
        {
            FramePool.Shared.Return(raw);
            throw new IOException($"segment {segment.Number} is damaged at offset {offset}: {damage.Message}", damage);
        }
        finally
        {
            FramePool.Shared.Return(frame.Frame);
        }
    }

    private void Keep((SegmentId Segment, long Offset) frame, byte[] raw, int rawBytes, long plainAt)
    {
        lock (_gate)
        {
            if (_checked.Count >= FramesKnownMax) _checked.Clear();
            _checked[frame] = (plainAt, rawBytes);
            if (_cache.ContainsKey(frame))
            {
                FramePool.Shared.Return(raw);
                return;
            }
            _cache[frame] = _recent.AddFirst((frame, raw, rawBytes));
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
