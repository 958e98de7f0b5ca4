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

    /// <summary>What a store takes from the first frame to the last.</summary>
    internal static IEnumerable<byte[]> WholeStream()
    {
        var machine = new MachineId("db1");
        yield return Payload.Frame(FrameType.OpenStream, 1, to => Payload.Write(to, new StreamOpening(machine, Epoch.First, [new DiskGeometry(0, "vda", 1 << 20)], 1)));
        yield return Sent(1, BatchKind.Marker, MarkerKind.StreamStart, 0, [], "continue"u8.ToArray());
        yield return Query();
        yield return Sent(2, BatchKind.Sync, MarkerKind.None, 0, [new Extent(0, 4096, 0, ExtentKind.Data), new Extent(65536, 4096, 0, ExtentKind.Zero)], new byte[4096]);
        yield return Sent(3, BatchKind.Delta, MarkerKind.None, 1, [new Extent(8192, 4096, 0, ExtentKind.Data)], [.. Enumerable.Range(0, 4096).Select(i => (byte)(i * 7))]);
        yield return Sent(4, BatchKind.Marker, MarkerKind.CrashConsistentPoint, 1, [], "before"u8.ToArray());
        yield return Sent(5, BatchKind.Delta, MarkerKind.None, 2, [new Extent(0, 4096, 0, ExtentKind.Zero)], []);
        yield return Query();
        yield return Sent(6, BatchKind.Marker, MarkerKind.CrashConsistentPoint, 2, [], []);
        yield return Payload.Frame(FrameType.CloseStream, 1);

        byte[] Sent(long ordinal, BatchKind kind, MarkerKind marker, long sequence, Extent[] extents, byte[] payload) => FrameOf(BatchCodec.Encode(new BatchHeader
        {
            Kind = kind, Marker = marker, MachineTag = BatchCodec.TagOf(machine), Epoch = Epoch.First, Incarnation = 1, Ordinal = ordinal,
            First = new Sequence(sequence), Last = new Sequence(sequence), Time = StoreSample.Begun.AddSeconds(ordinal),
        }, extents, payload));
    }

    private static byte[] FrameOf(Batch batch)
    {
        var frame = new byte[FrameHeader.Bytes + batch.Frame.Length];
        new FrameHeader(FrameType.Batch, 1, batch.Frame.Length).Write(frame);
        batch.Frame.CopyTo(frame.AsMemory(FrameHeader.Bytes));
        return frame;
    }

    private static byte[] Query() => Payload.Frame(FrameType.HashQuery, 1, to =>
    {
        to.Write(1);
        to.Write((ushort)0);
        to.Write(0L);
        to.Write(65536);
        to.Write(16);
    });

    internal static IEnumerable<byte[]> Samples()
    {
        yield return Payload.Frame(FrameType.OpenStream, 1, to => Payload.Write(to, new StreamOpening(new MachineId("db1"), Epoch.First, [new DiskGeometry(0, "vda", 1 << 20), new DiskGeometry(1, "vdb", 1 << 20)], 1)));
        foreach (var batch in BatchTarget.Samples()) yield return FrameOf(batch);
        yield return Query();
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
