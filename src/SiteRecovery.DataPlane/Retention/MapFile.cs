using System.Buffers.Binary;
using System.IO.Hashing;
using System.Runtime.InteropServices;
using SiteRecovery.DataPlane.Storage;

namespace SiteRecovery.DataPlane.Retention;

/// <summary>What sealed segments have written, sorted, in a file: STORE.md, `.map`. In memory are only the first keys of its blocks, 16 bytes for 127 extents.</summary>
internal sealed class MapFile : IExtentSource, IDisposable
{
    internal const int BlockBytes = 4096, RecordBytes = 32, RecordsPerBlock = 127, FenceBytes = 16, HashBytes = 8;
    private const int CountAt = RecordsPerBlock * RecordBytes, HashAt = BlockBytes - HashBytes;
    private const uint Magic = 0x314D5253, Version = 2; // "SRM1"; what version 1 said of neighbours of 2 GiB and more was wrong
    private readonly IBlockFile _file;
    private readonly SegmentId _segment;
    private readonly (ushort Disk, long Offset)[] _fences;

    private MapFile(IBlockFile file, SegmentId segment, (ushort, long)[] fences, long extents) => (_file, _segment, _fences, Extents) = (file, segment, fences, extents);

    internal long Extents { get; }

    /// <summary>Null where there is none, or one that is not whole, cannot be read or is of another segment.</summary>
    /// <param name="segmentBytes">Of the segment as it is: a map of before it grew is none of it.</param>
    internal static MapFile? TryOpen(string path, IFileSystem files, ulong tag, SegmentId segment, long segmentBytes)
    {
        if (!files.Exists(path)) return null;
        var file = files.Open(path, FileOpening.Read);
        MapFile? map = null;
        try
        {
            return map = Read(file, tag, segment, segmentBytes);
        }
        catch (IOException)
        {
            return null; // it is made again, in other sectors
        }
        finally
        {
            if (map is null) file.Dispose();
        }
    }

    public void Find(ushort disk, long from, long to, List<MappedExtent> into)
    {
        Span<byte> bytes = stackalloc byte[BlockBytes];
        var behind = 0L;
        for (var block = Math.Max(0, LastFenceNotAfter(disk, from)); block < _fences.Length; block++)
        {
            if (IsBehind(_fences[block], disk, to)) return;
            ReadBlock(block, bytes);
            var count = (int)BinaryPrimitives.ReadUInt32LittleEndian(bytes[CountAt..]);
            for (var i = FirstEndingAfter(bytes, count, disk, from); i < count; i++)
            {
                var (owner, extent) = RecordAt(bytes, i);
                if (IsBehind((owner, extent.Offset), disk, to)) return;
                // What is out of order or overlaps would be put over what lies beside it.
                if (extent.Length <= 0 || extent.Offset < behind || extent.Offset > long.MaxValue - extent.Length || extent.RawOffset < -1 || extent.RawOffset > int.MaxValue - extent.Length)
                    throw new InvalidDataException("a block of the map is damaged");
                behind = extent.End;
                into.Add(extent.Clip(from, to));
            }
        }
    }

    /// <summary>All of it, ascending by disk and offset.</summary>
    internal IEnumerable<(ushort Disk, MappedExtent Extent)> InOrder()
    {
        var bytes = new byte[BlockBytes];
        for (var block = 0; block < _fences.Length; block++)
        {
            ReadBlock(block, bytes);
            var count = (int)BinaryPrimitives.ReadUInt32LittleEndian(bytes.AsSpan(CountAt));
            for (var i = 0; i < count; i++) yield return RecordAt(bytes, i);
        }
    }

    public void Dispose() => _file.Dispose();

