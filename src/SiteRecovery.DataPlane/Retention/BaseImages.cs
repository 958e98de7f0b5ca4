using SiteRecovery.DataPlane.Storage;

namespace SiteRecovery.DataPlane.Retention;

/// <summary>The raw files below the log of a store. Opened when first read, never written. Safe for concurrent calls.</summary>
internal sealed class BaseImages(IReadOnlyList<DiskRecord> disks, IFileSystem files) : IDisposable
{
    private readonly Lock _gate = new();
    private readonly Dictionary<ushort, IBlockFile> _open = [];
    private readonly Dictionary<ushort, DiskRecord> _based = disks.Where(d => d.Base is not null).ToDictionary(d => d.Index);
    private bool _disposed;

    internal IReadOnlyList<DiskRecord> Disks => disks;
    internal bool Any => _based.Count > 0;

    /// <summary>The file below a disk, or null: zeroes.</summary>
    /// <exception cref="IOException">It cannot be opened, or is of another size than the disk.</exception>
    internal IBlockFile? Of(ushort disk)
    {
        if (!_based.TryGetValue(disk, out var record)) return null;
        lock (_gate)
        {
            ObjectDisposedException.ThrowIf(_disposed, this);
            if (_open.TryGetValue(disk, out var file)) return file;
            return _open[disk] = Open(record);
        }
    }

    /// <summary>Looks at each file anew, whether it was opened before or not.</summary>
    internal IEnumerable<StoreDamage> Verify()
    {
        foreach (var record in _based.Values)
        {
            string? reason = null;
            try
            {
                Open(record).Dispose();
            }
            catch (IOException failure)
            {
                reason = failure.Message;
            }
            if (reason is not null) yield return new StoreDamage(record.Base!, 0, reason);
        }
    }

    public void Dispose()
    {
        lock (_gate)
        {
            _disposed = true;
            foreach (var file in _open.Values) file.Dispose();
            _open.Clear();
        }
    }

    private IBlockFile Open(DiskRecord record)
    {
        IBlockFile file;
        try
        {
            file = files.Open(record.Base!, FileOpening.Read);
        }
        catch (Exception failure) when (failure is IOException or UnauthorizedAccessException)
        {
            throw new IOException($"the base {record.Base} of disk {record.Index} cannot be opened: {failure.Message}", failure);
        }
        if (file.LengthBytes == record.SizeBytes) return file;
        var length = file.LengthBytes;
        file.Dispose();
        throw new IOException($"the base {record.Base} has {length} bytes, but disk {record.Index} has {record.SizeBytes}");
    }
}
