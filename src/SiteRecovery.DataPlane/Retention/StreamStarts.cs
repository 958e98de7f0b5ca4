using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.Domain.History;

namespace SiteRecovery.DataPlane.Retention;

/// <summary>What the starts of streams in a segment said, by what became of it: for one whose frame cannot be read.</summary>
internal static class StreamStarts
{
    /// <summary>Whether a start has continued what was there, else a gap began with it, or went on; null: that cannot be told, and then nothing up to the next one may be viewed.</summary>
    /// <param name="frames">All of the segment's.</param>
    /// <param name="index">Of a start.</param>
    /// <param name="gap">Behind the last frame.</param>
    /// <param name="points">Of the segment.</param>
    /// <param name="newest">What could be viewed behind the last frame; null: nothing of the segment.</param>
    /// <param name="origins">Where epochs have forked, in whatever segment: each could be viewed, and its own epoch was over with that.</param>
    internal static bool? HasContinued(
        IReadOnlyList<BatchHeader> frames, int index, bool gap, IEnumerable<RecoveryPoint> points, RecoveryPoint? newest, IEnumerable<(Epoch Epoch, Sequence Sequence)> origins)
    {
        var (stretches, stretch) = (new int[frames.Count], 0);
        for (var i = 0; i < frames.Count; i++) stretches[i] = IsBoundary(frames[i]) ? ++stretch : stretch;
        var viewable = points.Select(point => Where(h => h.Marker is MarkerKind.CrashConsistentPoint or MarkerKind.ApplicationConsistentPoint && (h.Epoch, h.Last, h.Time) == (point.Epoch, point.Sequence, point.At)))
            .Append(newest is { } last ? Where(h => (h.Epoch, h.Time) == (last.Epoch, last.At)) : null)
            .Concat(origins.Select(origin => FirstThatHas(origin.Epoch, origin.Sequence))).OfType<int>().ToHashSet();
        // A gap lasts up to where a synchronization completes, whatever starts in it: where there is none behind a start, there was none in front of it either.
        var whole = !gap;
        for (var i = frames.Count - 1; i > index; i--)
            if (IsBoundary(frames[i])) whole = IsStart(frames[i]) && (whole || viewable.Contains(stretches[i]));
        if (whole || viewable.Contains(stretches[index])) return true;
        var next = index + 1;
        while (next < frames.Count && !IsBoundary(frames[next]))
            // What is compared comes in a gap, which a start of its own began.
            if (frames[next++].Kind == BatchKind.Sync) return false;
        // The gap at the end is that of the last one; and one behind which nothing comes before a gap ends shows nothing that was not there in front of it.
        return next == frames.Count || (next == index + 1 && !IsStart(frames[next])) ? false : null;

        // Times may be the same, and clocks jump: null where it may be in more than one.
        int? Where(Func<BatchHeader, bool> isMeant) => Enumerable.Range(0, frames.Count).Where(i => isMeant(frames[i])).Select(i => stretches[i]).Distinct().Take(2).ToArray() is [var only] ? only : null;

        // In whichever it could be viewed, it could in the first: a gap that began in between would have hidden the others, and what a synchronization brings comes in one. Null where a gap ended in between.
        int? FirstThatHas(Epoch epoch, Sequence sequence)
        {
            int? first = null;
            for (var i = 0; i < frames.Count; i++)
                if (first is not null && IsBoundary(frames[i]) && !IsStart(frames[i])) return Enumerable.Range(i, frames.Count - i).Any(Has) ? null : first;
                else if (Has(i)) first ??= stretches[i];
            return first;

            bool Has(int i) => frames[i].Epoch == epoch && !frames[i].Thinned && StoreHistory.Reaches(frames[i], sequence);
        }
    }

    /// <summary>Between two of them either all is viewable, or nothing.</summary>
    private static bool IsBoundary(BatchHeader header) => header.Thinned || header.Marker is MarkerKind.StreamStart or MarkerKind.SyncCompleted;

    private static bool IsStart(BatchHeader header) => header.Marker == MarkerKind.StreamStart && !header.Thinned;
}
