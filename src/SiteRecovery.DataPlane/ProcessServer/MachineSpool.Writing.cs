using SiteRecovery.DataPlane.Blocks;

namespace SiteRecovery.DataPlane.ProcessServer;

/// <content>The way in: from the agent's session into the segment that is being written.</content>
internal sealed partial class MachineSpool
{
    /// <summary>Appends the frame as it is; waits while there is no room for it.</summary>
    public async ValueTask OfferAsync(SpoolSession session, Batch batch, CancellationToken stop)
    {
        if (!TryAppend(session, batch)) await WhenAppendedAsync(session, batch, stop).ConfigureAwait(false);
        if (session.Opened.TargetLost)
            lock (_gate) _lossIsUnsaid = false;
        _bell.Ring();
        session.Positions.Received(batch.Position);
    }

    private async ValueTask WhenAppendedAsync(SpoolSession session, Batch batch, CancellationToken stop)
    {
        try
        {
            while (true)
            {
                var freed = _share.Freed.Next();
                _space.LetGo();
                _space.Pressed.Ring();
                if (TryAppend(session, batch)) return;
                // A full disk says nothing when it has room again.
                await Task.WhenAny(freed, session.Closed, Task.Delay(DiskRetry, _time, stop)).ConfigureAwait(false);
                stop.ThrowIfCancellationRequested();
                if (TryAppend(session, batch)) return;
            }
        }
        finally
        {
            // Also where the session has ended.
            _space.GiveUp(_share);
        }
    }

    private bool TryAppend(SpoolSession session, Batch batch)
    {
        var bytes = batch.Frame.Length;
        lock (_writing)
        {
            lock (_gate)
            {
                session.ThrowIfEnded();
                if (!Continues(session.Opening, batch.Header)) return true;
            }
            if (!_space.TryTake(_share, bytes)) return false;
            var isCounted = true;
            try
            {
                var segment = WriterOf(session.Opening, batch.Header.Ordinal, bytes);
                segment.File(_files).Write(segment.End, batch.Frame.Span);
                lock (_gate)
                {
                    // Dropped while it was written: the file is gone, and so is the session.
                    if (session.IsEnded)
                    {
                        (isCounted, segment.Ragged) = (false, true);
                        _space.Release(_share, bytes);
                        session.ThrowIfEnded();
                    }
                    _queue.Appended(segment, batch.Position, batch.Header.Time, bytes);
                }
                return true;
            }
            catch (Exception error) when (isCounted && IsDiskError(error))
            {
                _space.Untake(_share, bytes);
                if (_writer is not null)
                {
                    // Whatever the failed write left behind lies beyond the end.
                    _writer.Ragged = true;
                    _writer.Failures++;
                    _writer.Close();
                }
                lock (_gate) session.ThrowIfEnded();
                _lastError = "the spool's disk takes no writes: " + error.Message;
                return false;
            }
        }
    }

    /// <summary>False for a duplicate.</summary>
    private bool Continues(StreamOpening opening, BatchHeader header)
    {
        if (header.MachineTag != _tag) throw new InvalidDataException("batch of another machine");
        if (header.Epoch != opening.Epoch || header.Incarnation != opening.Incarnation) throw new InvalidDataException("batch of another stream than was opened");
        var (held, position) = (_queue.Held, new StreamPosition(header.Incarnation, header.Ordinal));
        if (position.Incarnation == held.Incarnation && position.Ordinal <= held.Ordinal) return false;
        if (position.Incarnation == held.Incarnation ? position.Ordinal != held.Ordinal + 1 : position.Incarnation < held.Incarnation || position.Ordinal != 1)
            throw new StreamGapException(held);
        return true;
    }

    /// <summary>Under _writing: the segment to append to.</summary>
    private SpoolSegment WriterOf(StreamOpening opening, long ordinal, int bytes)
    {
        if (_writer is { } open)
        {
            var isOfStream = open.Opening.Incarnation == opening.Incarnation;
            if (open.IsStuck && isOfStream && open.IsEmpty)
            {
                open.Renew(_files);
                return open;
            }
            // First what follows it: where there is no room for that either, nothing has changed.
            if (open.IsStuck)
            {
                var next = Begin(opening);
                Leave(open);
                return next;
            }
            // Within one segment ordinals have no gap; what came by another process server meanwhile is one.
            if (isOfStream && (open.IsEmpty || (open.LastOrdinal + 1 == ordinal && open.End + bytes <= _segmentBytes))) return open;
            open.Seal(_files);
            _writer = null;
            if (_space.Used > _options.CoalesceAtFraction * _options.BytesMax) _space.Pressed.Ring();
        }
        return Begin(opening);
    }

    /// <summary>Where not even a bad sector lets itself be cut off, what is behind the end stays in the file: nobody reads it, and after a restart it ends what is read.</summary>
    private void Leave(SpoolSegment stuck)
    {
        try
        {
            stuck.Seal(_files);
        }
        catch (Exception error) when (IsDiskError(error))
        {
            stuck.Close();
            stuck.Sealed = true;
        }
    }

    private SpoolSegment Begin(StreamOpening opening)
    {
        var segment = SpoolSegment.Create(_files, _options.Folder, _lastNumber + 1, opening);
        _lastNumber++;
        _space.Force(_share, segment.HeaderBytes);
        lock (_gate)
        {
            _queue.Add(segment);
            _writer = segment;
        }
        return segment;
    }
}
