using System.Buffers.Binary;

namespace SiteRecovery.DataPlane.Blocks;

/// <summary>Encrypts bytes in place and vouches for them. Safe for concurrent calls.</summary>
internal interface ICipher
{
    /// <summary>What it needs beside the bytes, to decrypt them.</summary>
    internal const int SealBytes = 32;

    /// <param name="known">Not encrypted, but vouched for too.</param>
    /// <param name="seal">Is filled: <see cref="SealBytes"/>.</param>
    void Encrypt(ReadOnlySpan<byte> known, Span<byte> bytes, Span<byte> seal);

    /// <exception cref="InvalidDataException">They are not what was encrypted; what is in them is nothing.</exception>
    void Decrypt(ReadOnlySpan<byte> known, Span<byte> bytes, ReadOnlySpan<byte> seal);
}

/// <content>Frames as an encrypted retention store keeps them: STORE.md.</content>
public static partial class BatchCodec
{
    /// <summary>By which a frame is longer when it is encrypted.</summary>
    internal const int EncryptionBytes = HashBytes + ICipher.SealBytes;
    private const int FlagsAt = 7, HashBytes = 8;
    private const byte EncryptedFlag = 8;

    /// <summary>The same batch with its payload and the hash of that encrypted, in an array of the frame pool. Header and extents stay readable, and are vouched for.</summary>
    /// <param name="batch">Has a payload.</param>
    internal static Batch Encrypt(Batch batch, ICipher cipher)
    {
        var (header, prefix, plain) = (batch.Header, HeaderBytes + batch.Header.ExtentCount * ExtentBytes, batch.Header.StoredBytes + HashBytes);
        var length = prefix + plain + ICipher.SealBytes;
        var frame = FramePool.Shared.Rent(length).AsMemory(0, length);
        var bytes = frame.Span;
        batch.Frame.Span.CopyTo(bytes);
        BinaryPrimitives.WriteUInt64LittleEndian(bytes[(prefix + header.StoredBytes)..], header.RawHash);
        header = header with { Encrypted = true, StoredBytes = header.StoredBytes + EncryptionBytes, RawHash = 0 };
        WriteChanged(bytes, header);
        cipher.Encrypt(bytes[..prefix], bytes.Slice(prefix, plain), bytes[(prefix + plain)..]);
        Seal(bytes);
        return new Batch(header, frame);
    }

    /// <summary>The batch that was encrypted, in the same array.</summary>
    /// <exception cref="InvalidDataException">It is not what was encrypted.</exception>
    internal static Batch Decrypt(Batch encrypted, Memory<byte> frame, ICipher cipher)
    {
        var (header, prefix) = (encrypted.Header, HeaderBytes + encrypted.Header.ExtentCount * ExtentBytes);
        var bytes = frame.Span;
        var plain = header.StoredBytes - ICipher.SealBytes;
        bytes[FrameHashAt..HeaderBytes].Clear();
        cipher.Decrypt(bytes[..prefix], bytes.Slice(prefix, plain), bytes[(prefix + plain)..]);
        header = header with { Encrypted = false, StoredBytes = plain - HashBytes, RawHash = BinaryPrimitives.ReadUInt64LittleEndian(bytes[(prefix + plain - HashBytes)..]) };
        frame = frame[..(prefix + header.StoredBytes)];
        WriteChanged(frame.Span, header);
        Seal(frame.Span);
        return new Batch(header, frame);
    }

    private static void WriteChanged(Span<byte> frame, BatchHeader header)
    {
        frame[FlagsAt] = (byte)(header.Encrypted ? frame[FlagsAt] | EncryptedFlag : frame[FlagsAt] & ~EncryptedFlag);
        BinaryPrimitives.WriteInt32LittleEndian(frame[StoredBytesAt..], header.StoredBytes);
        BinaryPrimitives.WriteUInt64LittleEndian(frame[RawHashAt..], header.RawHash);
        frame[FrameHashAt..HeaderBytes].Clear();
    }
}
