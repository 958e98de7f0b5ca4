using SiteRecovery.Actors.ProtectedMachines;

namespace SiteRecovery.Actors.MasterTargets;

/// <summary>Where a store's space goes at the rate of the last minutes.</summary>
public sealed class SpaceForecast
{
    private static readonly TimeSpan SampleEvery = TimeSpan.FromSeconds(10), LookBack = TimeSpan.FromMinutes(10), Least = TimeSpan.FromSeconds(30), Farthest = TimeSpan.FromDays(366);
    private readonly Queue<(DateTimeOffset At, long Bytes, long FreeBytes)> _samples = new();
    private DateTimeOffset _sampledAt = DateTimeOffset.MinValue;

    /// <summary>The report with what is to be expected.</summary>
    /// <param name="bytesMax">The policy's; null: none.</param>
    public StoreReport Of(StoreReport store, long? bytesMax, DateTimeOffset now)
    {
        if (now - _sampledAt >= SampleEvery)
        {
            _samples.Enqueue((now, store.Bytes, store.FreeBytes));
            _sampledAt = now;
            while (now - _samples.Peek().At > LookBack) _samples.Dequeue();
        }
        var (at, bytes, free) = _samples.Peek();
        if (now - at < Least) return store;
        var seconds = (now - at).TotalSeconds;
        var (growth, use) = ((store.Bytes - bytes) / seconds, (free - store.FreeBytes) / seconds);
        return store with { BytesPerSecond = (long)growth, LimitAt = bytesMax - store.Bytes is { } left ? When(left, growth, now) : null, DiskFullAt = When(store.FreeBytes, use, now) };
    }

    private static DateTimeOffset? When(long left, double perSecond, DateTimeOffset now) =>
        perSecond <= 0 || left / perSecond > Farthest.TotalSeconds ? null : now + TimeSpan.FromSeconds(Math.Max(0, left / perSecond));
}
