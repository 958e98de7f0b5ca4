using System.Buffers.Binary;
using System.IO.Hashing;
using System.Runtime.InteropServices;
using SiteRecovery.DataPlane.Storage;

namespace SiteRecovery.DataPlane.Retention;

/// <summary>
/// The blocks of a disk that promotion has written, each with its checksum, over what lies below the log: STORE.md, `base`. Reads and one writer go on beside each other.
/// A checksum is written only when its block is durable: whatever ends a promotion, a block is where its checksum says, and what it keeps of before is right.
/// </summary>
/// <param name="promotion">The one that is under way, if one is.</param>
internal sealed class PromotedImage(string folder, DiskRecord disk, IBlockFile? below, IFileSystem files, bool readOnly, Func<BasePromotion?> promotion) : IBaseImage
{
    internal const int BlockBytes = 4096;
    private const int HashBytes = 8, BlocksAtOnce = 256;
    // What the page cache reads and writes as a whole: a part of one that the disk does not give could not be written either.
    private const int PageBytes = 4096, HashesPerPage = PageBytes / HashBytes;
    /// <summary>In place of a checksum: what the block should hold was damaged before it came here.</summary>
    private const ulong Lost = 2;
    private static readonly ulong ZeroBlock = HashOf(new byte[BlockBytes]);
    private readonly ReaderWriterLockSlim _gate = new();
    private readonly Dictionary<long, ulong> _unflushed = []; // checksums of blocks that are written and not durable
    private readonly HashSet<long> _partial = []; // of those: more of them may come
    private readonly IBlockFile _data = files.Open(PathOf(folder, disk.Index, "raw"), readOnly ? FileOpening.Read : FileOpening.Create);
    private readonly IBlockFile _hashes = files.Open(PathOf(folder, disk.Index, "sum"), readOnly ? FileOpening.Read : FileOpening.Create);

    /// <summary>So many blocks wait for a flush, beside those of which only a part has come.</summary>
    internal int UnflushedMax { get; init; } = int.MaxValue;

    internal static bool Exists(string folder, ushort disk, IFileSystem files) => files.Exists(PathOf(folder, disk, "raw")) && files.Exists(PathOf(folder, disk, "sum"));

    /// <exception cref="IOException">A block is not what was written.</exception>
    public void Read(long offset, Span<byte> into)
    {
        _gate.EnterReadLock();
        try
        {
            ReadInside(offset, into);
        }
        finally
        {
            _gate.ExitReadLock();
        }
    }

    /// <summary>The first run at that offset: blocks of zeroes are holes, and what is not here is as it is below.</summary>
    public (long Length, bool Hole) RunAt(long offset)
    {
        var first = offset / BlockBytes;
        Span<ulong> hashes = stackalloc ulong[BlocksAtOnce];
        _gate.EnterReadLock();
        try
        {
            ReadHashes(first, hashes);
        }
        finally
        {
            _gate.ExitReadLock();
        }
        var kind = KindOf(hashes[0]);
        var same = 1;
        while (same < hashes.Length && KindOf(hashes[same]) == kind) same++;
        var length = Math.Min((first + same) * BlockBytes, disk.SizeBytes) - offset;
        if (kind != BlockKind.Below) return (length, kind == BlockKind.Zero);
        if (below is null) return (length, true);
        var run = below.RunAt(offset);
        return (Math.Min(length, run.Length), run.Hole);
    }

    /// <summary>Takes bytes in; durable after <see cref="Flush"/>.</summary>
    public void Write(long offset, ReadOnlySpan<byte> from)
    {
        Span<byte> blocks = new byte[(int)((offset + from.Length + BlockBytes - 1) / BlockBytes - offset / BlockBytes) * BlockBytes];
        var start = offset / BlockBytes * BlockBytes;
        _gate.EnterWriteLock();
        try
        {
            // Of a block that is lost a part is no block.
            var last = blocks.Length - BlockBytes;
            var headLost = offset != start && !TryComplete(start, blocks[..BlockBytes]);
            var tailLost = (offset + from.Length) % BlockBytes != 0 && !TryComplete(start + last, blocks[last..]);
            from.CopyTo(blocks[(int)(offset - start)..]);
            if (blocks.ContainsAnyExcept((byte)0)) _data.Write(start, blocks);
            else _data.Zero(start, blocks.Length);
            if (offset != start) _partial.Add(start / BlockBytes);
            if ((offset + from.Length) % BlockBytes != 0) _partial.Add((start + last) / BlockBytes);
            for (var at = 0; at <= last; at += BlockBytes)
                _unflushed[(start + at) / BlockBytes] = (at == 0 && headLost) || (at == last && tailLost) ? Lost : HashOf(blocks.Slice(at, BlockBytes));
        }
        finally
        {
            _gate.ExitWriteLock();
        }
        if (_unflushed.Count - _partial.Count > UnflushedMax) FlushSome(isEnd: false);
    }

