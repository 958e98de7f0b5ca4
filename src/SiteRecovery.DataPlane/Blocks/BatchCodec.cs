using System.Buffers.Binary;
using System.Collections.Concurrent;
using System.IO.Hashing;
using System.Text;
using K4os.Compression.LZ4;
using SiteRecovery.Domain.History;

namespace SiteRecovery.DataPlane.Blocks;

/// <summary>Encodes, checks and decodes batches as BATCH.md describes them.</summary>
public static partial class BatchCodec
{
    public const int HeaderBytes = 88;
    public const int ExtentBytes = 16;
    public const int ExtentsMax = 4096;
    public const int PayloadBytesMax = 4 << 20;
    public const int FrameBytesMax = HeaderBytes + ExtentsMax * ExtentBytes + PayloadBytesMax;
    private const uint Magic = 0x31425253; // "SRB1"
    // As many as ever compress at once; each holds a working memory that is dear to set up.
    private static readonly ConcurrentBag<ZstdSharp.Compressor> Compressors = [];
    private static readonly ConcurrentBag<ZstdSharp.Decompressor> Decompressors = [];
    private const int CompressionAt = 5, StoredBytesAt = 68, RawHashAt = 72, FrameHashAt = 80;

    public static ulong TagOf(MachineId machine) => XxHash64.HashToUInt64(Encoding.UTF8.GetBytes(machine.Value));

    /// <summary>Builds an uncompressed frame; the payload is the data of the data extents in order.</summary>
    public static Batch Encode(BatchHeader header, ReadOnlySpan<Extent> extents, ReadOnlySpan<byte> payload)
    {
        var frame = Begin(extents.Length, payload.Length);
        payload.CopyTo(PayloadOf(frame, extents.Length));
        return Complete(header, extents, frame);
    }

