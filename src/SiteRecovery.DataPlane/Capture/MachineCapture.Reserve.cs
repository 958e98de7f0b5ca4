namespace SiteRecovery.DataPlane.Capture;

/// <content>Sequences are reserved durably before they are given out, ahead of need, so that no write waits for it.</content>
public sealed partial class MachineCapture
{
    private long _reserved, _reserveAt; // under _log
    private Task _reserving = Task.CompletedTask;

    /// <summary>Under _log, when half of the reservation is used.</summary>
    private void Reserve()
    {
        var next = _reserved + _options.SequencesReserved;
        if (_newest == _reserved)
        {
            // Exhausted: only now a write waits.
            Save(s => s with { Reserved = Math.Max(s.Reserved, next) });
            Reserved(next);
        }
        else if (_reserving.IsCompleted) _reserving = Task.Run(() => ReserveAhead(next));
    }

    private void ReserveAhead(long next)
    {
        try
        {
            Save(s => s with { Reserved = Math.Max(s.Reserved, next) });
            lock (_log) Reserved(next);
        }
        catch (IOException error)
        {
            _lastError = error.Message;
            // Tried again soon, but not at every write.
            lock (_log) _reserveAt = Math.Min(_reserved, _newest + 1 + _options.SequencesReserved / 16);
        }
    }

    private void Reserved(long next)
    {
        if (next <= _reserved) return;
        (_reserved, _reserveAt) = (next, next - _options.SequencesReserved / 2);
    }
}
