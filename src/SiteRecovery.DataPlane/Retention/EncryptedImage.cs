using System.Buffers;
using System.Buffers.Binary;
using System.IO.Hashing;
using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.DataPlane.Keys;
using SiteRecovery.DataPlane.Storage;

namespace SiteRecovery.DataPlane.Retention;

/// <summary>
/// The blocks of a disk that promotion has written, each encrypted: STORE.md, `base/disk-0.aes`. A block has two places and is never written where its entry says that it is: whatever ends
/// a promotion, each block is whole, as it was before or as it will be.
/// </summary>
/// <param name="plain">What came into the base before the store was encrypted: it goes where it is written anew.</param>
/// <param name="promotion">The one that is under way, if one is: an entry that names its segment is of one that was cut short when all of it had been written.</param>
internal sealed class EncryptedImage(string folder, DiskRecord disk, IBlockFile? below, PromotedImage? plain, IFileSystem files, bool readOnly, StoreKeys keys, Func<BasePromotion?> promotion) : IBaseImage
{
    private const int BlockBytes = PromotedImage.BlockBytes, AreaBlocks = 64, BlocksAtOnce = 256;
    private const int EntryBytes = 8 + ICipher.SealBytes, SectorBytes = 512, EntriesPerSector = SectorBytes / EntryBytes, HashAt = EntriesPerSector * EntryBytes;
    // What the page cache reads and writes as a whole: a part of one that the disk does not give could not be written either.
    private const int PageBytes = 4096, EntriesPerPage = PageBytes / SectorBytes * EntriesPerSector;
    private const int RegionShift = 16; // blocks that share a key: 256 MiB, so that no key ever sees too many nonces
    private readonly ReaderWriterLockSlim _gate = new();
    private readonly Dictionary<long, (Entry Entry, bool Final)> _unflushed = [];
    private readonly HashSet<long> _partial = []; // of those: more of them may come
    private readonly IBlockFile _data = files.Open(PathOf(folder, disk.Index, "aes"), readOnly ? FileOpening.Read : FileOpening.Create);
    // The writer's own.
    private readonly byte[] _page = new byte[PageBytes];
    private readonly Entry[] _sector = new Entry[EntriesPerSector];
    private readonly IBlockFile _entries = files.Open(PathOf(folder, disk.Index, "tag"), readOnly ? FileOpening.Read : FileOpening.Create);

    private enum Kind : byte { Below = 0, First = 1, Second = 2, Zero = 3, Lost = 4 }

    /// <summary>Where a block is, since which promotion, and what it needs to be decrypted.</summary>
    private readonly record struct Entry(Kind Kind, int Promotion, Seal Seal)
    {
        internal bool IsHere => Kind is Kind.First or Kind.Second;
    }

    [System.Runtime.CompilerServices.InlineArray(ICipher.SealBytes)]
    private struct Seal
    {
        private byte _first;
    }

    /// <summary>So many blocks wait for a flush, beside those of which only a part has come.</summary>
    internal int UnflushedMax { get; init; } = int.MaxValue;

    internal static bool Exists(string folder, ushort disk, IFileSystem files) => files.Exists(PathOf(folder, disk, "aes")) && files.Exists(PathOf(folder, disk, "tag"));

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

    public (long Length, bool Hole) RunAt(long offset)
    {
        var (length, kind) = AlikeFrom(offset);
        if (kind != Kind.Below) return (length, kind == Kind.Zero);
        var run = plain?.RunAt(offset) ?? below?.RunAt(offset) ?? (length, true);
        return (Math.Min(length, run.Hole && run.Length <= 0 ? length : run.Length), run.Hole);
    }

    /// <summary>How far blocks are of one kind; wherever they are, those that are here are.</summary>
    private (long Length, Kind Kind) AlikeFrom(long offset)
    {
        var (first, same, entries) = (offset / BlockBytes, 1, new Entry[BlocksAtOnce]);
        _gate.EnterReadLock();
        try
        {
            EntriesFrom(first, entries);
        }
        finally
        {
            _gate.ExitReadLock();
        }
        while (same < BlocksAtOnce && (entries[same].Kind == entries[0].Kind || entries[same].IsHere && entries[0].IsHere)) same++;
        return (Math.Min((first + same) * BlockBytes, disk.SizeBytes) - offset, entries[0].Kind);
    }

