using System.Buffers.Binary;
using System.IO.Hashing;
using System.Text;
using System.Text.Json;
using System.Text.Json.Serialization;
using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.Domain.History;

namespace SiteRecovery.DataPlane.Retention;

/// <summary>What is to be known of a sealed segment without reading it: STORE.md, `.end`.</summary>
internal sealed record SegmentEnd
{
    public const int CurrentVersion = 1;
    private const int HashBytes = 8;

    public int Version { get; init; } = CurrentVersion;
    public required ulong Tag { get; init; }
    public required int Segment { get; init; }
    /// <summary>Length of the segment.</summary>
    public required long Bytes { get; init; }
    public required int Epoch { get; init; }
    public required int Frames { get; init; }
    public required long Extents { get; init; }
    public required long FirstSequence { get; init; }
    public required long LastSequence { get; init; }
    public required DateTimeOffset FirstTime { get; init; }
    public required DateTimeOffset LastTime { get; init; }
    public required bool Gap { get; init; }
    public required StreamPosition Held { get; init; }
    public required long Newest { get; init; }
    public required DateTimeOffset CurrentAsOf { get; init; }
    public PointRecord? ConsistentUpTo { get; init; }
    public StreamPosition? RunHeld { get; init; }
    public long RunNewest { get; init; }
    /// <summary>The end of what was thinned, of which a part lies behind the segment, and in front of it. What lies in front decides what the rest means.</summary>
    public StreamPosition? ThinnedUntil { get; init; }
    public StreamPosition? ThinnedBefore { get; init; }
    public required IReadOnlyList<PointRecord> Points { get; init; }

    /// <summary>What deltas wrote behind the last point, which counts for the next one; null: nothing, or it is not known.</summary>
    public UnmarkedRecord? Unmarked { get; init; }

    /// <param name="Bits">Of entropy, of so many bytes as were measured.</param>
    public sealed record UnmarkedRecord(double Bits, long MeasuredBytes, long WrittenBytes);

    public sealed record PointRecord(int Epoch, long Sequence, DateTimeOffset At, PointKind Kind, string? Label, PointSignals? Signals = null)
    {
        internal static PointRecord Of(RecoveryPoint point) => new(point.Epoch.Value, point.Sequence.Value, point.At, point.Kind, point.Label);
        internal RecoveryPoint ToPoint() => new(new Epoch(Epoch), new Sequence(Sequence), At, Kind, Label);
    }

    internal static SegmentEnd Of(ulong tag, long bytes, Epoch epoch, SegmentHistory segment, HistoryState state, IEnumerable<RecoveryPoint> points) => new()
    {
        Tag = tag, Segment = segment.Number, Bytes = bytes, Epoch = epoch.Value, Frames = segment.Frames, Extents = segment.Extents,
        FirstSequence = segment.FirstSequence, LastSequence = segment.LastSequence, FirstTime = segment.FirstTime, LastTime = segment.LastTime,
        Gap = state.Gap, Held = state.Held, Newest = state.Newest.Value, CurrentAsOf = state.CurrentAsOf,
        ConsistentUpTo = state.ConsistentUpTo is { } point ? PointRecord.Of(point) : null,
        RunHeld = state.Run?.Held, RunNewest = state.Run?.Newest.Value ?? 0, ThinnedUntil = state.ThinnedUntil, ThinnedBefore = segment.Before.ThinnedUntil, Points = [.. points.Select(PointRecord.Of)],
    };

    internal HistoryState State => new()
    {
        Gap = Gap, Held = Held, Newest = new Sequence(Newest), CurrentAsOf = CurrentAsOf, ConsistentUpTo = ConsistentUpTo?.ToPoint(),
        Run = RunHeld is { } held ? (held, new Sequence(RunNewest)) : null, ThinnedUntil = ThinnedUntil,
    };

    /// <summary>What a marker of the segment says, by what became of it.</summary>
    /// <param name="frames">All of the segment's.</param>
    /// <param name="origins">Where epochs have forked.</param>
    /// <returns>Null: the segment holds something else by now. Not sure is a start that may have continued all the same.</returns>
    internal (byte[] Text, bool IsSure)? TextOf(IReadOnlyList<BatchHeader> frames, int index, IEnumerable<(Epoch Epoch, Sequence Sequence)> origins)
    {
        if (frames.Count != Frames) return null;
        var header = frames[index];
        if (header.Marker != MarkerKind.StreamStart)
        {
            // Of no other marker the text matters, nor of a point that was none.
            var point = Points.FirstOrDefault(p => (p.Epoch, p.Sequence, p.At) == (header.Epoch.Value, header.Last.Value, header.Time));
            return (Encoding.UTF8.GetBytes(point?.Label ?? ""), true);
        }
        var continued = StreamStarts.HasContinued(frames, index, Gap, Points.Select(p => p.ToPoint()), LastSequence < 0 ? null : ConsistentUpTo?.ToPoint(), origins);
        return ((continued == true ? "continue"u8 : "gap"u8).ToArray(), continued is not null);
    }

    internal byte[] ToBytes()
    {
        var json = JsonSerializer.SerializeToUtf8Bytes(this, SegmentEndJson.Default.SegmentEnd);
        var bytes = new byte[HashBytes + json.Length];
        json.CopyTo(bytes, HashBytes);
        BinaryPrimitives.WriteUInt64LittleEndian(bytes, XxHash3.HashToUInt64(json));
        return bytes;
    }

    /// <summary>Null where the bytes are no whole end of this segment, or one of a later version: it is made anew from the segment.</summary>
    internal static SegmentEnd? TryRead(byte[]? bytes, ulong tag, int segment)
    {
        if (bytes is null || bytes.Length <= HashBytes) return null;
        var json = bytes.AsSpan(HashBytes);
        if (XxHash3.HashToUInt64(json) != BinaryPrimitives.ReadUInt64LittleEndian(bytes)) return null;
        try
        {
            var end = JsonSerializer.Deserialize(json, SegmentEndJson.Default.SegmentEnd);
            return end is { Version: CurrentVersion, Frames: >= 0 } && end.Tag == tag && end.Segment == segment ? end : null;
        }
        catch (JsonException)
        {
            return null;
        }
    }
}

[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase, DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull)]
[JsonSerializable(typeof(SegmentEnd))]
internal sealed partial class SegmentEndJson : JsonSerializerContext;
