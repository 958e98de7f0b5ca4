namespace SiteRecovery.Actors.ProcessServers;

/// <summary>
/// Own clock minus another one's, from messages that bear its time. A message may be late and never early, so the smallest difference
/// of the last ones is the truest.
/// </summary>
internal sealed class ClockDifference
{
    private const int MessagesMax = 20;
    private readonly Queue<TimeSpan> _last = new();

    internal TimeSpan Offset => _last.Count == 0 ? TimeSpan.Zero : _last.Min();

    internal void Add(TimeSpan difference)
    {
        if (_last.Count == MessagesMax) _last.Dequeue();
        _last.Enqueue(difference);
    }
}
