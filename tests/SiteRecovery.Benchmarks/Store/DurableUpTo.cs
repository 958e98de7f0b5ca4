using System.Diagnostics;
using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.DataPlane.MasterTarget;
using SiteRecovery.Domain.History;

namespace SiteRecovery.Benchmarks;

/// <summary>How long batches took, in ms.</summary>
public sealed class Delays
{
    private readonly List<double> _milliseconds = [];

    public void Add(double milliseconds)
    {
        lock (_milliseconds) _milliseconds.Add(milliseconds);
    }

    public double Quantile(double share)
    {
        lock (_milliseconds) return _milliseconds.Order().ElementAt((int)(share * (_milliseconds.Count - 1)));
    }
}

/// <summary>A stream into a store, whose sender learns what is durable.</summary>
public sealed class DurableUpTo : IPositionListener, IAsyncDisposable
{
    private readonly Delays _delays;
    private readonly Lock _gate = new();
    private readonly Queue<(long Ordinal, long Offered)> _offered = new();
    private readonly TaskCompletionSource _last = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private IStreamSession _session = null!;
    private long _lastOrdinal = long.MaxValue;

    private DurableUpTo(Delays delays) => _delays = delays;

    public static async Task<DurableUpTo> OpenAsync(StoreReceiver receiver, Feed feed, Delays delays, CancellationToken stop)
    {
        var listener = new DurableUpTo(delays);
        listener._session = await receiver.OpenAsync(feed.Opening, listener, stop);
        return listener;
    }

    /// <summary>Returns once the last of them is durable.</summary>
    public async Task SendAsync(IReadOnlyList<Batch> batches, CancellationToken stop)
    {
        Volatile.Write(ref _lastOrdinal, batches[^1].Header.Ordinal);
        foreach (var batch in batches)
        {
            lock (_gate) _offered.Enqueue((batch.Header.Ordinal, Stopwatch.GetTimestamp()));
            await _session.OfferAsync(batch, stop);
        }
        await await Task.WhenAny(_last.Task, Failed());
    }

    private async Task Failed() => throw new InvalidOperationException("the store ended the stream", await _session.Closed);

    public void Received(StreamPosition position)
    {
        // Only what is durable counts.
    }

    public void Durable(StreamPosition position, Sequence sequence)
    {
        lock (_gate)
            while (_offered.TryPeek(out var oldest) && oldest.Ordinal <= position.Ordinal)
                _delays.Add(Stopwatch.GetElapsedTime(_offered.Dequeue().Offered).TotalMilliseconds);
        if (position.Ordinal >= Volatile.Read(ref _lastOrdinal)) _last.TrySetResult();
    }

    public ValueTask DisposeAsync() => _session.DisposeAsync();
}
