namespace SiteRecovery.DataPlane.Blocks;

/// <summary>A disk that can be served. Offsets and lengths in bytes; callers stay within <see cref="SizeBytes"/>. Safe for concurrent calls.</summary>
public interface IBlockDevice : IAsyncDisposable
{
    long SizeBytes { get; }
    bool ReadOnly { get; }
    ValueTask ReadAsync(long offset, Memory<byte> into, CancellationToken stop);
    /// <exception cref="ReadOnlyDeviceException">The device takes no writes (read-only, or its epoch is fenced).</exception>
    ValueTask WriteAsync(long offset, ReadOnlyMemory<byte> from, bool forceUnitAccess, CancellationToken stop);
    /// <summary>Makes the range read as zeroes; may punch a hole when <paramref name="mayTrim"/>.</summary>
    ValueTask WriteZeroesAsync(long offset, long length, bool mayTrim, bool forceUnitAccess, CancellationToken stop);
    /// <summary>May block its caller for as long as the disk takes; who serves others meanwhile calls it from a thread of its own.</summary>
    ValueTask FlushAsync(CancellationToken stop);
    /// <summary>Extents from <paramref name="offset"/> covering at most <paramref name="length"/> bytes, in order and without gaps.</summary>
    ValueTask<IReadOnlyList<BlockStatusExtent>> StatusAsync(long offset, long length, CancellationToken stop);
}

/// <summary>A run of a device: a hole reads as zeroes.</summary>
public readonly record struct BlockStatusExtent(long Length, bool Hole, bool Zero);

public sealed class ReadOnlyDeviceException(string reason) : Exception(reason);
