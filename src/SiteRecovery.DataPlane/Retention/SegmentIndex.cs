using System.Buffers;
using System.Buffers.Binary;
using System.IO.Hashing;
using SiteRecovery.DataPlane.Blocks;

namespace SiteRecovery.DataPlane.Retention;

/// <summary>The frames of a segment without their payloads: offset, header and extents of each, in log order.</summary>
internal sealed class SegmentIndex
{
    private const uint Magic = 0x31585253; // "SRX1"
    private const int PreambleBytes = 24, HashBytes = 8;
    private readonly ArrayBufferWriter<byte> _bytes = new(4096);

    internal SegmentIndex(ulong tag, int segment)
    {
        var preamble = _bytes.GetSpan(PreambleBytes)[..PreambleBytes];
        BinaryPrimitives.WriteUInt32LittleEndian(preamble, Magic);
        BinaryPrimitives.WriteUInt32LittleEndian(preamble[4..], 1);
        BinaryPrimitives.WriteUInt64LittleEndian(preamble[8..], tag);
        BinaryPrimitives.WriteInt64LittleEndian(preamble[16..], segment);
        _bytes.Advance(PreambleBytes);
    }

    internal int Length => _bytes.WrittenCount;

    internal void Add(long offset, Batch batch)
    {
        BinaryPrimitives.WriteInt64LittleEndian(_bytes.GetSpan(8), offset);
        _bytes.Advance(8);
        _bytes.Write(batch.Frame.Span[..(BatchCodec.HeaderBytes + batch.Header.ExtentCount * BatchCodec.ExtentBytes)]);
    }

    /// <param name="segment">Null: the number that it was begun with.</param>
    internal byte[] ToBytes(int? segment = null)
    {
        var bytes = new byte[_bytes.WrittenCount + HashBytes];
        _bytes.WrittenSpan.CopyTo(bytes);
        if (segment is { } number) BinaryPrimitives.WriteInt64LittleEndian(bytes.AsSpan(16), number);
        BinaryPrimitives.WriteUInt64LittleEndian(bytes.AsSpan(_bytes.WrittenCount), XxHash3.HashToUInt64(bytes.AsSpan(0, _bytes.WrittenCount)));
        return bytes;
    }

    /// <summary>Its frames, or null where the bytes are no whole index of this segment.</summary>
    internal static List<(long Offset, Batch Prefix)>? TryRead(byte[]? bytes, ulong tag, int segment)
    {
        if (bytes is null || bytes.Length < PreambleBytes + HashBytes) return null;
        var body = bytes.AsSpan(0, bytes.Length - HashBytes);
        if (XxHash3.HashToUInt64(body) != BinaryPrimitives.ReadUInt64LittleEndian(bytes.AsSpan(body.Length))) return null;
        if (!body[..PreambleBytes].SequenceEqual(new SegmentIndex(tag, segment)._bytes.WrittenSpan)) return null;
        var frames = new List<(long, Batch)>();
        try
        {
            for (var at = PreambleBytes; at < body.Length;)
            {
                // Whole by its checksum and not by its meaning: made anew from the segment like any other damage.
                if (body.Length - at < 8 + BatchCodec.HeaderBytes) return null;
                var offset = BinaryPrimitives.ReadInt64LittleEndian(body[at..]);
                var header = BatchCodec.ReadHeader(body[(at + 8)..]);
                var length = BatchCodec.HeaderBytes + header.ExtentCount * BatchCodec.ExtentBytes;
                if (offset < 0 || length > body.Length - at - 8) return null;
                frames.Add((offset, new Batch(header, bytes.AsMemory(at + 8, length))));
                at += 8 + length;
            }
        }
        catch (InvalidDataException)
        {
            return null;
        }
        return frames;
    }
}
