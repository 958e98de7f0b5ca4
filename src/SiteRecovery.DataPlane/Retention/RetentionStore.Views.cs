using SiteRecovery.DataPlane.Blocks;

namespace SiteRecovery.DataPlane.Retention;

/// <content>Which maps make up a view: those of whole sealed segments lie in files, of a part of a segment one is made in memory.</content>
public sealed partial class RetentionStore
{
    // The last segment's, and it grows with it; only where somebody looks at the newest state.
    private (int Segment, ExtentMap Map)? _tail;

    /// <summary>Of segments that were sealed a moment ago, so that nobody waits for it with the gate closed: appending least of all.</summary>
    private void MakeMaps(CancellationToken stop = default)
    {
        SegmentId[] sealedSegments;
        lock (_gate) sealedSegments = [.. _history.Segments.Where(s => !_log.IsTail(s)).Select(_log.IdOf)];
        foreach (var segment in sealedSegments)
        {
            if (stop.IsCancellationRequested) return;
            try
            {
                _maps.Of(segment);
            }
            catch (Exception unmade) when (unmade is IOException || (unmade is ObjectDisposedException && !_log.Has(segment)))
            {
                // It was promoted or thinned in between; or nothing tells what it wrote any more: then who needs it hears so.
            }
        }
    }

    /// <summary>In log order.</summary>
    private List<(int Segment, IExtentSource Source)> SourcesOf(List<FrameRange> ranges)
    {
        var sources = new List<(int, IExtentSource)>();
        foreach (var range in ranges)
            for (var segment = range.From.Segment; segment <= range.To.Segment; segment++)
            {
                var frames = _history.FramesIn(segment);
                var from = segment == range.From.Segment ? range.From.Index : 0;
                var to = segment == range.To.Segment ? range.To.Index : frames;
                if (from >= to) continue;
                var part = new FrameRange(new FramePosition(segment, from), new FramePosition(segment, to), segment == range.To.Segment ? range.Limit : long.MaxValue);
                sources.Add((segment, from == 0 && to == frames && part.Limit == long.MaxValue && !_log.IsTail(segment) ? _maps.Of(_log.IdOf(segment)) : MapOf(part)));
            }
        return sources;
    }

    /// <summary>The limit is that of the last frame.</summary>
    private ExtentMap MapOf(FrameRange range)
    {
        var map = new ExtentMap();
        foreach (var (position, entry, prefix) in _log.PrefixesOf(range.From, range.To))
            map.Add(entry, prefix, position.Index == range.To.Index - 1 ? range.Limit : long.MaxValue);
        return map;
    }

    private ExtentMap MapOf(SegmentId segment) => MapOf(_log.PrefixesOf(segment));

    private static ExtentMap MapOf(IEnumerable<(FramePosition Position, LogEntry Entry, Batch Prefix)> frames)
    {
        var map = new ExtentMap();
        foreach (var (_, entry, prefix) in frames) map.Add(entry, prefix, long.MaxValue);
        return map;
    }

    /// <summary>Of all frames of the current line, consistent or not.</summary>
    private StoreView NewestView()
    {
        var ranges = _history.RangesOfNewest();
        var sources = SourcesOf(ranges);
        if (_history.End is { Index: > 0 } end && _log.IsTail(end.Segment) && ranges[^1].To == end)
        {
            // What SourcesOf has just made of the last segment grows from here on.
            if (ranges[^1].From < end) _tail = (end.Segment, (ExtentMap)sources[^1].Source);
        }
        return new StoreView(_log, _bases, [.. _below, .. sources]);
    }

    /// <summary>The newest view sees the frame too, or is made anew at the next look.</summary>
    private void Extend(LogEntry entry, Batch batch)
    {
        if (_newest is null) return;
        if (_tail is { } tail && tail.Segment == entry.Segment.Number) tail.Map.Add(entry, batch, long.MaxValue);
        else (_newest, _tail) = (null, null);
    }
}
