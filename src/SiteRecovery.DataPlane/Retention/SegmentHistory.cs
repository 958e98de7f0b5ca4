using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.Domain.History;

namespace SiteRecovery.DataPlane.Retention;

/// <summary>Where a frame stands in the log.</summary>
/// <param name="Index">How many frames of the segment come before it.</param>
internal readonly record struct FramePosition(int Segment, int Index) : IComparable<FramePosition>
{
    public int CompareTo(FramePosition other) => Segment != other.Segment ? Segment.CompareTo(other.Segment) : Index.CompareTo(other.Index);

    public static bool operator <(FramePosition a, FramePosition b) => a.CompareTo(b) < 0;
    public static bool operator >(FramePosition a, FramePosition b) => a.CompareTo(b) > 0;
    public static bool operator <=(FramePosition a, FramePosition b) => a.CompareTo(b) <= 0;
    public static bool operator >=(FramePosition a, FramePosition b) => a.CompareTo(b) >= 0;
}

/// <summary>A frame and whether the position that it reaches may be viewed.</summary>
internal readonly record struct HistoryFrame(LogEntry Entry, bool Viewable);

/// <summary>One segment in the history: enough to know whether a position or a time may be found in it.</summary>
/// <param name="Before">The state in front of its first frame.</param>
internal sealed class SegmentHistory(int number, HistoryState before)
{
    internal int Number => number;
    internal HistoryState Before { get; } = before;
    /// <summary>Behind its last frame.</summary>
    internal HistoryState After { get; set; } = before;
    internal int Frames { get; private set; }
    internal long Extents { get; private set; }
    internal long FirstSequence { get; private set; } = long.MaxValue;
    internal long LastSequence { get; private set; } = -1;
    internal DateTimeOffset FirstTime { get; private set; } = DateTimeOffset.MaxValue;
    internal DateTimeOffset LastTime { get; private set; } = DateTimeOffset.MinValue;
    /// <summary>The last segment's, and those of a segment in which an epoch began; null: they are read again when needed.</summary>
    internal List<HistoryFrame>? Kept { get; set; } = [];
    internal bool HasSeveralEpochs { get; set; }

    /// <summary>None of its positions may be viewed any more.</summary>
    /// <remarks>Frames that are hidden leave the state as it was in front of them.</remarks>
    internal SegmentHistory Hidden(HistoryState state) => new(number, state) { Frames = Frames, Extents = Extents, Kept = null };

    internal SegmentHistory Numbered(int other) => new(other, Before)
    {
        After = After,
        Frames = Frames, Extents = Extents, FirstSequence = FirstSequence, LastSequence = LastSequence, FirstTime = FirstTime, LastTime = LastTime, Kept = null,
    };

    internal bool MayShow(Sequence sequence) => FirstSequence <= sequence.Value && sequence.Value <= LastSequence;

    internal void Add(LogEntry entry, bool viewable)
    {
        Frames++;
        Extents += entry.Header.ExtentCount;
        Kept?.Add(new HistoryFrame(entry, viewable));
        if (!viewable) return;
        FirstSequence = Math.Min(FirstSequence, Math.Min(entry.Header.First.Value, entry.Header.Last.Value));
        LastSequence = Math.Max(LastSequence, entry.Header.Last.Value);
        if (entry.Header.Time < FirstTime) FirstTime = entry.Header.Time;
        if (entry.Header.Time > LastTime) LastTime = entry.Header.Time;
    }

    /// <summary>As a segment's end says it.</summary>
    internal void Restore(SegmentEnd end)
    {
        (Frames, Extents, FirstSequence, LastSequence, FirstTime, LastTime, Kept) =
            (end.Frames, end.Extents, end.FirstSequence, end.LastSequence, end.FirstTime, end.LastTime, null);
    }
}
