using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.DataPlane.Storage;
using SiteRecovery.Domain.History;

namespace SiteRecovery.DataPlane.ProcessServer;

/// <content>Start: what an earlier process left in the folder.</content>
internal sealed partial class MachineSpool
{
    /// <summary>
    /// What a process that is gone left behind: up to the first damage, and without what is durable or of an epoch that is over. Where the disk cannot be read it is tried again and again:
    /// until then nobody knows what is there, and no stream opens. What it does not give for long is taken for damaged.
    /// </summary>
    private async Task LoadAsync(IReadOnlyList<string> paths)
    {
        var began = _time.GetTimestamp();
        for (string? failure = null; ; await Task.Delay(DiskRetry, _time, _stop.Token).ConfigureAwait(false))
        {
            try
            {
                Recover(failure is null ? paths : [.. paths.Where(_files.Exists)], _time.GetElapsedTime(began) > DiskFailure.Patience);
                if (_lastError == failure) _lastError = null;
                _isLoaded = true;
                return;
            }
            catch (Exception error)
            {
                _lastError = failure = "the spool's folder cannot be read: " + error.Message;
                Unload();
            }
            finally
            {
                _tried.TrySetResult();
            }
        }
    }

    /// <summary>Of what was taken up half, nothing counts.</summary>
    private void Unload()
    {
        lock (_writing)
            lock (_gate)
                foreach (var segment in _queue.Drop(default, Sequence.None))
                {
                    segment.Close();
                    _space.Release(_share, segment.End);
                }
    }

    /// <param name="givesUp">What cannot be read is damaged.</param>
    private void Recover(IReadOnlyList<string> paths, bool givesUp)
    {
        var (durable, sequence) = _state.Load(givesUp);
        _queue.Start(durable, sequence);
        // Before any of it is looked at: what is left of an epoch that is over must not go in front of what follows, nor be sent. The epoch's own file may be gone.
        var openings = paths.Select(p => SpoolSegment.TryOpen(_files, p, _machine, SpoolSegment.NumberOf(p), givesUp)?.Opening).OfType<StreamOpening>().ToList();
        var newest = openings.Select(o => o.Epoch).Append(_state.Epoch).Max();
        if (newest > _state.Epoch) Learn(newest);
        // Whoever sent what is kept here said what the target must have; he may not be there when it is reached. The mark may be of before that: where it cannot be written nobody waits for it.
        foreach (var known in openings.Where(o => o.Epoch == newest && o.KnownPosition.CompareTo(_queue.Durable) > 0))
            _queue.Start(known.KnownPosition, known.KnownDurable > _queue.DurableSequence ? known.KnownDurable : _queue.DurableSequence);
        var intact = true;
        for (var i = 0; i < paths.Count; i++)
        {
            _lastNumber = SpoolSegment.NumberOf(paths[i]);
            var segment = intact ? SpoolSegment.TryOpen(_files, paths[i], _machine, _lastNumber, givesUp) : null;
            intact = segment is not null || (intact && SpoolSegment.IsNothing(_files, paths[i], givesUp));
            try
            {
                if (segment is null || segment.Opening.Epoch < _state.Epoch || !TryRecover(segment, i == paths.Count - 1, givesUp, ref intact)) _files.Delete(paths[i]);
            }
            catch
            {
                segment?.Close();
                throw;
            }
        }
        Delete(_queue.TakeDurable(0));
    }

    /// <summary>A disk without room that only what is kept here would make keeps nobody from sending it: the segment itself remembers its epoch.</summary>
    private void Learn(Epoch newest)
    {
        try
        {
            _state.SaveEpoch(newest);
        }
        catch (Exception error) when (IsDiskError(error))
        {
            _state.Learn(newest);
        }
    }

    /// <summary>Only the last segment can have a torn tail after kill -9, so only it is read whole; the sender checks every frame anyway.</summary>
    private bool TryRecover(SpoolSegment segment, bool last, bool givesUp, ref bool intact)
    {
        var before = _queue.Segments.Count > 0 ? _queue.Segments[^1].Last : (StreamPosition?)null;
        (long Offset, BatchHeader Header)? oldest = null;
        segment.Scan(_files, last, givesUp, (offset, header) =>
        {
            if (oldest is null && new StreamPosition(header.Incarnation, header.Ordinal).CompareTo(_queue.Durable) > 0) oldest = (offset, header);
        });
        var file = segment.File(_files);
        if (file.LengthBytes > segment.End)
        {
            intact = false; // what follows damage has nothing to continue
            try
            {
                file.SetLength(segment.End);
            }
            catch (IOException) when (givesUp)
            {
                // A file system has to read the block that a file is to end in. Kept as it is, it would stand in front of what follows at each start.
                segment.Close();
                return false;
            }
            if (!last) _lastError = $"segment {segment.Number} was damaged at offset {segment.End}: what followed is dropped";
        }
        segment.Seal(_files);
        if (!segment.IsEmpty && before is { } end && !Follows(segment.First, end))
            intact = false;
        else if (!segment.IsEmpty)
        {
            _space.Force(_share, segment.End);
            if (!_queue.HasCursor && oldest is { } from && from.Offset < segment.End)
            {
                _queue.PointAt(segment, from.Offset, from.Header.Ordinal, from.Header.Time);
                segment.Begun = from.Offset > segment.HeaderBytes;
            }
            _queue.Add(segment);
            return true;
        }
        return false;
    }

    /// <summary>A hole is none where the target has what is missing: it came by another process server.</summary>
    private bool Follows(StreamPosition first, StreamPosition end)
    {
        if (first.CompareTo(end) <= 0) return false;
        if (first.Incarnation == _queue.Durable.Incarnation && first.Ordinal <= _queue.Durable.Ordinal + 1) return true;
        return first.Ordinal == (first.Incarnation == end.Incarnation ? end.Ordinal + 1 : 1);
    }
}
