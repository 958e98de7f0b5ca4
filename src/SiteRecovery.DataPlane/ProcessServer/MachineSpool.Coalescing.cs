namespace SiteRecovery.DataPlane.ProcessServer;

/// <content>Under pressure: sealed segments that the sender has not looked into are rewritten.</content>
internal sealed partial class MachineSpool
{
    private long _coalescedBatches; // under _gate

    /// <summary>Rewrites the oldest segment that can be; false when there is none. One call at a time over all machines.</summary>
    public bool CoalesceNext(SegmentCoalescer coalescer)
    {
        SpoolSegment? segment;
        lock (_gate) segment = _queue.Segments.FirstOrDefault(s => s is { Sealed: true, Begun: false, Coalesced: false, IsEmpty: false });
        if (segment is null || _stop.IsCancellationRequested) return false;
        var temporary = segment.Path + ".tmp";
        try
        {
            var (end, coalesced) = coalescer.Rewrite(segment, temporary, _stop.Token);
            Replace(segment, temporary, end, coalesced);
        }
        catch (Exception error)
        {
            // It stays as it is. Whether it is damaged, the sender finds out.
            if (error is not OperationCanceledException) _lastError = $"segment {segment.Number} is not coalesced: {error.Message}";
        }
        segment.Coalesced = true;
        Remove(temporary);
        return true;
    }

    private void Replace(SpoolSegment segment, string temporary, long end, long coalesced)
    {
        lock (_gate)
        {
            // The sender has begun with it meanwhile, or it was dropped.
            if (coalesced == 0 || end >= segment.End || segment.Begun || !_queue.Segments.Contains(segment)) return;
            _files.Rename(temporary, segment.Path);
            segment.Close();
            _space.Release(_share, segment.End - end);
            segment.End = end;
            _coalescedBatches += coalesced;
        }
    }

    private void Remove(string temporary)
    {
        try
        {
            if (_files.Exists(temporary)) _files.Delete(temporary);
        }
        catch (Exception error) when (IsDiskError(error))
        {
            _lastError = error.Message;
        }
    }
}