    /// <summary>The order in which a map is written: ascending by disk and offset, without overlap. It replaces what was there.</summary>
    internal static void Write(string path, IFileSystem files, ulong tag, SegmentId segment, long segmentBytes, IEnumerable<(ushort Disk, MappedExtent Extent)> extents)
    {
        var temporary = path + ".tmp";
        using (var file = files.Open(temporary, FileOpening.Create))
        {
            file.SetLength(0);
            var (block, count, total, fences) = (new byte[BlockBytes], 0, 0L, new List<(ushort Disk, long Offset)>());
            foreach (var (disk, extent) in extents)
            {
                if (count == 0) fences.Add((disk, extent.Offset));
                WriteRecord(block.AsSpan(count * RecordBytes), disk, extent with { Segment = segment });
                total++;
                if (++count < RecordsPerBlock) continue;
                WriteBlock(file, fences.Count, block, count);
                count = 0;
            }
            if (count > 0) WriteBlock(file, fences.Count, block, count);
            WriteFences(file, fences);
            file.Write(0, Header(tag, segment, segmentBytes, total, fences.Count));
            file.Flush();
        }
        files.Rename(temporary, path);
    }

    private static MapFile? Read(IBlockFile file, ulong tag, SegmentId segment, long segmentBytes)
    {
        var header = new byte[BlockBytes];
        file.Read(0, header);
        var (extents, blocks) = (BinaryPrimitives.ReadInt64LittleEndian(header.AsSpan(24)), BinaryPrimitives.ReadInt64LittleEndian(header.AsSpan(32)));
        // What it says of itself is believed as far as the file is long: no memory is taken for blocks that are not there.
        if (!header.AsSpan().SequenceEqual(Header(tag, segment, segmentBytes, extents, blocks)) || blocks < 0 || blocks > int.MaxValue / FenceBytes
            || file.LengthBytes < (1 + blocks) * BlockBytes + blocks * FenceBytes + HashBytes) return null;
        var bytes = new byte[blocks * FenceBytes + HashBytes];
        file.Read((1 + blocks) * BlockBytes, bytes);
        if (XxHash3.HashToUInt64(bytes.AsSpan(0, bytes.Length - HashBytes)) != BinaryPrimitives.ReadUInt64LittleEndian(bytes.AsSpan(bytes.Length - HashBytes))) return null;
        var fences = new (ushort, long)[blocks];
        for (var i = 0; i < blocks; i++)
            fences[i] = (BinaryPrimitives.ReadUInt16LittleEndian(bytes.AsSpan(i * FenceBytes)), BinaryPrimitives.ReadInt64LittleEndian(bytes.AsSpan(i * FenceBytes + 8)));
        return new MapFile(file, segment, fences, extents);
    }

    private static byte[] Header(ulong tag, SegmentId segment, long segmentBytes, long extents, long blocks)
    {
        var bytes = new byte[BlockBytes];
        BinaryPrimitives.WriteUInt32LittleEndian(bytes, Magic);
        BinaryPrimitives.WriteUInt32LittleEndian(bytes.AsSpan(4), Version);
        BinaryPrimitives.WriteUInt64LittleEndian(bytes.AsSpan(8), tag);
        BinaryPrimitives.WriteInt32LittleEndian(bytes.AsSpan(16), segment.First);
        BinaryPrimitives.WriteInt32LittleEndian(bytes.AsSpan(20), segment.Number);
        BinaryPrimitives.WriteInt64LittleEndian(bytes.AsSpan(24), extents);
        BinaryPrimitives.WriteInt64LittleEndian(bytes.AsSpan(32), blocks);
        BinaryPrimitives.WriteInt64LittleEndian(bytes.AsSpan(40), segmentBytes);
        BinaryPrimitives.WriteInt32LittleEndian(bytes.AsSpan(48), segment.Generation);
        BinaryPrimitives.WriteUInt64LittleEndian(bytes.AsSpan(HashAt), XxHash3.HashToUInt64(bytes.AsSpan(0, HashAt)));
        return bytes;
    }

