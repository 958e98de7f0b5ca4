using SiteRecovery.Domain.History;

namespace SiteRecovery.DataPlane.Blocks;

public enum BatchKind : byte { Delta = 1, Sync = 2, Marker = 3 }

public enum MarkerKind : byte { None = 0, StreamStart = 1, Tick = 2, CrashConsistentPoint = 3, ApplicationConsistentPoint = 4, SyncCompleted = 5 }

public enum PayloadCompression : byte { None = 0, Lz4 = 1, Zstd = 2 }

public enum ExtentKind : ushort { Data = 1, Zero = 2 }

/// <summary>A range of a disk that a batch writes. Bytes.</summary>
public readonly record struct Extent(long Offset, int Length, ushort Disk, ExtentKind Kind);

/// <summary>The fixed fields of a batch; the format is BATCH.md.</summary>
public sealed record BatchHeader
{
    public required BatchKind Kind { get; init; }
    public PayloadCompression Compression { get; init; }
    public MarkerKind Marker { get; init; }
    /// <summary>Only <see cref="Last"/> is a position one may view.</summary>
    public bool Coalesced { get; init; }
    /// <summary>Its data is in the next coalesced delta that is not absorbed: until that is there, it is as if this batch were missing.</summary>
    public bool Absorbed { get; init; }
    /// <summary>Only in segments that thinning has written: a part of what lies in front of the batch at the same position of the stream. No position before that one may be viewed.</summary>
    public bool Thinned { get; init; }
    /// <summary>Only in segments of a retention store: the payload and its hash are encrypted (STORE.md).</summary>
    public bool Encrypted { get; init; }
    public bool IsTick => Kind == BatchKind.Marker && Marker == MarkerKind.Tick;
    public required ulong MachineTag { get; init; }
    public required Epoch Epoch { get; init; }
    public required long Incarnation { get; init; }
    public required long Ordinal { get; init; }
    public required Sequence First { get; init; }
    public required Sequence Last { get; init; }
    /// <summary>Source clock.</summary>
    public required DateTimeOffset Time { get; init; }
    public int ExtentCount { get; init; }
    public int RawBytes { get; init; }
    public int StoredBytes { get; init; }
    public ulong RawHash { get; init; }
    public int FrameBytes => BatchCodec.HeaderBytes + ExtentCount * BatchCodec.ExtentBytes + StoredBytes;
}

/// <summary>An encoded batch: the frame's bytes as they travel and are stored, with its decoded header.</summary>
public sealed record Batch(BatchHeader Header, ReadOnlyMemory<byte> Frame)
{
    public ReadOnlyMemory<byte> StoredPayload => Frame[(BatchCodec.HeaderBytes + Header.ExtentCount * BatchCodec.ExtentBytes)..];
    public Extent ExtentAt(int index) => BatchCodec.ReadExtent(Frame.Span, index);
    public StreamPosition Position => new(Header.Incarnation, Header.Ordinal);
}

/// <summary>How far a stream is: everything up to and including <paramref name="Ordinal"/> of that incarnation.</summary>
public readonly record struct StreamPosition(long Incarnation, long Ordinal) : IComparable<StreamPosition>
{
    public int CompareTo(StreamPosition other) =>
        Incarnation != other.Incarnation ? Incarnation.CompareTo(other.Incarnation) : Ordinal.CompareTo(other.Ordinal);
}
