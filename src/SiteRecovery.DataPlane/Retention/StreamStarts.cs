using SiteRecovery.DataPlane.Blocks;

namespace SiteRecovery.DataPlane.Retention;

/// <summary>What the starts of streams in a segment said, by what became of it: for one whose frame cannot be read.</summary>
internal static class StreamStarts
{
    /// <summary>Whether a start continued what was there; else a gap began with it, or that cannot be told, and then nothing of it may be viewed.</summary>
    /// <param name="frames">All of the segment's.</param>
    /// <param name="index">Of a start.</param>
    /// <param name="gap">Behind the last frame.</param>
    /// <param name="viewable">Times at which something of the segment could be viewed.</param>
    internal static bool HasContinued(IReadOnlyList<BatchHeader> frames, int index, bool gap, IEnumerable<DateTimeOffset> viewable)
    {
        // A gap lasts up to where a synchronization completes, whatever starts in it: where there is none behind a start, there was none in front of it either.
        var (whole, next) = (!gap, DateTimeOffset.MaxValue);
        for (var i = frames.Count - 1; i >= index; i--)
        {
            var header = frames[i];
            if (header.Marker is not (MarkerKind.StreamStart or MarkerKind.SyncCompleted)) continue;
            if (header.Marker == MarkerKind.SyncCompleted) whole = false;
            else whole = whole || viewable.Any(v => v >= header.Time && v < next);
            next = header.Time;
        }
        return whole;
    }
}