    /// <summary>Room for an uncompressed frame, from the frame pool: first fill <see cref="PayloadOf"/>, then <see cref="Complete"/> it.</summary>
    internal static Memory<byte> Begin(int extents, int payloadBytes)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThan(extents, ExtentsMax);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(payloadBytes, PayloadBytesMax);
        var length = HeaderBytes + extents * ExtentBytes + payloadBytes;
        return FramePool.Shared.Rent(length).AsMemory(0, length);
    }

    internal static Span<byte> PayloadOf(Memory<byte> frame, int extents) => frame.Span[(HeaderBytes + extents * ExtentBytes)..];

    internal static Batch Complete(BatchHeader header, ReadOnlySpan<Extent> extents, Memory<byte> frame)
    {
        var bytes = frame.Span;
        for (var i = 0; i < extents.Length; i++) WriteExtent(bytes, i, extents[i]);
        var payloadBytes = bytes.Length - HeaderBytes - extents.Length * ExtentBytes;
        header = header with
        {
            Encrypted = false, Compression = PayloadCompression.None, ExtentCount = extents.Length, RawBytes = payloadBytes, StoredBytes = payloadBytes,
            RawHash = XxHash3.HashToUInt64(bytes[HeaderBytes..]),
            // To the precision that the bytes have: who compares what he reads with what he has written must find it equal.
            Time = TimeFrom(MicrosecondsOf(header.Time)),
        };
        WriteHeader(bytes, header);
        Seal(bytes);
        return new Batch(header, frame);
    }

    /// <summary>The same batch with its payload compressed, in an array of the frame pool, or the batch itself where that does not make it smaller.</summary>
    public static Batch Compress(Batch batch, PayloadCompression how)
    {
        var header = batch.Header;
        if (how == PayloadCompression.None || header.Compression != PayloadCompression.None || header.RawBytes < 512) return batch;
        var prefix = HeaderBytes + header.ExtentCount * ExtentBytes;
        // Room for what is worth it and no more, so that a compressor gives up early on what is not.
        var worth = header.RawBytes - header.RawBytes / 16 - 1;
        var array = FramePool.Shared.Rent(prefix + worth);
        var output = array.AsSpan(prefix, worth);
        var stored = how == PayloadCompression.Lz4 ? LZ4Codec.Encode(batch.StoredPayload.Span, output) : CompressZstd(batch.StoredPayload.Span, output);
        if (stored <= 0)
        {
            FramePool.Shared.Return(array);
            return batch;
        }
        var frame = array.AsMemory(0, prefix + stored);
        batch.Frame.Span[..prefix].CopyTo(frame.Span);
        array[CompressionAt] = (byte)how;
        BinaryPrimitives.WriteInt32LittleEndian(frame.Span[StoredBytesAt..], stored);
        Seal(frame.Span);
        return new Batch(header with { Compression = how, StoredBytes = stored }, frame);
    }

    /// <summary>Reads a header without touching the payload. The caller still has to <see cref="Verify"/> the whole frame.</summary>
    /// <exception cref="InvalidDataException">The bytes are no batch header or exceed a limit.</exception>
    public static BatchHeader ReadHeader(ReadOnlySpan<byte> bytes)
    {
        if (bytes.Length < HeaderBytes || BinaryPrimitives.ReadUInt32LittleEndian(bytes) != Magic)
            throw new InvalidDataException("not a batch: wrong magic");
        var header = new BatchHeader
        {
            Kind = (BatchKind)bytes[4], Compression = (PayloadCompression)bytes[CompressionAt], Marker = (MarkerKind)bytes[6], Coalesced = (bytes[7] & 1) != 0, Absorbed = (bytes[7] & 2) != 0, Thinned = (bytes[7] & 4) != 0, Encrypted = (bytes[FlagsAt] & EncryptedFlag) != 0,
            MachineTag = BinaryPrimitives.ReadUInt64LittleEndian(bytes[8..]),
            Epoch = new Epoch(BinaryPrimitives.ReadInt32LittleEndian(bytes[16..])),
            ExtentCount = BinaryPrimitives.ReadInt32LittleEndian(bytes[20..]),
            Incarnation = BinaryPrimitives.ReadInt64LittleEndian(bytes[24..]),
            Ordinal = BinaryPrimitives.ReadInt64LittleEndian(bytes[32..]),
            First = new Sequence(BinaryPrimitives.ReadInt64LittleEndian(bytes[40..])),
            Last = new Sequence(BinaryPrimitives.ReadInt64LittleEndian(bytes[48..])),
            Time = TimeFrom(BinaryPrimitives.ReadInt64LittleEndian(bytes[56..])),
            RawBytes = BinaryPrimitives.ReadInt32LittleEndian(bytes[64..]),
            StoredBytes = BinaryPrimitives.ReadInt32LittleEndian(bytes[StoredBytesAt..]),
            RawHash = BinaryPrimitives.ReadUInt64LittleEndian(bytes[RawHashAt..]),
        };
        if (!Enum.IsDefined(header.Kind) || !Enum.IsDefined(header.Marker) || !Enum.IsDefined(header.Compression)) throw new InvalidDataException("batch of an unknown kind");
        var least = header.Encrypted ? EncryptionBytes : 0;
        if (header.ExtentCount is < 0 or > ExtentsMax || header.RawBytes is < 0 or > PayloadBytesMax || header.StoredBytes < least || header.StoredBytes > header.RawBytes + least)
            throw new InvalidDataException("batch exceeds its limits");
        if (header.Absorbed && (header.Kind != BatchKind.Delta || !header.Coalesced || header.ExtentCount != 0)) throw new InvalidDataException("batch cannot be absorbed");
        if (header.Encrypted && header.Kind == BatchKind.Marker) throw new InvalidDataException("batch cannot be encrypted");
        if (header.Thinned && (header.Kind != BatchKind.Delta || !header.Coalesced || header.Absorbed)) throw new InvalidDataException("batch cannot be thinned");
        return header;
    }

    /// <summary>Decodes a whole frame and checks its frame hash.</summary>
    /// <exception cref="InvalidDataException">The frame is damaged.</exception>
    public static Batch Verify(ReadOnlyMemory<byte> frame)
    {
        var header = ReadHeader(frame.Span);
        if (frame.Length != header.FrameBytes) throw new InvalidDataException("batch frame has the wrong length");
        if (HashOf(frame.Span) != BinaryPrimitives.ReadUInt64LittleEndian(frame.Span[FrameHashAt..])) throw new InvalidDataException("batch frame hash does not match: damaged");
        var batch = new Batch(header, frame);
        long data = 0;
        for (var i = 0; i < header.ExtentCount; i++)
        {
            var extent = batch.ExtentAt(i);
            if (!Enum.IsDefined(extent.Kind) || extent.Offset < 0 || extent.Length <= 0) throw new InvalidDataException("batch has an impossible extent");
            if (extent.Kind == ExtentKind.Data) data += extent.Length;
        }
        if (header.Kind != BatchKind.Marker && data != header.RawBytes) throw new InvalidDataException("batch payload does not match its extents");
        return batch;
    }

    /// <summary>Writes the uncompressed payload to <paramref name="raw"/> (RawBytes long) and checks the end-to-end hash.</summary>
    /// <exception cref="InvalidDataException">The payload is damaged.</exception>
    public static void Decompress(Batch batch, Span<byte> raw)
    {
        var header = batch.Header;
        if (header.Encrypted) throw new InvalidDataException("batch is encrypted");
        raw = raw[..header.RawBytes];
        var stored = batch.StoredPayload.Span;
        var written = header.Compression switch
        {
            PayloadCompression.None => Copy(stored, raw),
            PayloadCompression.Lz4 => LZ4Codec.Decode(stored, raw),
            _ => DecompressZstd(stored, raw),
        };
        if (written != header.RawBytes) throw new InvalidDataException("batch payload does not decompress to its length");
        var hash = new XxHash3();
        hash.Append(batch.Frame.Span[HeaderBytes..(HeaderBytes + header.ExtentCount * ExtentBytes)]);
        hash.Append(raw);
        if (hash.GetCurrentHashAsUInt64() != header.RawHash) throw new InvalidDataException("batch payload hash does not match: damaged");
    }

    public static Extent ReadExtent(ReadOnlySpan<byte> frame, int index)
    {
        var at = frame[(HeaderBytes + index * ExtentBytes)..];
        return new Extent((long)BinaryPrimitives.ReadUInt64LittleEndian(at), BinaryPrimitives.ReadInt32LittleEndian(at[8..]),
            BinaryPrimitives.ReadUInt16LittleEndian(at[12..]), (ExtentKind)BinaryPrimitives.ReadUInt16LittleEndian(at[14..]));
    }

    private static void WriteExtent(Span<byte> frame, int index, Extent extent)
    {
        var at = frame[(HeaderBytes + index * ExtentBytes)..];
        BinaryPrimitives.WriteUInt64LittleEndian(at, (ulong)extent.Offset);
        BinaryPrimitives.WriteInt32LittleEndian(at[8..], extent.Length);
        BinaryPrimitives.WriteUInt16LittleEndian(at[12..], extent.Disk);
        BinaryPrimitives.WriteUInt16LittleEndian(at[14..], (ushort)extent.Kind);
    }

    private static void WriteHeader(Span<byte> frame, BatchHeader header)
    {
        BinaryPrimitives.WriteUInt32LittleEndian(frame, Magic);
        (frame[4], frame[CompressionAt], frame[6], frame[7]) = ((byte)header.Kind, (byte)header.Compression, (byte)header.Marker, (byte)((header.Coalesced ? 1 : 0) | (header.Absorbed ? 2 : 0) | (header.Thinned ? 4 : 0)));
        BinaryPrimitives.WriteUInt64LittleEndian(frame[8..], header.MachineTag);
        BinaryPrimitives.WriteInt32LittleEndian(frame[16..], header.Epoch.Value);
        BinaryPrimitives.WriteInt32LittleEndian(frame[20..], header.ExtentCount);
        BinaryPrimitives.WriteInt64LittleEndian(frame[24..], header.Incarnation);
        BinaryPrimitives.WriteInt64LittleEndian(frame[32..], header.Ordinal);
        BinaryPrimitives.WriteInt64LittleEndian(frame[40..], header.First.Value);
        BinaryPrimitives.WriteInt64LittleEndian(frame[48..], header.Last.Value);
        BinaryPrimitives.WriteInt64LittleEndian(frame[56..], MicrosecondsOf(header.Time));
        BinaryPrimitives.WriteInt32LittleEndian(frame[64..], header.RawBytes);
        BinaryPrimitives.WriteInt32LittleEndian(frame[StoredBytesAt..], header.StoredBytes);
        BinaryPrimitives.WriteUInt64LittleEndian(frame[RawHashAt..], header.RawHash);
    }

    private static void Seal(Span<byte> frame) => BinaryPrimitives.WriteUInt64LittleEndian(frame[FrameHashAt..], HashOf(frame));

    private static ulong HashOf(ReadOnlySpan<byte> frame)
    {
        var hash = new XxHash3();
        hash.Append(frame[..FrameHashAt]);
        hash.Append(frame[HeaderBytes..]);
        return hash.GetCurrentHashAsUInt64();
    }

    private static long MicrosecondsOf(DateTimeOffset time) => (time - DateTimeOffset.UnixEpoch).Ticks / TimeSpan.TicksPerMicrosecond;

    private static DateTimeOffset TimeFrom(long microseconds) => microseconds >= MicrosecondsOf(DateTimeOffset.MinValue) && microseconds <= MicrosecondsOf(DateTimeOffset.MaxValue)
        ? DateTimeOffset.UnixEpoch.AddTicks(microseconds * TimeSpan.TicksPerMicrosecond)
        : throw new InvalidDataException("batch has an impossible time");

    private static int Copy(ReadOnlySpan<byte> stored, Span<byte> raw)
    {
        if (stored.Length != raw.Length) return -1;
        stored.CopyTo(raw);
        return raw.Length;
    }

    /// <summary>The compressed length, or 0 where it does not fit.</summary>
    private static int CompressZstd(ReadOnlySpan<byte> raw, Span<byte> output)
    {
        if (!Compressors.TryTake(out var zstd)) zstd = new ZstdSharp.Compressor(1);
        var fits = zstd.TryWrap(raw, output, out var written);
        Compressors.Add(zstd);
        return fits ? written : 0;
    }

    private static int DecompressZstd(ReadOnlySpan<byte> stored, Span<byte> raw)
    {
        if (!Decompressors.TryTake(out var zstd)) zstd = new ZstdSharp.Decompressor();
        try
        {
            var written = zstd.Unwrap(stored, raw);
            Decompressors.Add(zstd);
            return written;
        }
        catch (ZstdSharp.ZstdException damage)
        {
            zstd.Dispose();
            throw new InvalidDataException("batch payload does not decompress: " + damage.Message, damage);
        }
    }
}