    public void Write(long offset, ReadOnlySpan<byte> from)
    {
        Span<byte> block = stackalloc byte[BlockBytes];
        NotReadableYetException? unread = null;
        _gate.EnterWriteLock();
        try
        {
            while (from.Length > 0)
            {
                var (number, within) = (offset / BlockBytes, (int)(offset % BlockBytes));
                var part = from[..Math.Min(from.Length, BlockBytes - within)];
                if (part.Length < BlockBytes) _partial.Add(number);
                try
                {
                    if (Stored(number) is { } stored) Put(number, within, part, block, stored);
                }
                catch (NotReadableYetException failure)
                {
                    unread ??= failure;
                }
                offset += part.Length;
                from = from[part.Length..];
            }
            if (unread is not null) throw unread;
        }
        finally
        {
            _gate.ExitWriteLock();
        }
        if (_unflushed.Count - _partial.Count > UnflushedMax) FlushSome(isEnd: false);
    }

    public void Lose(long offset, long length)
    {
        _gate.EnterWriteLock();
        try
        {
            if (offset % BlockBytes != 0) _partial.Add(offset / BlockBytes);
            if ((offset + length) % BlockBytes != 0) _partial.Add((offset + length) / BlockBytes);
            for (var block = offset / BlockBytes; block * BlockBytes < offset + length; block++)
                if (Stored(block) is not null) _unflushed[block] = (new Entry(Kind.Lost, Promoting, default), false);
        }
        finally
        {
            _gate.ExitWriteLock();
        }
    }

    public void Look()
    {
        NotReadableYetException? unread = null;
        foreach (var number in _unflushed.Keys.Select(block => block / EntriesPerPage).Distinct())
            try
            {
                ReadPageToWrite(number, _page);
            }
            catch (NotReadableYetException failure)
            {
                unread ??= failure;
            }
        if (unread is not null) throw unread;
    }

    public void Flush() => FlushSome(isEnd: true);

