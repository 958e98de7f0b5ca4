using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.DataPlane.Storage;

namespace SiteRecovery.DataPlane.Nbd;

/// <summary>A raw file or block device as a device. Everything completes at once, on the caller's thread.</summary>
public sealed class FileDevice(IBlockFile file, bool readOnly) : IBlockDevice
{
    private static readonly byte[] Zeroes = new byte[1 << 20];

    public long SizeBytes { get; } = file.LengthBytes;
    public bool ReadOnly => readOnly;

    public ValueTask ReadAsync(long offset, Memory<byte> into, CancellationToken stop)
    {
        file.Read(offset, into.Span);
        return default;
    }

    public ValueTask WriteAsync(long offset, ReadOnlyMemory<byte> from, bool forceUnitAccess, CancellationToken stop)
    {
        RefuseIfReadOnly();
        file.Write(offset, from.Span);
        return forceUnitAccess ? FlushAsync(stop) : default;
    }

    public ValueTask WriteZeroesAsync(long offset, long length, bool mayTrim, bool forceUnitAccess, CancellationToken stop)
    {
        RefuseIfReadOnly();
        if (mayTrim) file.Zero(offset, length);
        else
        {
            for (var end = offset + length; offset < end; offset += Zeroes.Length)
            {
                stop.ThrowIfCancellationRequested();
                file.Write(offset, Zeroes.AsSpan(0, (int)Math.Min(Zeroes.Length, end - offset)));
            }
        }
        return forceUnitAccess ? FlushAsync(stop) : default;
    }

    public ValueTask FlushAsync(CancellationToken stop)
    {
        if (!readOnly) file.Flush();
        return default;
    }

    public ValueTask<IReadOnlyList<BlockStatusExtent>> StatusAsync(long offset, long length, CancellationToken stop)
    {
        var extents = new List<BlockStatusExtent>();
        for (var end = offset + length; offset < end && extents.Count < 1024;)
        {
            stop.ThrowIfCancellationRequested();
            var (run, hole) = file.RunAt(offset);
            if (run <= 0) throw new IOException("the file is shorter than its device");
            run = Math.Min(run, end - offset);
            if (extents.Count > 0 && extents[^1].Hole == hole) extents[^1] = extents[^1] with { Length = extents[^1].Length + run };
            else extents.Add(new BlockStatusExtent(run, hole, hole));
            offset += run;
        }
        return ValueTask.FromResult<IReadOnlyList<BlockStatusExtent>>(extents);
    }

    public ValueTask DisposeAsync()
    {
        file.Dispose();
        return default;
    }

    private void RefuseIfReadOnly()
    {
        if (readOnly) throw new ReadOnlyDeviceException("the device is served read-only");
    }
}
