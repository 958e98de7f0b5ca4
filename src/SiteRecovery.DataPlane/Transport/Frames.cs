using System.Buffers.Binary;
using System.IO.Hashing;
using System.Runtime.InteropServices;
using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.Domain.History;

namespace SiteRecovery.DataPlane.Transport;

internal enum FrameType : byte
{
    OpenStream = 1, StreamOpened = 2, Refused = 3, Batch = 4, Received = 5, Durable = 6, Credit = 7, HashQuery = 8, HashReply = 9, CloseStream = 10, Ping = 11, Pong = 12,
}

internal readonly record struct FrameHeader(FrameType Type, uint Stream, int Length)
{
    internal const int Bytes = 16, SmallBytesMax = 1 << 20;

    internal void Write(Span<byte> to)
    {
        to[..Bytes].Clear();
        to[0] = (byte)Type;
        BinaryPrimitives.WriteUInt32LittleEndian(to[4..], Stream);
        BinaryPrimitives.WriteInt32LittleEndian(to[8..], Length);
        BinaryPrimitives.WriteUInt32LittleEndian(to[12..], Crc32.HashToUInt32(to[..12]));
    }

    internal static FrameHeader Read(ReadOnlySpan<byte> from)
    {
        if (Crc32.HashToUInt32(from[..12]) != BinaryPrimitives.ReadUInt32LittleEndian(from[12..])) throw new InvalidDataException("frame header is damaged");
        var header = new FrameHeader((FrameType)from[0], BinaryPrimitives.ReadUInt32LittleEndian(from[4..]), BinaryPrimitives.ReadInt32LittleEndian(from[8..]));
        if (!Enum.IsDefined(header.Type)) throw new InvalidDataException($"frame of unknown type {from[0]}");
        var limit = header.Type == FrameType.Batch ? BatchCodec.FrameBytesMax : SmallBytesMax;
        return header.Length < 0 || header.Length > limit ? throw new InvalidDataException($"frame of {header.Length} bytes exceeds its limit") : header;
    }
}

/// <summary>Payloads of the small frames (WIRE.md).</summary>
internal static class Payload
{
    internal static byte[] Frame(FrameType type, uint stream, Action<BinaryWriter>? write = null)
    {
        using var memory = new MemoryStream();
        memory.SetLength(FrameHeader.Bytes);
        memory.Position = FrameHeader.Bytes;
        using var writer = new BinaryWriter(memory);
        write?.Invoke(writer);
        writer.Flush();
        var frame = memory.ToArray();
        new FrameHeader(type, stream, frame.Length - FrameHeader.Bytes).Write(frame);
        return frame;
    }

    internal static BinaryReader Reader(ReadOnlyMemory<byte> payload) => MemoryMarshal.TryGetArray(payload, out var bytes)
        ? new(new MemoryStream(bytes.Array!, bytes.Offset, bytes.Count, writable: false))
        : throw new ArgumentException("a payload lies in an array", nameof(payload));

    internal static void Write(BinaryWriter to, StreamPosition position)
    {
        to.Write(position.Incarnation);
        to.Write(position.Ordinal);
    }

    internal static StreamPosition ReadPosition(BinaryReader from) => new(from.ReadInt64(), from.ReadInt64());

    internal static void Write(BinaryWriter to, StreamOpening opening)
    {
        to.Write(opening.Machine.Value);
        to.Write(opening.Epoch.Value);
        to.Write(opening.Incarnation);
        to.Write((ushort)opening.Disks.Count);
        foreach (var disk in opening.Disks)
        {
            to.Write(disk.Index);
            to.Write(disk.Name);
            to.Write(disk.SizeBytes);
        }
        to.Write(opening.KnownDurable.Value);
        Write(to, opening.KnownPosition);
    }

