namespace SiteRecovery.DataPlane.ProcessServer;

/// <summary>Wakes everybody who waits; ringing costs nothing while nobody does. Take <see cref="Next"/>, look, then wait.</summary>
internal sealed class Bell
{
    private TaskCompletionSource? _waiting;

    public Task Next()
    {
        while (true)
        {
            if (Volatile.Read(ref _waiting) is { } waiting) return waiting.Task;
            waiting = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
            if (Interlocked.CompareExchange(ref _waiting, waiting, null) is null) return waiting.Task;
        }
    }

    public void Ring()
    {
        // A full fence, so that what changed before the ring is seen by whoever took Next before it.
        Interlocked.MemoryBarrier();
        if (Volatile.Read(ref _waiting) is not null) Interlocked.Exchange(ref _waiting, null)?.TrySetResult();
    }
}
