using System.Text;
using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.Domain.History;

namespace SiteRecovery.Fuzzing.Targets;

/// <summary>A frame of BATCH.md, down to its decompressed payload.</summary>
internal sealed class BatchTarget : FuzzTarget
{
    private static readonly DateTimeOffset Time = new(2026, 11, 28, 0, 0, 0, TimeSpan.Zero);
    private readonly byte[] _raw = new byte[BatchCodec.PayloadBytesMax];

    internal override string Name => "batch";

    internal override IEnumerable<byte[]> Seeds() => Samples().Select(b => b.Frame.ToArray());

    internal override void Repair(byte[] input, Random random) => Checksums.Frame(input, random);

    internal override void Run(byte[] input)
    {
        var batch = BatchCodec.Verify(input);
        for (var i = 0; i < batch.Header.ExtentCount; i++) batch.ExtentAt(i);
        BatchCodec.Decompress(batch, _raw);
        // What it has become may be compressed again.
        if (batch.Header.Compression == PayloadCompression.None) FramePool.Shared.Return(BatchCodec.Compress(batch, PayloadCompression.Lz4).Frame);
    }

    /// <summary>Of one machine, in the order of a stream.</summary>
    internal static IEnumerable<Batch> Samples(string machine = "db1", int epoch = 1)
    {
        var text = Encoding.UTF8.GetBytes(string.Concat(Enumerable.Repeat("every write gets the next sequence; ", 120)))[..4096];
        var header = new BatchHeader
        {
            Kind = BatchKind.Marker, Marker = MarkerKind.StreamStart, MachineTag = BatchCodec.TagOf(new MachineId(machine)), Epoch = new Epoch(epoch), Incarnation = 1, Ordinal = 1,
            First = new Sequence(0), Last = new Sequence(0), Time = Time,
        };
        yield return BatchCodec.Encode(header, [], "gap"u8);
        yield return BatchCodec.Encode(header with { Kind = BatchKind.Sync, Marker = MarkerKind.None, Ordinal = 2 }, [new Extent(0, 4096, 0, ExtentKind.Data), new Extent(65536, 4096, 0, ExtentKind.Zero)], text);
        yield return BatchCodec.Encode(header with { Marker = MarkerKind.SyncCompleted, Ordinal = 3 }, [], []);
        var delta = header with { Kind = BatchKind.Delta, Marker = MarkerKind.None, Ordinal = 4, First = new Sequence(1), Last = new Sequence(3) };
        Extent[] extents = [new(8192, 2048, 0, ExtentKind.Data), new(12288, 4096, 0, ExtentKind.Zero), new(512, 2048, 0, ExtentKind.Data)];
        yield return BatchCodec.Compress(BatchCodec.Encode(delta, extents, text), PayloadCompression.Zstd);
        yield return BatchCodec.Compress(BatchCodec.Encode(delta with { Ordinal = 5, First = new Sequence(4), Last = new Sequence(6) }, extents, text), PayloadCompression.Lz4);
        yield return BatchCodec.Encode(header with { Marker = MarkerKind.ApplicationConsistentPoint, Ordinal = 6, First = new Sequence(6), Last = new Sequence(6) }, [], "before the upgrade"u8);
        yield return BatchCodec.Encode(delta with { Coalesced = true, Absorbed = true, Ordinal = 7, First = new Sequence(7), Last = new Sequence(8) }, [], []);
        yield return BatchCodec.Encode(delta with { Coalesced = true, Ordinal = 8, First = new Sequence(9), Last = new Sequence(9) }, [new(0, 4096, 0, ExtentKind.Data)], text);
        yield return BatchCodec.Encode(header with { Marker = MarkerKind.Tick, Ordinal = 9, First = new Sequence(9), Last = new Sequence(9), Time = Time.AddSeconds(1) }, [], []);
        yield return BatchCodec.Encode(header with { Marker = MarkerKind.CrashConsistentPoint, Ordinal = 10, First = new Sequence(9), Last = new Sequence(9), Time = Time.AddSeconds(2) }, [], []);
    }
}