    internal static StreamOpening ReadOpening(ReadOnlyMemory<byte> payload)
    {
        using var from = Reader(payload);
        var machine = from.ReadString();
        if (!MachineId.IsValid(machine)) throw new InvalidDataException("not a machine name");
        var (epoch, incarnation) = (new Epoch(from.ReadInt32()), from.ReadInt64());
        var disks = new DiskGeometry[from.ReadUInt16()];
        for (var i = 0; i < disks.Length; i++) disks[i] = new DiskGeometry(from.ReadUInt16(), from.ReadString(), from.ReadInt64());
        // A source of before 2026-11-29 does not say it, or the sequence alone.
        var known = Left() >= sizeof(long) ? from.ReadInt64() : 0;
        var position = Left() >= 2 * sizeof(long) ? ReadPosition(from) : default;
        return new StreamOpening(new MachineId(machine), epoch, disks, incarnation)
        {
            KnownDurable = known >= 0 ? new Sequence(known) : throw new InvalidDataException("not a sequence"),
            KnownPosition = position is { Incarnation: >= 0, Ordinal: >= 0 } ? position : throw new InvalidDataException("not a position"),
        };

        long Left() => from.BaseStream.Length - from.BaseStream.Position;
    }

    private const byte EmptyFlag = 1, LostFlag = 2;

    internal static void Write(BinaryWriter to, StreamOpened opened)
    {
        Write(to, opened.Held);
        Write(to, opened.Durable);
        to.Write(opened.DurableSequence.Value);
        to.Write((byte)((opened.TargetEmpty ? EmptyFlag : 0) | (opened.TargetLost ? LostFlag : 0)));
    }

    internal static StreamOpened ReadOpened(ReadOnlyMemory<byte> payload)
    {
        using var from = Reader(payload);
        var (held, durable, sequence, flags) = (ReadPosition(from), ReadPosition(from), new Sequence(from.ReadInt64()), from.ReadByte());
        return new StreamOpened(held, durable, sequence, (flags & EmptyFlag) != 0, (flags & LostFlag) != 0);
    }

    internal static void WriteError(BinaryWriter to, Exception error)
    {
        to.Write((byte)(error switch { StaleEpochException => 1, StreamGapException => 2, _ => 3 }));
        to.Write(error is StaleEpochException stale ? stale.Current.Value : 0);
        Write(to, error is StreamGapException gap ? gap.Held : default);
        to.Write(error.Message.Length > 1000 ? error.Message[..1000] : error.Message);
    }

    internal static Exception ReadError(ReadOnlyMemory<byte> payload)
    {
        using var from = Reader(payload);
        var (code, epoch, held, text) = (from.ReadByte(), from.ReadInt32(), ReadPosition(from), from.ReadString());
        return code switch { 1 => new StaleEpochException(new Epoch(epoch)), 2 => new StreamGapException(held), _ => new ChannelException($"refused by the other end: {text}") };
    }

    internal static ulong[] ReadHashes(ReadOnlySpan<byte> bytes) => MemoryMarshal.Cast<byte, ulong>(bytes).ToArray();
}

/// <summary>The channel or one of its streams is over; the message is why.</summary>
public sealed class ChannelException(string reason, Exception? inner = null) : IOException(reason, inner);

public sealed record ChannelOptions
{
    /// <summary>Bytes of one stream that may be under way and unprocessed at the receiver.</summary>
    public int WindowBytes { get; init; } = 16 << 20;
    /// <summary>What each stream has of it, however many there are: no less than the largest frame that its source makes, or it waits for ever.</summary>
    public int LeastWindowBytes { get; init; } = BatchCodec.FrameBytesMax;
    /// <summary>What all streams of a receiver together have beyond that.</summary>
    public long GrowthBytesMax { get; init; } = 128 << 20;
    public int StreamsMax { get; init; } = 4096;
    public TimeSpan PingEvery { get; init; } = TimeSpan.FromSeconds(5);
    public TimeSpan IdleTimeout { get; init; } = TimeSpan.FromSeconds(20);
    public TimeSpan HandshakeTimeout { get; init; } = TimeSpan.FromSeconds(10);
    /// <summary>Connections at once that have not yet shown who they are.</summary>
    public int HandshakesMax { get; init; } = 256;
    /// <summary>Connections at once of one agent or node. It has two at most, and those beside them that it has given up and whose end has not been heard of yet.</summary>
    public int ConnectionsPerPeerMax { get; init; } = 32;
    public TimeProvider Time { get; init; } = TimeProvider.System;
}
