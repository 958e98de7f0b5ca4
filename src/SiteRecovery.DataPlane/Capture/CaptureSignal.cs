namespace SiteRecovery.DataPlane.Capture;

/// <summary>Wakes one waiter; many sets before the wait count as one.</summary>
internal sealed class CaptureSignal(TimeProvider time) : IDisposable
{
    private readonly SemaphoreSlim _semaphore = new(0);
    private int _set;

    public void Set()
    {
        if (Volatile.Read(ref _set) == 0 && Interlocked.Exchange(ref _set, 1) == 0) _semaphore.Release();
    }

    public async Task WaitAsync(TimeSpan atMost, CancellationToken stop)
    {
        using var patience = new CancellationTokenSource(atMost, time);
        using var until = CancellationTokenSource.CreateLinkedTokenSource(stop, patience.Token);
        var waiting = _semaphore.WaitAsync(until.Token);
        await waiting.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        if (waiting.IsCompletedSuccessfully) Interlocked.Exchange(ref _set, 0);
        else stop.ThrowIfCancellationRequested();
    }

    public void Dispose() => _semaphore.Dispose();
}
