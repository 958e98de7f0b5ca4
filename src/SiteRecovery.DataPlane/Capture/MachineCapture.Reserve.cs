namespace SiteRecovery.DataPlane.Capture;

/// <content>
/// Sequences are reserved durably before they are given out, ahead of need, so that no write waits for it. Where they cannot be, because the agent's folder is full, say, writes land all the same: without a place in
/// the history, tracked as missing at the target. The first sequence that can be had again is theirs.
/// </content>
public sealed partial class MachineCapture
{
    private static readonly TimeSpan ReserveRetry = TimeSpan.FromMilliseconds(200);
    private long _reserved, _reserveAt, _reserveFailedAt; // under _log
    private bool _owesSequence; // under _log: something was written since the newest one

    /// <summary>Under _log. The last that is reserved is given to no write: a capture that does not know where it ended begins there, and is another state.</summary>
    private bool IsExhausted => _newest + 1 >= _reserved;
    private Task _reserving = Task.CompletedTask;

    /// <summary>Under _log, when half of the reservation is used.</summary>
    private void Reserve()
    {
        if (!_reserving.IsCompleted || (_reserveFailedAt != 0 && IsExhausted && _time.GetElapsedTime(_reserveFailedAt) < ReserveRetry)) return;
        var next = _reserved + _options.SequencesReserved;
        _reserving = Task.Run(() => ReserveAhead(next));
    }

    /// <summary>Under _log. What has been written is not in the stream, and has no sequence yet.</summary>
    private void DoWithoutSequence()
    {
        if (_accepting || _reason is null) LoseStream("no sequences could be reserved in time: " + (_lastError ?? "the agent's folder is slow"));
        _owesSequence = true;
    }

    private void ReserveAhead(long next)
    {
        try
        {
            Save(s => s with { Reserved = Math.Max(s.Reserved, next) });
            lock (_log) Reserved(next);
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            _lastError = error.Message;
            // Tried again soon, but not at every write.
            lock (_log) (_reserveAt, _reserveFailedAt) = (Math.Min(_reserved - 1, _newest + 1 + _options.SequencesReserved / 16), _time.GetTimestamp());
        }
        _signal.Set();
    }

    /// <summary>Under _log.</summary>
    private void Reserved(long next)
    {
        if (next <= _reserved) return;
        (_reserved, _reserveAt, _reserveFailedAt) = (next, next - _options.SequencesReserved / 2, 0);
        if (!_owesSequence) return;
        _newest++;
        _owesSequence = false;
    }

    /// <summary>Under _log, where no guest waits. One more, for a change that no write has made.</summary>
    /// <exception cref="IOException">It could not be reserved.</exception>
    private void TakeSequence()
    {
        if (IsExhausted)
        {
            var next = _reserved + _options.SequencesReserved;
            Save(s => s with { Reserved = Math.Max(s.Reserved, next) });
            Reserved(next);
        }
        _newest++;
    }
}
