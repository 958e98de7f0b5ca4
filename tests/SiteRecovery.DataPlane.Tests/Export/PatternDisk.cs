using SiteRecovery.DataPlane.Blocks;

namespace SiteRecovery.DataPlane.Tests.Export;

/// <summary>A read-only disk of given bytes whose reads take a while when told to, so that copies overlap.</summary>
internal sealed class PatternDisk(byte[] content) : IBlockDevice
{
    public bool Slow { get; init; }
    public long SizeBytes => content.Length;
    public bool ReadOnly => true;

    public async ValueTask ReadAsync(long offset, Memory<byte> into, CancellationToken stop)
    {
        if (Slow) await Task.Delay(1, stop);
        content.AsSpan((int)offset, into.Length).CopyTo(into.Span);
    }

    public ValueTask WriteAsync(long offset, ReadOnlyMemory<byte> from, bool forceUnitAccess, CancellationToken stop) => throw new ReadOnlyDeviceException("read-only");
    public ValueTask WriteZeroesAsync(long offset, long length, bool mayTrim, bool forceUnitAccess, CancellationToken stop) => throw new ReadOnlyDeviceException("read-only");
    public ValueTask FlushAsync(CancellationToken stop) => ValueTask.CompletedTask;
    public ValueTask<IReadOnlyList<BlockStatusExtent>> StatusAsync(long offset, long length, CancellationToken stop) => new([new BlockStatusExtent(length, false, false)]);
    public ValueTask DisposeAsync() => ValueTask.CompletedTask;
}