    /// <param name="isEnd">Else what more may come of waits on, and what cannot be read now is waited for at the end.</param>
    private void FlushSome(bool isEnd)
    {
        _data.Flush();
        var flushed = new List<long>();
        var left = new List<(long Block, Kind Place)>();
        var (before, page) = (new Entry[EntriesPerSector], new byte[PageBytes]);
        foreach (var written in _unflushed.Keys.Where(block => isEnd || !_partial.Contains(block)).GroupBy(block => block / EntriesPerPage).OrderBy(g => g.Key))
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
            foreach (var blocks in written.GroupBy(block => block / EntriesPerSector))
            {
                var sector = page.AsSpan((int)(blocks.Key * SectorBytes % PageBytes), SectorBytes);
                Load(sector, before);
                foreach (var block in blocks)
                    if (before[block % EntriesPerSector] is { IsHere: true } old && old.Kind != _unflushed[block].Entry.Kind) left.Add((block, old.Kind));
                foreach (var block in blocks) before[block % EntriesPerSector] = _unflushed[block].Entry;
                Save(before, sector);
            }
            _entries.Write(written.Key * PageBytes, page);
        }
        _entries.Flush();
        // Only now nobody needs them: after a crash before it they are written over when their turn comes.
        foreach (var (block, place) in left) _data.Zero(PlaceOf(block, place), BlockBytes);
        plain?.Forget(flushed);
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
        _gate.EnterWriteLock();
        _unflushed.Clear();
        _partial.Clear();
        _gate.ExitWriteLock();
    }

    public (long Bytes, StoreDamage? Damage) Scrub(long offset, long bytes)
    {
        long run;
        Kind kind;
        try
        {
            (run, kind) = AlikeFrom(offset);
        }
        catch (IOException unreadable)
        {
            return (Math.Min((long)BlocksAtOnce * BlockBytes, disk.SizeBytes - offset), new StoreDamage(PathOf(folder, disk.Index, "tag"), offset / BlockBytes / EntriesPerSector * SectorBytes, unreadable.Message));
        }
        if (kind == Kind.Below) return plain?.Scrub(offset, Math.Min(run, bytes)) is var (read, damaged) ? (Math.Min(read, run), damaged) : (run, null);
        if (kind == Kind.Zero) return (run, null);
        var part = (int)Math.Min(Math.Min(run, bytes), BlocksAtOnce * BlockBytes);
        try
        {
            Read(offset, new byte[part]);
            return (part, null);
        }
        catch (IOException damage)
        {
            return (part, new StoreDamage(PathOf(folder, disk.Index, "aes"), offset, damage.Message));
        }
    }

    public void Dispose()
    {
        _data.Dispose();
        _entries.Dispose();
        _gate.Dispose();
    }

    private static string PathOf(string folder, ushort disk, string kind) => Path.Combine(folder, "base", $"disk-{disk}.{kind}");

    private static long PlaceOf(long block, Kind place) => ((block / AreaBlocks * 2 + (place == Kind.Second ? 1 : 0)) * AreaBlocks + block % AreaBlocks) * BlockBytes;

    private int Promoting => promotion()?.Segment ?? 0;

    private ICipher CipherOf(long block) => keys.CipherFor(KeyUse.Base, (long)disk.Index << 48 | block >> RegionShift);

    /// <summary>What a block's bytes are vouched for with: that they are those of this block, as of this promotion.</summary>
    private void Known(long block, Entry entry, Span<byte> known)
    {
        BinaryPrimitives.WriteInt64LittleEndian(known, block);
        BinaryPrimitives.WriteInt32LittleEndian(known[8..], entry.Promotion);
        BinaryPrimitives.WriteUInt16LittleEndian(known[12..], disk.Index);
        BinaryPrimitives.WriteUInt16LittleEndian(known[14..], (ushort)entry.Kind);
    }

    /// <summary>As the file says: where the block must not be written. Null: a promotion that was cut short at its very end has made of it what it makes of it again.</summary>
    private Entry? Stored(long block)
    {
        if (_unflushed.TryGetValue(block, out var pending) && pending.Final) return null;
        ReadPageToWrite(block / EntriesPerPage, _page);
        Load(_page.AsSpan((int)(block / EntriesPerSector * SectorBytes % PageBytes), SectorBytes), _sector);
        var entry = _sector[block % EntriesPerSector];
        if (entry.Kind == Kind.Below || entry.Promotion != Promoting) return entry;
        // Written again, for it may not be durable.
        _unflushed[block] = (entry, true);
        return null;
    }

    private void Put(long number, int within, ReadOnlySpan<byte> part, Span<byte> block, Entry stored)
    {
        // Of a block that is lost a part is no block.
        if (part.Length < BlockBytes && !TryComplete(number, block))
        {
            _unflushed[number] = (new Entry(Kind.Lost, Promoting, default), false);
            return;
        }
        part.CopyTo(block[within..]);
        var entry = new Entry(Kind.Zero, Promoting, default);
        if (block.ContainsAnyExcept((byte)0))
        {
            entry = entry with { Kind = stored.Kind == Kind.First ? Kind.Second : Kind.First };
            Span<byte> known = stackalloc byte[16];
            Known(number, entry, known);
            Seal seal = default;
            CipherOf(number).Encrypt(known, block, seal);
            entry = entry with { Seal = seal };
            _data.Write(PlaceOf(number, entry.Kind), block);
        }
        _unflushed[number] = (entry, false);
    }

    /// <summary>What a block is to keep of before, or of what this promotion has written of it already. False: it is lost.</summary>
    private bool TryComplete(long number, Span<byte> block)
    {
        if (!_unflushed.TryGetValue(number, out var written)) return promotion()!.TryComplete(disk.Index, number * BlockBytes, block, ReadInside);
        if (written.Entry.Kind == Kind.Lost) return false;
        ReadInside(number * BlockBytes, block);
        return true;
    }

    /// <summary>Under the lock.</summary>
    private void EntriesFrom(long first, Span<Entry> into)
    {
        var sector = new Entry[EntriesPerSector];
        for (var i = 0; i < into.Length; i++)
        {
            if (i == 0 || (first + i) % EntriesPerSector == 0) ReadSector((first + i) / EntriesPerSector, sector);
            into[i] = _unflushed.Count > 0 && _unflushed.TryGetValue(first + i, out var newer) ? newer.Entry : sector[(first + i) % EntriesPerSector];
        }
    }

    private void ReadSector(long number, Span<Entry> into)
    {
        Span<byte> sector = stackalloc byte[SectorBytes];
        _entries.Read(number * SectorBytes, sector);
        Load(sector, into);
    }

    /// <summary>By the one that writes. Where the disk has not given it for long it counts as damaged.</summary>
    /// <exception cref="NotReadableYetException"/>
    private void ReadPageToWrite(long number, Span<byte> page)
    {
        if (!promotion()!.TryReadTable(disk.Index, number * PageBytes, page, _entries.Read)) page.Fill(0xFF);
    }

    /// <summary>Where the sector is damaged nobody knows where its blocks are: all of them are lost.</summary>
    private static void Load(ReadOnlySpan<byte> sector, Span<Entry> into)
    {
        var whole = HashOf(sector) == BinaryPrimitives.ReadUInt64LittleEndian(sector[HashAt..]);
        for (var i = 0; i < EntriesPerSector; i++)
        {
            var bytes = sector.Slice(i * EntryBytes, EntryBytes);
            Seal seal = default;
            bytes[8..].CopyTo(seal);
            into[i] = whole ? new Entry((Kind)bytes[0], BinaryPrimitives.ReadInt32LittleEndian(bytes[4..]), seal) : new Entry(Kind.Lost, 0, default);
        }
    }

    private static void Save(ReadOnlySpan<Entry> entries, Span<byte> sector)
    {
        sector.Clear();
        for (var i = 0; i < EntriesPerSector; i++)
        {
            var bytes = sector.Slice(i * EntryBytes, EntryBytes);
            bytes[0] = (byte)entries[i].Kind;
            BinaryPrimitives.WriteInt32LittleEndian(bytes[4..], entries[i].Promotion);
            var seal = entries[i].Seal;
            ((ReadOnlySpan<byte>)seal).CopyTo(bytes[8..]);
        }
        BinaryPrimitives.WriteUInt64LittleEndian(sector[HashAt..], HashOf(sector));
    }

    // One that was never written is a sector of zeroes, and right.
    private static ulong HashOf(ReadOnlySpan<byte> sector) => sector[..HashAt].ContainsAnyExcept((byte)0) ? XxHash3.HashToUInt64(sector[..HashAt]) : 0;

    /// <summary>Under the lock. What lies beyond the disk reads as zeroes.</summary>
    private void ReadInside(long offset, Span<byte> into)
    {
        var buffer = ArrayPool<byte>.Shared.Rent(AreaBlocks * BlockBytes);
        try
        {
            while (into.Length > 0)
            {
                var (first, within) = (offset / BlockBytes, (int)(offset % BlockBytes));
                var entries = new Entry[Math.Min(AreaBlocks - first % AreaBlocks, (within + into.Length + BlockBytes - 1) / BlockBytes)];
                EntriesFrom(first, entries);
                var (entry, blocks) = (entries[0], 1);
                while (blocks < entries.Length && entries[blocks].Kind == entry.Kind) blocks++;
                var part = into[..Math.Min(into.Length, blocks * BlockBytes - within)];
                if (entry.IsHere)
                {
                    var read = buffer.AsSpan(0, blocks * BlockBytes);
                    _data.Read(PlaceOf(first, entry.Kind), read);
                    for (var i = 0; i < blocks; i++) Decrypt(first + i, entries[i], read.Slice(i * BlockBytes, BlockBytes));
                    read.Slice(within, part.Length).CopyTo(part);
                }
                else if (entry.Kind == Kind.Below && plain is not null) plain.Read(offset, part);
                else if (entry.Kind == Kind.Below && below is not null) below.ReadBelow(offset, part);
                else if (entry.Kind is Kind.Below or Kind.Zero) part.Clear();
                else throw DamagedAt(first, new InvalidDataException("what it should hold was damaged before it came here"));
                offset += part.Length;
                into = into[part.Length..];
            }
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(buffer);
        }
    }

    private void Decrypt(long block, Entry entry, Span<byte> bytes)
    {
        Span<byte> known = stackalloc byte[16];
        Known(block, entry, known);
        try
        {
            var seal = entry.Seal;
            CipherOf(block).Decrypt(known, bytes, seal);
        }
        catch (InvalidDataException damage)
        {
            throw DamagedAt(block, damage);
        }
    }

    private IOException DamagedAt(long block, InvalidDataException damage) => new($"the base of disk {disk.Index} is damaged at offset {block * BlockBytes}", damage);
}
