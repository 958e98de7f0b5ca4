using System.Buffers.Binary;
using System.IO.Hashing;
using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.DataPlane.Retention;
using SiteRecovery.DataPlane.Storage;

namespace SiteRecovery.Fuzzing;

/// <summary>Makes the checksums of our formats right again after a change, as whoever means harm would.</summary>
internal static class Checksums
{
    private const int FrameHashAt = 80;

    /// <summary>One frame of BATCH.md: also its length and the hash of its payload, where it is not compressed.</summary>
    internal static void Frame(Span<byte> frame, Random random)
    {
        if (frame.Length < BatchCodec.HeaderBytes) return;
        var prefix = BatchCodec.HeaderBytes + BinaryPrimitives.ReadInt32LittleEndian(frame[20..]) * (long)BatchCodec.ExtentBytes;
        if (prefix >= 0 && prefix <= frame.Length && random.Next(2) == 0)
        {
            var stored = frame.Length - (int)prefix;
            BinaryPrimitives.WriteInt32LittleEndian(frame[68..], stored);
            if (frame[5] == 0)
            {
                BinaryPrimitives.WriteInt32LittleEndian(frame[64..], stored);
                BinaryPrimitives.WriteUInt64LittleEndian(frame[72..], XxHash3.HashToUInt64(frame[BatchCodec.HeaderBytes..]));
            }
        }
        Seal(frame);
    }

    /// <summary>Frames one behind the other, as far as their headers lead.</summary>
    internal static void Frames(Span<byte> bytes)
    {
        while (bytes.Length >= BatchCodec.HeaderBytes)
        {
            var length = BatchCodec.HeaderBytes + (long)BatchCodec.ExtentBytes * BinaryPrimitives.ReadInt32LittleEndian(bytes[20..]) + BinaryPrimitives.ReadInt32LittleEndian(bytes[68..]);
            if (length < BatchCodec.HeaderBytes || length > bytes.Length) return;
            Seal(bytes[..(int)length]);
            bytes = bytes[(int)length..];
        }
    }

    private static void Seal(Span<byte> frame)
    {
        var hash = new XxHash3();
        hash.Append(frame[..FrameHashAt]);
        hash.Append(frame[BatchCodec.HeaderBytes..]);
        BinaryPrimitives.WriteUInt64LittleEndian(frame[FrameHashAt..], hash.GetCurrentHashAsUInt64());
    }

    /// <summary>XxHash3 of the first so many bytes, right behind them.</summary>
    internal static void Behind(Span<byte> bytes, int hashed)
    {
        if (hashed >= 0 && bytes.Length >= hashed + 8) BinaryPrimitives.WriteUInt64LittleEndian(bytes[hashed..], XxHash3.HashToUInt64(bytes[..hashed]));
    }

    /// <summary>A file of a store or beside it, by its name.</summary>
    internal static void File(string path, byte[] bytes)
    {
        switch (Path.GetExtension(path))
        {
            case ".seg" when Path.GetFileName(path).Contains('~', StringComparison.Ordinal): Spool(bytes); break;
            case ".seg": Segment(bytes); break;
            case ".idx": Behind(bytes, bytes.Length - 8); break;
            case ".end" when bytes.Length > 8: BinaryPrimitives.WriteUInt64LittleEndian(bytes, XxHash3.HashToUInt64(bytes.AsSpan(8))); break;
            case ".map": Map(bytes); break;
            case ".bitmap": Behind(bytes, 48); break;
            case ".overlay": Behind(bytes, 40); break;
            case ".tag":
                for (var at = 0; at + 512 <= bytes.Length; at += 512) Behind(bytes.AsSpan(at), 480);
                break;
            case ".json": Json(bytes); break;
            default:
                if (Path.GetFileName(path) == "SYNCED") Behind(bytes, 16);
                else if (Path.GetFileName(path) == "PROOF") Proof(bytes);
                else if (path.EndsWith("~durable", StringComparison.Ordinal)) Behind(bytes, 56);
                break;
        }
    }

    private static void Segment(Span<byte> bytes)
    {
        if (bytes.Length < 64) return;
        var header = BinaryPrimitives.ReadUInt32LittleEndian(bytes[4..]) == 2 ? 64 : 32;
        Behind(bytes, header - 8);
        Frames(bytes[header..]);
    }

    private static void Spool(Span<byte> bytes)
    {
        if (bytes.Length < 48) return;
        var header = BinaryPrimitives.ReadInt32LittleEndian(bytes[40..]);
        if (header < 48 || header > bytes.Length) return;
        Behind(bytes, header - 8);
        Frames(bytes[header..]);
    }

    private static void Map(Span<byte> bytes)
    {
        for (var at = 0; at + MapFile.BlockBytes <= bytes.Length; at += MapFile.BlockBytes) Behind(bytes[at..], MapFile.BlockBytes - 8);
        Behind(bytes[(bytes.Length / MapFile.BlockBytes * MapFile.BlockBytes)..], bytes.Length % MapFile.BlockBytes - 8);
    }

    private static void Proof(Span<byte> bytes)
    {
        Behind(bytes, 40);
        for (var at = LeafFile.PageBytes; at + LeafFile.PageBytes <= bytes.Length; at += LeafFile.PageBytes) Behind(bytes[at..], LeafFile.PageBytes - 8);
    }

    private static void Json(byte[] bytes)
    {
        var start = bytes.AsSpan().LastIndexOf(",\n  \"checksum\""u8);
        if (start < 0) return;
        byte[] body = [.. bytes.AsSpan(0, start), (byte)'}'];
        var whole = SealedJson.Seal(body);
        if (whole.Length == bytes.Length) whole.CopyTo(bytes, 0);
    }
}
