using SiteRecovery.DataPlane.Blocks;

namespace SiteRecovery.DataPlane.ProcessServer;

/// <content>Start: what an earlier process left in the folder.</content>
internal sealed partial class MachineSpool
{
    /// <summary>What a process that is gone left behind: up to the first damage, and without what is durable or of an epoch that is over.</summary>
    private void Load(IReadOnlyList<string> paths)
    {
        try
        {
            Recover(paths);
        }
        catch (Exception error)
        {
            // No stream opens on what is not known.
            _lastError = "the spool's folder cannot be read: " + error.Message;
            throw;
        }
    }

    private void Recover(IReadOnlyList<string> paths)
    {
        var (durable, sequence) = _state.Load();
        _queue.Start(durable, sequence);
        var intact = true;
        for (var i = 0; i < paths.Count; i++)
        {
            _lastNumber = SpoolSegment.NumberOf(paths[i]);
            var segment = intact ? SpoolSegment.TryOpen(_files, paths[i], _machine, _lastNumber) : null;
            if (segment is null) intact = false;
            else if (segment.Opening.Epoch > _state.Epoch) _state.SaveEpoch(segment.Opening.Epoch);
            if (segment is null || segment.Opening.Epoch < _state.Epoch || !TryRecover(segment, i == paths.Count - 1, ref intact)) _files.Delete(paths[i]);
        }
        foreach (var segment in _queue.TakeDurable(0) ?? [])
        {
            segment.Close();
            _files.Delete(segment.Path);
            _space.Release(segment.End);
        }
    }

    /// <summary>Only the last segment can have a torn tail after kill -9, so only it is read whole; the sender checks every frame anyway.</summary>
    private bool TryRecover(SpoolSegment segment, bool last, ref bool intact)
    {
        var before = _queue.Segments.Count > 0 ? _queue.Segments[^1].Last : (StreamPosition?)null;
        (long Offset, long Ordinal)? oldest = null;
        segment.Scan(_files, last, (offset, header) =>
        {
            if (oldest is null && new StreamPosition(header.Incarnation, header.Ordinal).CompareTo(_queue.Durable) > 0) oldest = (offset, header.Ordinal);
        });
        var file = segment.File(_files);
        if (file.LengthBytes > segment.End)
        {
            intact = false; // what follows damage has nothing to continue
            file.SetLength(segment.End);
            if (!last) _lastError = $"segment {segment.Number} was damaged at offset {segment.End}: what followed is dropped";
        }
        segment.Seal(_files);
        if (!segment.IsEmpty && before is { } end && (segment.First.Incarnation == end.Incarnation ? segment.FirstOrdinal != end.Ordinal + 1 : segment.First.Incarnation < end.Incarnation || segment.FirstOrdinal != 1))
            intact = false;
        else if (!segment.IsEmpty)
        {
            _space.Force(segment.End);
            if (!_queue.HasCursor && oldest is { } from)
            {
                _queue.PointAt(segment, from.Offset, from.Ordinal);
                segment.Begun = from.Offset > segment.HeaderBytes;
            }
            _queue.Add(segment);
            return true;
        }
        return false;
    }
}
