namespace SiteRecovery.DataPlane.Storage;

/// <summary>One at a time for each key, in the order in which they came; what is done for one key holds up no other.</summary>
public sealed class Turns<TKey> where TKey : notnull
{
    private sealed class Queue
    {
        internal SemaphoreSlim Turn { get; } = new(1, 1);
        internal int Users { get; set; }
    }

    private readonly Dictionary<TKey, Queue> _queues = [];
    private readonly Lock _gate = new();
    private TaskCompletionSource? _idle;

    /// <exception cref="OperationCanceledException">It was stopped before its turn came.</exception>
    public async Task<T> TakeAsync<T>(TKey key, Func<Task<T>> work, CancellationToken stop)
    {
        Queue queue;
        lock (_gate)
        {
            if (!_queues.TryGetValue(key, out queue!)) _queues.Add(key, queue = new Queue());
            queue.Users++;
        }
        try
        {
            await queue.Turn.WaitAsync(stop).ConfigureAwait(false);
            try
            {
                return await work().ConfigureAwait(false);
            }
            finally
            {
                queue.Turn.Release();
            }
        }
        finally
        {
            TaskCompletionSource? idle = null;
            lock (_gate)
            {
                if (--queue.Users == 0) _queues.Remove(key);
                if (_queues.Count == 0) (idle, _idle) = (_idle, null);
            }
            idle?.SetResult();
        }
    }

    /// <summary>Ends when nobody has a turn or waits for one.</summary>
    public Task WhenIdleAsync()
    {
        lock (_gate) return _queues.Count == 0 ? Task.CompletedTask : (_idle ??= new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously)).Task;
    }
}
