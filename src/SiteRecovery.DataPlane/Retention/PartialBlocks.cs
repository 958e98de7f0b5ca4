using System.Buffers.Binary;
using System.IO.Hashing;
using SiteRecovery.DataPlane.Storage;

namespace SiteRecovery.DataPlane.Retention;

/// <summary>
/// Of the blocks of the base that a promotion covers in part: what it leaves of them, each with a checksum. Durable before the first of them changes. A block that is being written when the power goes may be torn where the
/// promotion covers it, and by the checksum of all of it nobody can tell that from rot. STORE.md, `PARTIAL`. Safe for concurrent calls.
/// </summary>
internal sealed class PartialBlocks
{
    internal const string FileName = "PARTIAL";
    /// <summary>In place of a checksum: it was damaged before the promotion began.</summary>
    internal const ulong Damaged = 0;
    private const uint Magic = 0x31425253; // "SRB1"
    private const int Version = 1, HeaderBytes = 32, EntryBytes = 16, HashBytes = 8, DiskShift = 48;
    private readonly ulong[] _blocks, _rests;

    private PartialBlocks(int segment, ulong[] blocks, ulong[] rests) => (Segment, _blocks, _rests) = (segment, blocks, rests);

    /// <summary>The last of those that are promoted.</summary>
    internal int Segment { get; }

    /// <param name="rests">Per disk and number of a block the checksum of what is left of it (<see cref="RestOf"/>), or <see cref="Damaged"/>.</param>
    internal static PartialBlocks Of(int segment, IReadOnlyDictionary<(ushort Disk, long Block), ulong> rests)
    {
        ulong[] blocks = [.. rests.Keys.Select(k => KeyOf(k.Disk, k.Block))], left = [.. rests.Values];
        Array.Sort(blocks, left);
        return new PartialBlocks(segment, blocks, left);
    }

    /// <summary>The checksum of what extents leave of a block. What they cover does not count, whatever is there.</summary>
    internal static ulong RestOf(ReadOnlySpan<byte> block, long offset, IEnumerable<MappedExtent> cover)
    {
        Span<byte> rest = stackalloc byte[PromotedImage.BlockBytes];
        block.CopyTo(rest);
        foreach (var extent in cover)
            if (extent.Segment.Number != StoreView.BelowTheLog) rest.Slice((int)(extent.Offset - offset), extent.Length).Clear();
        return XxHash3.HashToUInt64(rest) switch { Damaged => 1, var hash => hash };
    }

    /// <summary>Whether that is what is left of a block; not of one that was damaged, and not of one that was not there.</summary>
    internal bool Has(ushort disk, long block, ulong rest)
    {
        var found = Array.BinarySearch(_blocks, KeyOf(disk, block));
        return found >= 0 && _rests[found] == rest && rest != Damaged;
    }

    /// <summary>Durable when it returns.</summary>
    internal void Save(string folder, ulong tag, IFileSystem files)
    {
        var bytes = new byte[HeaderBytes + _blocks.Length * EntryBytes + HashBytes];
        BinaryPrimitives.WriteUInt32LittleEndian(bytes, Magic);
        BinaryPrimitives.WriteInt32LittleEndian(bytes.AsSpan(4), Version);
        BinaryPrimitives.WriteUInt64LittleEndian(bytes.AsSpan(8), tag);
        BinaryPrimitives.WriteInt64LittleEndian(bytes.AsSpan(16), Segment);
        BinaryPrimitives.WriteInt64LittleEndian(bytes.AsSpan(24), _blocks.Length);
        for (var i = 0; i < _blocks.Length; i++)
        {
            var entry = bytes.AsSpan(HeaderBytes + i * EntryBytes, EntryBytes);
            BinaryPrimitives.WriteUInt64LittleEndian(entry, _blocks[i]);
            BinaryPrimitives.WriteUInt64LittleEndian(entry[8..], _rests[i]);
        }
        BinaryPrimitives.WriteUInt64LittleEndian(bytes.AsSpan(bytes.Length - HashBytes), XxHash3.HashToUInt64(bytes.AsSpan(0, bytes.Length - HashBytes)));
        files.Replace(Path.Combine(folder, FileName), bytes);
    }

    /// <summary>
    /// Those of a promotion that was cut short. Null: it was begun by a store of before there were any. Where the file is damaged none is known, and what is not as it was counts as damaged.
    /// </summary>
    /// <param name="givesUpUnreadable">A file that the disk does not give is as good as damaged.</param>
    internal static PartialBlocks? Load(string folder, int segment, ulong tag, IFileSystem files, bool givesUpUnreadable)
    {
        byte[]? bytes;
        try
        {
            bytes = files.TryReadAll(Path.Combine(folder, FileName));
        }
        catch (IOException) when (givesUpUnreadable)
        {
            bytes = [];
        }
        if (bytes is null) return null;
        if (bytes.Length < HeaderBytes + HashBytes || BinaryPrimitives.ReadUInt32LittleEndian(bytes) != Magic || BinaryPrimitives.ReadInt32LittleEndian(bytes.AsSpan(4)) != Version
            || BinaryPrimitives.ReadUInt64LittleEndian(bytes.AsSpan(8)) != tag || BinaryPrimitives.ReadUInt64LittleEndian(bytes.AsSpan(bytes.Length - HashBytes)) != XxHash3.HashToUInt64(bytes.AsSpan(0, bytes.Length - HashBytes))
            || BinaryPrimitives.ReadInt64LittleEndian(bytes.AsSpan(24)) is var count && count != (bytes.Length - HeaderBytes - HashBytes) / EntryBytes) return new PartialBlocks(segment, [], []);
        // Of an earlier one: this one wrote none.
        if (BinaryPrimitives.ReadInt64LittleEndian(bytes.AsSpan(16)) != segment) return null;
        var (blocks, rests) = (new ulong[count], new ulong[count]);
        for (var i = 0; i < count; i++)
        {
            var entry = bytes.AsSpan(HeaderBytes + i * EntryBytes, EntryBytes);
            (blocks[i], rests[i]) = (BinaryPrimitives.ReadUInt64LittleEndian(entry), BinaryPrimitives.ReadUInt64LittleEndian(entry[8..]));
        }
        return new PartialBlocks(segment, blocks, rests);
    }

    private static ulong KeyOf(ushort disk, long block) => (ulong)disk << DiskShift | (ulong)block;
}