    private static void WriteBlock(IBlockFile file, int number, byte[] block, int count)
    {
        block.AsSpan(count * RecordBytes).Clear();
        BinaryPrimitives.WriteUInt32LittleEndian(block.AsSpan(CountAt), (uint)count);
        BinaryPrimitives.WriteUInt64LittleEndian(block.AsSpan(HashAt), XxHash3.HashToUInt64(block.AsSpan(0, HashAt)));
        file.Write((long)number * BlockBytes, block);
    }

    private static void WriteFences(IBlockFile file, List<(ushort Disk, long Offset)> fences)
    {
        var bytes = new byte[fences.Count * FenceBytes + HashBytes];
        for (var i = 0; i < fences.Count; i++)
        {
            BinaryPrimitives.WriteUInt16LittleEndian(bytes.AsSpan(i * FenceBytes), fences[i].Disk);
            BinaryPrimitives.WriteInt64LittleEndian(bytes.AsSpan(i * FenceBytes + 8), fences[i].Offset);
        }
        BinaryPrimitives.WriteUInt64LittleEndian(bytes.AsSpan(bytes.Length - HashBytes), XxHash3.HashToUInt64(bytes.AsSpan(0, bytes.Length - HashBytes)));
        file.Write((long)(1 + fences.Count) * BlockBytes, bytes);
    }

    private static void WriteRecord(Span<byte> record, ushort disk, MappedExtent extent)
    {
        BinaryPrimitives.WriteInt64LittleEndian(record, extent.Offset);
        BinaryPrimitives.WriteInt64LittleEndian(record[8..], extent.FrameOffset);
        BinaryPrimitives.WriteInt32LittleEndian(record[16..], extent.Length);
        BinaryPrimitives.WriteInt32LittleEndian(record[20..], extent.Segment.Number);
        BinaryPrimitives.WriteInt32LittleEndian(record[24..], extent.RawOffset);
        BinaryPrimitives.WriteUInt32LittleEndian(record[28..], disk);
    }

    private (ushort Disk, MappedExtent Extent) RecordAt(ReadOnlySpan<byte> block, int index)
    {
        var record = block.Slice(index * RecordBytes, RecordBytes);
        return ((ushort)BinaryPrimitives.ReadUInt32LittleEndian(record[28..]), new MappedExtent(BinaryPrimitives.ReadInt64LittleEndian(record), BinaryPrimitives.ReadInt32LittleEndian(record[16..]),
            _segment, BinaryPrimitives.ReadInt64LittleEndian(record[8..]), BinaryPrimitives.ReadInt32LittleEndian(record[24..])));
    }

    /// <exception cref="InvalidDataException">The block is damaged.</exception>
    private void ReadBlock(int block, Span<byte> into)
    {
        _file.Read((1L + block) * BlockBytes, into);
        if (XxHash3.HashToUInt64(into[..HashAt]) != BinaryPrimitives.ReadUInt64LittleEndian(into[HashAt..]) || BinaryPrimitives.ReadUInt32LittleEndian(into[CountAt..]) > RecordsPerBlock) throw new InvalidDataException("a block of the map is damaged");
    }

    private int LastFenceNotAfter(ushort disk, long offset)
    {
        var (low, high) = (0, _fences.Length);
        while (low < high)
        {
            var middle = (low + high) / 2;
            if (_fences[middle].CompareTo((disk, offset)) <= 0) low = middle + 1;
            else high = middle;
        }
        return low - 1;
    }

    private int FirstEndingAfter(ReadOnlySpan<byte> block, int count, ushort disk, long from)
    {
        var (low, high) = (0, count);
        while (low < high)
        {
            var middle = (low + high) / 2;
            var (owner, extent) = RecordAt(block, middle);
            if (owner < disk || (owner == disk && extent.End <= from)) low = middle + 1;
            else high = middle;
        }
        return low;
    }

    private static bool IsBehind((ushort Disk, long Offset) key, ushort disk, long to) => key.Disk > disk || (key.Disk == disk && key.Offset >= to);
}