    /// <summary>Bytes that should come here are damaged where they lie: who reads the blocks is told so, until they are written as a whole.</summary>
    public void Lose(long offset, long length)
    {
        _gate.EnterWriteLock();
        for (var block = offset / BlockBytes; block * BlockBytes < offset + length; block++) _unflushed[block] = Lost;
        if (offset % BlockBytes != 0) _partial.Add(offset / BlockBytes);
        if ((offset + length) % BlockBytes != 0) _partial.Add((offset + length) / BlockBytes);
        _gate.ExitWriteLock();
    }

    public void Look()
    {
        Span<ulong> page = stackalloc ulong[HashesPerPage];
        NotReadableYetException? unread = null;
        foreach (var number in _unflushed.Keys.Select(block => block / HashesPerPage).Distinct())
            try
            {
                ReadPageToWrite(number, page);
            }
            catch (NotReadableYetException failure)
            {
                unread ??= failure;
            }
        if (unread is not null) throw unread;
    }

    /// <summary>Where the disk has not given it for long, nobody knows any more what its blocks should be.</summary>
    /// <exception cref="NotReadableYetException"/>
    private void ReadPageToWrite(long number, Span<ulong> page)
    {
        if (!promotion()!.TryReadTable(disk.Index, number * PageBytes, MemoryMarshal.AsBytes(page), _hashes.Read)) page.Fill(Lost);
    }

    /// <summary>By the one that writes.</summary>
    public void Flush() => FlushSome(isEnd: true);

    /// <param name="isEnd">Else what more may come of waits on, and what cannot be read now is waited for at the end.</param>
    private void FlushSome(bool isEnd)
    {
        _data.Flush();
        Span<ulong> page = stackalloc ulong[HashesPerPage];
        var flushed = new List<long>();
        foreach (var written in _unflushed.Keys.Where(block => isEnd || !_partial.Contains(block)).GroupBy(block => block / HashesPerPage).OrderBy(g => g.Key))
        {
            try
            {
                ReadPageToWrite(written.Key, page);
            }
            catch (NotReadableYetException) when (!isEnd)
            {
                _partial.UnionWith(written);
                continue;
            }
            flushed.AddRange(written);
            foreach (var block in written) page[(int)(block % HashesPerPage)] = _unflushed[block];
            _hashes.Write(written.Key * PageBytes, MemoryMarshal.AsBytes(page));
        }
        _hashes.Flush();
        _gate.EnterWriteLock();
        foreach (var block in flushed)
        {
            _unflushed.Remove(block);
            _partial.Remove(block);
        }
        _gate.ExitWriteLock();
    }

    public void Restart()
    {
        // What was written may stay: until the end nobody believes that it is whole.
        _gate.EnterWriteLock();
        _unflushed.Clear();
        _partial.Clear();
        _gate.ExitWriteLock();
    }

    /// <summary>Whether a block is here, and is written over where it is.</summary>
    internal bool Has(long block) => HashAt(block) != 0;

    /// <summary>These blocks are elsewhere by now, durably, and nobody asks for them here. They are gone durably when it returns.</summary>
    internal void Forget(IEnumerable<long> blocks)
    {
        Span<ulong> page = stackalloc ulong[HashesPerPage];
        var any = false;
        foreach (var gone in blocks.GroupBy(block => block / HashesPerPage))
        {
            ReadPageToWrite(gone.Key, page);
            var here = false;
            foreach (var block in gone)
            {
                if (page[(int)(block % HashesPerPage)] == 0) continue;
                page[(int)(block % HashesPerPage)] = 0;
                _data.Zero(block * BlockBytes, BlockBytes);
                here = true;
            }
            if (here) _hashes.Write(gone.Key * PageBytes, MemoryMarshal.AsBytes(page));
            any |= here;
        }
        if (!any) return;
        // Or it would be readable again after a loss of power, for as long as the store is there.
        _data.Flush();
        _hashes.Flush();
    }

