using System.Buffers.Binary;
using System.Globalization;
using System.IO.Hashing;
using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.DataPlane.Storage;

namespace SiteRecovery.DataPlane.Retention;

/// <summary>The format of a segment of the log: STORE.md.</summary>
internal static class SegmentFile
{
    internal const int HeaderBytes = 32;
    private const uint Magic = 0x31535253; // "SRS1"

    internal static string PathOf(string folder, int segment) =>
        Path.Combine(folder, "log", segment.ToString("D10", CultureInfo.InvariantCulture) + ".seg");

    internal static byte[] Header(ulong tag, int segment)
    {
        var bytes = new byte[HeaderBytes];
        BinaryPrimitives.WriteUInt32LittleEndian(bytes, Magic);
        BinaryPrimitives.WriteUInt32LittleEndian(bytes.AsSpan(4), 1);
        BinaryPrimitives.WriteUInt64LittleEndian(bytes.AsSpan(8), tag);
        BinaryPrimitives.WriteInt64LittleEndian(bytes.AsSpan(16), segment);
        BinaryPrimitives.WriteUInt64LittleEndian(bytes.AsSpan(24), XxHash3.HashToUInt64(bytes.AsSpan(0, 24)));
        return bytes;
    }

    /// <summary>Verifies frame after frame. Returns the end of the last whole one and, if it is not the file's end, why.</summary>
    internal static (long End, string? Reason) Scan(IBlockFile file, ulong tag, int segment, Action<long, Batch>? found)
    {
        var length = file.LengthBytes;
        var header = new byte[HeaderBytes];
        file.Read(0, header);
        if (length < HeaderBytes || !header.AsSpan().SequenceEqual(Header(tag, segment))) return (0, "segment header is damaged");
        long at = HeaderBytes;
        try
        {
            var prefix = new byte[BatchCodec.HeaderBytes];
            while (at < length)
            {
                file.Read(at, prefix);
                var frameBytes = BatchCodec.ReadHeader(prefix).FrameBytes;
                if (frameBytes > length - at) return (at, "frame is cut short");
                var frame = new byte[frameBytes];
                file.Read(at, frame);
                var batch = BatchCodec.Verify(frame);
                if (batch.Header.MachineTag != tag) return (at, "frame of another machine");
                found?.Invoke(at, batch);
                at += frameBytes;
            }
            return (at, null);
        }
        catch (InvalidDataException damage)
        {
            return (at, damage.Message);
        }
    }
}
