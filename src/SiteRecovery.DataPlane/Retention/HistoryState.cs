using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.Domain.History;

namespace SiteRecovery.DataPlane.Retention;

/// <summary>What the frames up to one of them mean. Small, so that one is kept for each segment and the frames themselves are read again when needed.</summary>
internal sealed record HistoryState
{
    internal bool Gap { get; init; }
    internal StreamPosition Held { get; init; }
    internal Sequence Newest { get; init; }
    internal DateTimeOffset CurrentAsOf { get; init; }
    internal RecoveryPoint? ConsistentUpTo { get; init; }
    /// <summary>Behind absorbed deltas: where the log ends. Held and Newest stay in front of them, because their data is in a batch to come.</summary>
    internal (StreamPosition Held, Sequence Newest)? Run { get; init; }

    /// <summary>Where thinning has left a position, of which a part is behind us: what lies in front of that cannot be viewed. Everything else stands still until then.</summary>
    internal StreamPosition? ThinnedUntil { get; init; }

    /// <summary>Whether a batch comes behind the absorbed deltas; else it begins their run anew, or another incarnation.</summary>
    internal bool InRun(BatchHeader header) =>
        Run is { } run && header.Incarnation == run.Held.Incarnation && !(header.Incarnation == Held.Incarnation && header.Ordinal <= Held.Ordinal + 1);

    /// <summary>The state behind a frame, and whether the position that the frame reaches may be viewed.</summary>
    /// <param name="text">A marker's.</param>
    internal (HistoryState State, bool Viewable) After(BatchHeader header, ReadOnlySpan<byte> text)
    {
        var position = new StreamPosition(header.Incarnation, header.Ordinal);
        if (header.Thinned) return (this with { ThinnedUntil = ThinnedUntil is { } former && former.CompareTo(position) > 0 ? former : position }, false);
        if (ThinnedUntil is { } until && !IsEndOf(until, header)) return (this, false);
        if (header.Absorbed || (header.IsTick && InRun(header))) return (this with { Run = (position, header.Absorbed ? header.Last : Run!.Value.Newest) }, false);
        var (gap, newest) = (Gap, ThinnedUntil is null ? Newest : header.Last);
        // Only what was whole is left as a position; where it is missing the source has to say anew what is whole.
        if (ThinnedUntil is { } end) gap = position != end;
        // A stream that continues from elsewhere than here is a gap, whatever it calls itself.
        else if (header is { Kind: BatchKind.Marker, Marker: MarkerKind.StreamStart } && (!text.SequenceEqual("continue"u8) || header.First != Newest)) gap = true;
        if (header is { Kind: BatchKind.Marker, Marker: MarkerKind.SyncCompleted }) gap = false;
        if (header.Kind == BatchKind.Delta || header.Marker == MarkerKind.SyncCompleted) newest = header.Last;
        var next = this with { Run = null, ThinnedUntil = null, Held = position, Gap = gap, Newest = newest };
        if (!gap) next = next with { CurrentAsOf = header.Time, ConsistentUpTo = new RecoveryPoint(header.Epoch, newest, header.Time, PointKind.CrashConsistent) };
        return (next, !gap && header.Last == newest);
    }

    /// <summary>Whether a frame is the one that is waited for, or comes behind where it should be.</summary>
    private static bool IsEndOf(StreamPosition until, BatchHeader header)
    {
        var position = new StreamPosition(header.Incarnation, header.Ordinal);
        // A position that has to stay goes up to the last frame that says that it is still the newest: a tick, too.
        return !header.Absorbed && (position == until || (!header.IsTick && position.CompareTo(until) > 0));
    }
}
