using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.Domain.History;
using SiteRecovery.Node.Bench;

namespace SiteRecovery.Benchmarks;

/// <summary>The stream of a machine with one disk, as its capture would encode it. Its clock goes on by so much with every batch.</summary>
public sealed class Feed(MachineId machine, DiskGeometry disk, TimeSpan step)
{
    private static readonly DateTimeOffset Begun = new(2026, 11, 1, 0, 0, 0, TimeSpan.Zero);
    private readonly Random _random = new(1);
    private long _ordinal, _sequence;

    /// <summary>As the capture packs writes that wait: up to 1 MiB.</summary>
    public const int PackedBytes = 1 << 20;

    public MachineId Machine => machine;
    public DiskGeometry Disk => disk;
    public StreamOpening Opening => new(machine, Epoch.First, [disk], 1);
    public long Ordinal => _ordinal;

    public Batch Start() => Marker(MarkerKind.StreamStart, "continue");

    public Batch Point() => Marker(MarkerKind.CrashConsistentPoint, "");

    /// <summary>One write of the payload's length.</summary>
    public Batch Write(long offset, ReadOnlySpan<byte> payload) => Delta([new Extent(offset, payload.Length, disk.Index, ExtentKind.Data)], payload);

    /// <summary>Writes of equal size at offsets that are drawn, packed into a batch.</summary>
    /// <param name="offsetOf">Draws the number of the block that a write goes to.</param>
    public Batch Scattered(int writeBytes, ReadOnlySpan<byte> payload, Func<Random, long>? offsetOf = null)
    {
        var extents = new Extent[payload.Length / writeBytes];
        var blocks = disk.SizeBytes / writeBytes;
        for (var i = 0; i < extents.Length; i++) extents[i] = new Extent((offsetOf?.Invoke(_random) ?? _random.NextInt64(blocks)) * writeBytes, writeBytes, disk.Index, ExtentKind.Data);
        return Delta(extents, payload);
    }

    /// <summary>The same as zeroes, which carry no payload.</summary>
    public Batch ScatteredZeroes(int writeBytes, int writes)
    {
        var extents = new Extent[writes];
        for (var i = 0; i < writes; i++) extents[i] = new Extent(_random.NextInt64(disk.SizeBytes / writeBytes) * writeBytes, writeBytes, disk.Index, ExtentKind.Zero);
        return Delta(extents, []);
    }

    public Batch Delta(ReadOnlySpan<Extent> extents, ReadOnlySpan<byte> payload)
    {
        var first = _sequence + 1;
        _sequence += extents.Length;
        return BatchCodec.Encode(Header(BatchKind.Delta, MarkerKind.None, first), extents, payload);
    }

    /// <summary>Random bytes, or such as zstd makes a quarter of.</summary>
    public static byte[] Payload(int bytes, bool compressible, int seed = 1)
    {
        var payload = new byte[bytes];
        if (compressible) SampleDisk.FillCompressible(payload, new Random(seed));
        else new Random(seed).NextBytes(payload);
        return payload;
    }

    private Batch Marker(MarkerKind kind, string text) => BatchCodec.Encode(Header(BatchKind.Marker, kind, _sequence), [], System.Text.Encoding.UTF8.GetBytes(text));

    private BatchHeader Header(BatchKind kind, MarkerKind marker, long first) => new()
    {
        Kind = kind, Marker = marker, MachineTag = BatchCodec.TagOf(machine), Epoch = Epoch.First, Incarnation = 1, Ordinal = ++_ordinal,
        First = new Sequence(first), Last = new Sequence(_sequence), Time = Begun + _ordinal * step,
    };
}