    /// <summary>Reads and checks the blocks that are here from an offset on, at most 1 MiB; what is not here is passed over.</summary>
    public (long Bytes, StoreDamage? Damage) Scrub(long offset, long bytes)
    {
        var table = Math.Min((long)BlocksAtOnce * BlockBytes, disk.SizeBytes - offset);
        (long Bytes, bool Hole) at;
        ulong hash;
        try
        {
            (at, hash) = (RunAt(offset), HashAt(offset / BlockBytes));
        }
        catch (IOException unreadable)
        {
            return (table, new StoreDamage(PathOf(folder, disk.Index, "sum"), offset / BlockBytes * HashBytes, unreadable.Message));
        }
        var (run, hole) = at;
        if (hole && KindOf(hash) == BlockKind.Below) return (run, null);
        // Zeroes are read as what they are: only a hole of the file cannot rot.
        if (hole && _data.RunAt(offset) is { Hole: true, Length: var empty }) return (empty > 0 ? Math.Min(run, empty) : run, null);
        var part = (int)Math.Min(Math.Min(run, bytes), BlocksAtOnce * BlockBytes);
        try
        {
            Read(offset, new byte[part]);
            return (part, null);
        }
        catch (IOException damage)
        {
            return (part, new StoreDamage(PathOf(folder, disk.Index, "raw"), offset, damage.Message));
        }
    }

    public void Dispose()
    {
        _data.Dispose();
        _hashes.Dispose();
        _gate.Dispose();
    }

    private enum BlockKind { Below, Zero, Here }

    private static BlockKind KindOf(ulong hash) => hash == 0 ? BlockKind.Below : hash == ZeroBlock ? BlockKind.Zero : BlockKind.Here;

    private static string PathOf(string folder, ushort disk, string kind) => Path.Combine(folder, "base", $"disk-{disk}.{kind}");

    // Zero says that the block is not here.
    private static ulong HashOf(ReadOnlySpan<byte> block) => XxHash3.HashToUInt64(block) switch { 0 => 1, Lost => 3, var hash => hash };

    private ulong HashAt(long block)
    {
        Span<ulong> hash = stackalloc ulong[1];
        ReadHashes(block, hash);
        return hash[0];
    }

    private void ReadHashes(long first, Span<ulong> into)
    {
        _hashes.Read(first * HashBytes, MemoryMarshal.AsBytes(into));
        if (_unflushed.Count == 0) return;
        for (var i = 0; i < into.Length; i++)
            if (_unflushed.TryGetValue(first + i, out var newer)) into[i] = newer;
    }

    /// <summary>Under the lock. What a block is to keep of before, or of what this promotion has written of it already. False: it is lost.</summary>
    private bool TryComplete(long start, Span<byte> block)
    {
        if (!_unflushed.TryGetValue(start / BlockBytes, out var written)) return promotion()!.TryComplete(disk.Index, start, block, ReadInside);
        if (written == Lost) return false;
        ReadInside(start, block);
        return true;
    }

    /// <summary>Under the lock. What lies beyond the disk reads as zeroes.</summary>
    private void ReadInside(long offset, Span<byte> into)
    {
        Span<ulong> hashes = stackalloc ulong[BlocksAtOnce];
        Span<byte> block = stackalloc byte[BlockBytes];
        while (into.Length > 0)
        {
            var first = offset / BlockBytes;
            var count = (int)Math.Min(BlocksAtOnce, (offset + into.Length + BlockBytes - 1) / BlockBytes - first);
            ReadHashes(first, hashes[..count]);
            for (var i = 0; i < count;)
            {
                var (start, within, blocks) = ((first + i) * BlockBytes, (int)(offset % BlockBytes), 1);
                while (i + blocks < count && (hashes[i + blocks] == 0) == (hashes[i] == 0)) blocks++;
                var part = into[..Math.Min(into.Length, blocks * BlockBytes - within)];
                if (hashes[i] == 0)
                {
                    if (below is null) part.Clear();
                    else below.ReadBelow(offset, part);
                }
                else if (within == 0 && part.Length >= BlockBytes)
                {
                    blocks = part.Length / BlockBytes;
                    part = part[..(blocks * BlockBytes)];
                    _data.Read(start, part);
                    for (var n = 0; n < blocks; n++) Check(part.Slice(n * BlockBytes, BlockBytes), hashes[i + n], start + n * BlockBytes);
                }
                else
                {
                    blocks = 1;
                    part = part[..Math.Min(part.Length, BlockBytes - within)];
                    _data.Read(start, block);
                    Check(block, hashes[i], start);
                    block.Slice(within, part.Length).CopyTo(part);
                }
                offset += part.Length;
                into = into[part.Length..];
                i += blocks;
            }
        }
    }

    private void Check(ReadOnlySpan<byte> block, ulong hash, long start)
    {
        if (HashOf(block) == hash || (hash != Lost && promotion()?.MayBeTorn(disk.Index, start, block) == true)) return;
        throw new IOException($"the base of disk {disk.Index} is damaged at offset {start}", new InvalidDataException("it is not what was written"));
    }
}
