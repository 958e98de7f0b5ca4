using SiteRecovery.DataPlane.Blocks;

namespace SiteRecovery.DataPlane.Export;

/// <summary>When a replica's disks were served, and first read and written by whoever has them open.</summary>
public sealed class FirstRequests(TimeProvider time)
{
    private readonly long _servedAt = time.GetTimestamp();
    private long _readAt, _wroteAt; // 0: not yet

    public TimeSpan ServedAgo => time.GetElapsedTime(_servedAt);
    public TimeSpan? ReadAgo => Ago(ref _readAt);
    public TimeSpan? WroteAgo => Ago(ref _wroteAt);

    internal IBlockDevice Watch(IBlockDevice device) => new Watched(device, this);

    private TimeSpan? Ago(ref long at) => Volatile.Read(ref at) is not 0 and var then ? time.GetElapsedTime(then) : null;

    private void Note(ref long at)
    {
        if (Volatile.Read(ref at) == 0) Interlocked.CompareExchange(ref at, Math.Max(1, time.GetTimestamp()), 0);
    }

    /// <summary>The device itself, after a look at whether a request is the first of its kind to be answered.</summary>
    private sealed class Watched(IBlockDevice device, FirstRequests firsts) : IBlockDevice
    {
        public long SizeBytes => device.SizeBytes;
        public bool ReadOnly => device.ReadOnly;

        public async ValueTask ReadAsync(long offset, Memory<byte> into, CancellationToken stop)
        {
            await device.ReadAsync(offset, into, stop).ConfigureAwait(false);
            firsts.Note(ref firsts._readAt);
        }

        public async ValueTask WriteAsync(long offset, ReadOnlyMemory<byte> from, bool forceUnitAccess, CancellationToken stop)
        {
            await device.WriteAsync(offset, from, forceUnitAccess, stop).ConfigureAwait(false);
            firsts.Note(ref firsts._wroteAt);
        }

        public async ValueTask WriteZeroesAsync(long offset, long length, bool mayTrim, bool forceUnitAccess, CancellationToken stop)
        {
            await device.WriteZeroesAsync(offset, length, mayTrim, forceUnitAccess, stop).ConfigureAwait(false);
            firsts.Note(ref firsts._wroteAt);
        }

        public ValueTask FlushAsync(CancellationToken stop) => device.FlushAsync(stop);

        public ValueTask<IReadOnlyList<BlockStatusExtent>> StatusAsync(long offset, long length, CancellationToken stop) => device.StatusAsync(offset, length, stop);

        public ValueTask DisposeAsync() => device.DisposeAsync();
    }
}
