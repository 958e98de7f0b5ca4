using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.Domain.History;

namespace SiteRecovery.DataPlane.Retention;

/// <summary>What the starts of streams in a segment said, by what became of it: for one whose frame cannot be read.</summary>
internal static class StreamStarts
{
    /// <summary>Whether a start is sure to have continued what was there; else a gap began with it, or that cannot be told, and then nothing up to the next one may be viewed.</summary>
    /// <param name="frames">All of the segment's.</param>
    /// <param name="index">Of a start.</param>
    /// <param name="gap">Behind the last frame.</param>
    /// <param name="points">Of the segment.</param>
    /// <param name="newest">What could be viewed behind the last frame; null: nothing of the segment.</param>
    internal static bool HasContinued(IReadOnlyList<BatchHeader> frames, int index, bool gap, IEnumerable<RecoveryPoint> points, RecoveryPoint? newest)
    {
        var (stretches, stretch) = (new int[frames.Count], 0);
        for (var i = 0; i < frames.Count; i++) stretches[i] = IsBoundary(frames[i]) ? ++stretch : stretch;
        var viewable = points.Select(point => Where(h => h.Marker is MarkerKind.CrashConsistentPoint or MarkerKind.ApplicationConsistentPoint && (h.Epoch, h.Last, h.Time) == (point.Epoch, point.Sequence, point.At)))
            .Append(newest is { } last ? Where(h => (h.Epoch, h.Time) == (last.Epoch, last.At)) : null).OfType<int>().ToHashSet();
        // A gap lasts up to where a synchronization completes, whatever starts in it: where there is none behind a start, there was none in front of it either.
        var whole = !gap;
        for (var i = frames.Count - 1; i > index; i--)
            if (IsBoundary(frames[i])) whole = frames[i].Marker == MarkerKind.StreamStart && !frames[i].Thinned && (whole || viewable.Contains(stretches[i]));
        return whole || viewable.Contains(stretches[index]);

        // Times may be the same, and clocks jump: null where it may be in more than one.
        int? Where(Func<BatchHeader, bool> isMeant) => Enumerable.Range(0, frames.Count).Where(i => isMeant(frames[i])).Select(i => stretches[i]).Distinct().Take(2).ToArray() is [var only] ? only : null;
    }

    /// <summary>Between two of them either all is viewable, or nothing.</summary>
    private static bool IsBoundary(BatchHeader header) => header.Thinned || header.Marker is MarkerKind.StreamStart or MarkerKind.SyncCompleted;
}
