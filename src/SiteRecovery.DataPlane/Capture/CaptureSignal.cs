namespace SiteRecovery.DataPlane.Capture;

/// <summary>Wakes one waiter; many sets before the wait count as one.</summary>
internal sealed class CaptureSignal : IDisposable
{
    private readonly SemaphoreSlim _semaphore = new(0);
    private int _set;

    public void Set()
    {
        if (Volatile.Read(ref _set) == 0 && Interlocked.Exchange(ref _set, 1) == 0) _semaphore.Release();
    }

    public async Task WaitAsync(TimeSpan atMost, CancellationToken stop)
    {
        if (await _semaphore.WaitAsync(atMost, stop).ConfigureAwait(false)) Interlocked.Exchange(ref _set, 0);
    }

    public void Dispose() => _semaphore.Dispose();
}
