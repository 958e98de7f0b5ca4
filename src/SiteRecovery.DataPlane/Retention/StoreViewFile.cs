using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.DataPlane.Storage;

namespace SiteRecovery.DataPlane.Retention;

/// <summary>A disk of a view.</summary>
internal sealed class StoreViewFile(StoreView view, DiskRecord disk) : IBlockFile
{
    private const string Reason = "a view of a recovery point is read-only";

    public long LengthBytes => disk.SizeBytes;

    public void Read(long offset, Span<byte> into)
    {
        var inside = (int)Math.Clamp(disk.SizeBytes - offset, 0, into.Length);
        into[inside..].Clear();
        if (inside > 0) view.Read(disk.Index, offset, into[..inside]);
    }

    public (long Length, bool Hole) RunAt(long offset) => offset < disk.SizeBytes ? view.RunAt(disk.Index, offset, disk.SizeBytes - offset) : (0, true);

    public void SetLength(long lengthBytes) => throw new ReadOnlyDeviceException(Reason);
    public void Write(long offset, ReadOnlySpan<byte> from) => throw new ReadOnlyDeviceException(Reason);
    public void Zero(long offset, long length) => throw new ReadOnlyDeviceException(Reason);

    public void Flush()
    {
        // There is nothing that could be lost.
    }

    public void Dispose()
    {
        // The view belongs to the store.
    }
}
