using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.Domain.History;

namespace SiteRecovery.DataPlane.Retention;

/// <summary>What happened to the disks between a point and the one before it.</summary>
/// <param name="Entropy">Bits per byte of what was written, 0 to 8; null: nothing was, or it is not known. Text has 4 to 5, what is compressed or encrypted nearly 8.</param>
/// <param name="WrittenBytes">By the machine; what a synchronization brings does not count.</param>
/// <param name="Seconds">Between the two, on the source's clock.</param>
public sealed record PointSignals(double? Entropy, long WrittenBytes, double Seconds)
{
    private const int Compared = 20, ComparedLeast = 5;
    private const long BytesLeast = 4 << 20;
    private const double HighEntropy = 7, Rise = 1.5;

    /// <summary>Bytes per second.</summary>
    public double OverwriteRate => Seconds > 0 ? WrittenBytes / Seconds : 0;

    /// <summary>Points at which much was written, no less than before, that looks encrypted where what was written before did not: as ransomware does, or a machine whose disk is being encrypted by its owner.</summary>
    /// <param name="points">In log order.</param>
    public static IReadOnlySet<RecoveryPoint> Jumps(IEnumerable<(RecoveryPoint Point, PointSignals? Signals)> points)
    {
        var (jumps, before) = (new HashSet<RecoveryPoint>(), new List<PointSignals>());
        foreach (var (point, signals) in points)
        {
            if (signals is not { Entropy: { } entropy }) continue;
            var isJump = before.Count >= ComparedLeast && signals.WrittenBytes >= BytesLeast && entropy >= HighEntropy
                && entropy - Median(before, s => s.Entropy!.Value) >= Rise && signals.OverwriteRate >= Median(before, s => s.OverwriteRate);
            // What follows a jump is compared with what was before it.
            if (isJump)
            {
                jumps.Add(point);
                continue;
            }
            before.Add(signals);
            if (before.Count > Compared) before.RemoveAt(0);
        }
        return jumps;
    }

    private static double Median(List<PointSignals> of, Func<PointSignals, double> value) => of.Select(value).Order().ElementAt(of.Count / 2);
}

/// <summary>Measures what goes by from one point to the next. Not safe for concurrent calls.</summary>
internal sealed class SignalMeter
{
    private const int Samples = 8, SampleBytes = 256;
    private double _bits; // of the measured bytes
    private long _measured, _written;
    private DateTimeOffset? _last;

    /// <param name="batch">With its payload, or the prefix alone: what was compressed tells its entropy by its length.</param>
    internal void Add(Batch batch)
    {
        var header = batch.Header;
        if (header.Kind != BatchKind.Delta) return;
        _written += header.RawBytes;
        if (EntropyOf(batch) is not { } entropy) return;
        (_bits, _measured) = (_bits + entropy * header.RawBytes, _measured + header.RawBytes);
    }

    /// <summary>What came since the last point; null: nothing.</summary>
    internal SegmentEnd.UnmarkedRecord? Unmarked => _written > 0 ? new(_bits, _measured, _written) : null;

    internal void Restore(SegmentEnd.UnmarkedRecord unmarked) => (_bits, _measured, _written) = (unmarked.Bits, unmarked.MeasuredBytes, unmarked.WrittenBytes);

    internal PointSignals Take(DateTimeOffset at)
    {
        var signals = new PointSignals(_measured > 0 ? Math.Round(_bits / _measured, 2) : null, _written, _last is { } last && at > last ? (at - last).TotalSeconds : 0);
        (_bits, _measured, _written, _last) = (0, 0, 0, at);
        return signals;
    }

    private static double? EntropyOf(Batch batch)
    {
        var header = batch.Header;
        if (header.RawBytes == 0) return null;
        var stored = header.StoredBytes - (header.Encrypted ? BatchCodec.EncryptionBytes : 0);
        if (header.Compression != PayloadCompression.None) return 8.0 * stored / header.RawBytes;
        return header.Encrypted || batch.Frame.Length < header.FrameBytes ? null : EntropyOf(batch.StoredPayload.Span);
    }

    /// <summary>Of a sample.</summary>
    private static double EntropyOf(ReadOnlySpan<byte> payload)
    {
        Span<int> counts = stackalloc int[256];
        counts.Clear();
        var (total, step) = (0, Math.Max(SampleBytes, payload.Length / Samples));
        for (var at = 0; at < payload.Length; at += step)
            foreach (var value in payload.Slice(at, Math.Min(SampleBytes, payload.Length - at)))
            {
                counts[value]++;
                total++;
            }
        var bits = 0.0;
        foreach (var count in counts)
            if (count > 0) bits -= count * Math.Log2((double)count / total);
        return bits / total;
    }
}
