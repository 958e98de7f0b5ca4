using System.Buffers.Binary;
using System.IO.Hashing;
using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.DataPlane.Transport;
using SiteRecovery.Domain.History;

namespace SiteRecovery.Fuzzing.Targets;

/// <summary>Frames of WIRE.md and their payloads, as both ends of a data connection take them apart.</summary>
internal sealed class WireTarget : FuzzTarget
{
    internal override string Name => "wire";

    internal override IEnumerable<byte[]> Seeds()
    {
        byte[][] frames = [.. Samples()];
        foreach (var frame in frames) yield return frame;
        yield return [.. frames.SelectMany(f => f)];
    }

    /// <summary>A connection's refusal is its end, whatever it was: only what no reader of a stream throws is news.</summary>
    internal override bool Expects(Exception refusal) => refusal is IOException or InvalidDataException or FormatException;

    internal override void Repair(byte[] input, Random random) => Repair(input.AsSpan(), random);

    private static void Repair(Span<byte> bytes, Random random)
    {
        while (bytes.Length >= FrameHeader.Bytes)
        {
            // A length that leads out of the input leads nowhere.
            var length = BinaryPrimitives.ReadInt32LittleEndian(bytes[8..]);
            if ((length < 0 || length > bytes.Length - FrameHeader.Bytes) && random.Next(4) > 0) BinaryPrimitives.WriteInt32LittleEndian(bytes[8..], length = bytes.Length - FrameHeader.Bytes);
            BinaryPrimitives.WriteUInt32LittleEndian(bytes[12..], Crc32.HashToUInt32(bytes[..12]));
            if (length < 0 || length > bytes.Length - FrameHeader.Bytes) return;
            if (bytes[0] == (byte)FrameType.Batch) Checksums.Frame(bytes.Slice(FrameHeader.Bytes, length), random);
            bytes = bytes[(FrameHeader.Bytes + length)..];
        }
    }

    internal override void Run(byte[] input)
    {
        for (var at = 0; at < input.Length;)
        {
            if (input.Length - at < FrameHeader.Bytes) throw new EndOfStreamException("cut inside a frame header");
            var header = FrameHeader.Read(input.AsSpan(at));
            at += FrameHeader.Bytes;
            if (header.Length > input.Length - at) throw new EndOfStreamException("cut inside a frame");
            Take(header.Type, input.AsMemory(at, header.Length));
            at += header.Length;
        }
    }

    private static void Take(FrameType type, ReadOnlyMemory<byte> payload)
    {
        using var from = Payload.Reader(payload);
        switch (type)
        {
            case FrameType.OpenStream: Payload.ReadOpening(payload); break;
            case FrameType.StreamOpened: Payload.ReadOpened(payload); break;
            case FrameType.Refused: Payload.ReadError(payload); break;
            case FrameType.Batch: BatchCodec.Verify(payload); break;
            case FrameType.Received or FrameType.Durable: Payload.ReadPosition(from); break;
            case FrameType.HashReply:
                from.ReadInt32();
                Payload.ReadHashes(payload.Span[4..]);
                break;
        }
    }

    internal static IEnumerable<byte[]> Samples()
    {
        yield return Payload.Frame(FrameType.OpenStream, 1, to => Payload.Write(to, new StreamOpening(new MachineId("db1"), Epoch.First, [new DiskGeometry(0, "vda", 1 << 20), new DiskGeometry(1, "vdb", 1 << 20)], 1)));
        foreach (var batch in BatchTarget.Samples())
        {
            var frame = new byte[FrameHeader.Bytes + batch.Frame.Length];
            new FrameHeader(FrameType.Batch, 1, batch.Frame.Length).Write(frame);
            batch.Frame.CopyTo(frame.AsMemory(FrameHeader.Bytes));
            yield return frame;
        }
        yield return Payload.Frame(FrameType.HashQuery, 1, to =>
        {
            to.Write(1);
            to.Write((ushort)0);
            to.Write(0L);
            to.Write(65536);
            to.Write(16);
        });
        yield return Payload.Frame(FrameType.Ping, 0, to => to.Write(638_000_000_000_000_000));
        yield return Payload.Frame(FrameType.StreamOpened, 1, to => Payload.Write(to, new StreamOpened(new(1, 5), new(1, 4), new Sequence(9), false)));
        yield return Payload.Frame(FrameType.Refused, 1, to => Payload.WriteError(to, new StreamGapException(new(1, 5))));
        yield return Payload.Frame(FrameType.Refused, 1, to => Payload.WriteError(to, new StaleEpochException(new Epoch(3))));
        yield return Payload.Frame(FrameType.HashReply, 1, to =>
        {
            to.Write(1);
            for (var i = 0; i < 16; i++) to.Write(0x1234UL * (ulong)i);
        });
        yield return Payload.Frame(FrameType.Credit, 1, to => to.Write(16L << 20));
        yield return Payload.Frame(FrameType.Pong, 0, to =>
        {
            to.Write(638_000_000_000_000_000);
            to.Write(638_000_000_000_000_001);
        });
        yield return Payload.Frame(FrameType.CloseStream, 1);
    }
}
