using SiteRecovery.DataPlane.Keys;
using SiteRecovery.DataPlane.Storage;

namespace SiteRecovery.DataPlane.Retention;

/// <summary>
/// What lies below the log of a store: per disk the blocks that promotion has written, below them the raw file that the store was made over, else zeroes.
/// Files are opened when first read. Safe for concurrent calls.
/// </summary>
internal sealed class BaseImages(string folder, IReadOnlyList<DiskRecord> disks, IFileSystem files, bool readOnly, StoreKeys keys) : IDisposable
{
    /// <summary>Something was promoted: each disk has its files, and without them nothing is known of it.</summary>
    internal bool IsPromoted { get; set; }

    /// <summary>Something was promoted into encrypted images: each disk has one.</summary>
    internal bool IsEncrypted { get; set; }

    /// <summary>Where promotion writes is encrypted; where it ever was it stays so.</summary>
    internal bool Encrypts { get; set; }

    /// <summary>Of a disk so many blocks wait for a flush, beside those of which only a part has come.</summary>
    internal int UnflushedMax { get; init; } = int.MaxValue;

    /// <summary>What is on its way here, if anything is.</summary>
    internal BasePromotion? Promotion { get; set; }

    private readonly Lock _gate = new();
    private readonly Dictionary<ushort, (IBlockFile? File, IBaseImage? Promoted)> _open = [];
    private bool _disposed;

    internal IReadOnlyList<DiskRecord> Disks => disks;
    internal bool Any => disks.Any(d => d.Base is not null || PromotedImage.Exists(folder, d.Index, files) || EncryptedImage.Exists(folder, d.Index, files));

    /// <summary>Opens the files below a disk.</summary>
    /// <exception cref="IOException">One cannot be opened, or is of another size than the disk.</exception>
    internal void Open(ushort disk) => Of(disk);

    internal void Read(ushort disk, long offset, Span<byte> into)
    {
        var (file, promoted) = Of(disk);
        if (promoted is not null) promoted.Read(offset, into);
        else if (file is not null) file.Read(offset, into);
        else into.Clear();
    }

    /// <summary>The first run at that offset; null where there is nothing but zeroes.</summary>
    internal (long Length, bool Hole)? RunAt(ushort disk, long offset)
    {
        var (file, promoted) = Of(disk);
        return promoted?.RunAt(offset) ?? file?.RunAt(offset);
    }

    /// <summary>Where promotion writes; it is made where there was none.</summary>
    internal IBaseImage ToWrite(ushort disk)
    {
        var (file, promoted) = Of(disk);
        // All disks of a store alike, also where what was promoted was cut short between two.
        var encrypt = Encrypts || disks.Any(d => EncryptedImage.Exists(folder, d.Index, files));
        if (promoted is EncryptedImage || (promoted is not null && !encrypt)) return promoted;
        lock (_gate)
        {
            files.CreateDirectory(Path.Combine(folder, "base"));
            var record = disks.First(d => d.Index == disk);
            promoted = encrypt ? new EncryptedImage(folder, record, file, (PromotedImage?)promoted, files, readOnly: false, keys, () => Promotion) { UnflushedMax = UnflushedMax }
                : new PromotedImage(folder, record, file, files, readOnly: false, () => Promotion) { UnflushedMax = UnflushedMax };
            files.FlushFolder(Path.Combine(folder, "base"));
            files.FlushFolder(folder);
            _open[disk] = (file, promoted);
            return promoted;
        }
    }

    /// <summary>Whether promotion writes over a block where it is. Where it encrypts it writes elsewhere.</summary>
    internal bool IsInPlace(ushort disk, long block) => Of(disk).Promoted is PromotedImage image && image.Has(block);

    /// <summary>What was just promoted went into encrypted images.</summary>
    internal bool WritesEncrypted { get { lock (_gate) return _open.Values.Any(o => o.Promoted is EncryptedImage); } }

    /// <summary>What was written and not flushed is written once more.</summary>
    internal void Restart()
    {
        lock (_gate)
            foreach (var (_, promoted) in _open.Values) promoted?.Restart();
    }

    /// <summary>Looks at each file anew, whether it was opened before or not, and reads what has checksums.</summary>
    internal IEnumerable<StoreDamage> Verify()
    {
        foreach (var record in disks)
        {
            string? reason = null;
            try
            {
                if (record.Base is not null) OpenFile(record).Dispose();
            }
            catch (IOException failure)
            {
                reason = failure.Message;
            }
            if (reason is not null) yield return new StoreDamage(record.Base!, 0, reason);
            else if (IsMissing(record.Index)) yield return new StoreDamage(Path.Combine(folder, "base"), 0, $"what was promoted of disk {record.Index} is missing");
            else
                foreach (var damage in Of(record.Index).Promoted?.Verify(record.SizeBytes) ?? []) yield return damage;
        }
    }

    /// <summary>Reads and checks what lies at an offset of a disk, as far as it is one run. What is not here counts as read.</summary>
    internal (long Bytes, StoreDamage? Damage) Scrub(ushort disk, long offset, long bytes)
    {
        var (record, promoted) = (disks.First(d => d.Index == disk), Of(disk).Promoted);
        return promoted is null ? (record.SizeBytes - offset, null) : promoted.Scrub(offset, Math.Min(bytes, record.SizeBytes - offset));
    }

    public void Dispose()
    {
        lock (_gate)
        {
            _disposed = true;
            foreach (var (file, promoted) in _open.Values)
            {
                promoted?.Dispose();
                file?.Dispose();
            }
            _open.Clear();
        }
    }

    private (IBlockFile? File, IBaseImage? Promoted) Of(ushort disk)
    {
        lock (_gate)
        {
            ObjectDisposedException.ThrowIf(_disposed, this);
            if (_open.TryGetValue(disk, out var open)) return open;
            var record = disks.First(d => d.Index == disk);
            var file = record.Base is null ? null : OpenFile(record);
            if (IsMissing(disk)) throw new IOException($"what was promoted of disk {disk} is missing");
            var plain = PromotedImage.Exists(folder, disk, files) ? new PromotedImage(folder, record, file, files, readOnly, () => Promotion) { UnflushedMax = UnflushedMax } : null;
            return _open[disk] = (file, EncryptedImage.Exists(folder, disk, files) ? new EncryptedImage(folder, record, file, plain, files, readOnly, keys, () => Promotion) { UnflushedMax = UnflushedMax } : plain);
        }
    }

    private bool IsMissing(ushort disk) => IsEncrypted ? !EncryptedImage.Exists(folder, disk, files) : IsPromoted && !PromotedImage.Exists(folder, disk, files);

    private IBlockFile OpenFile(DiskRecord record)
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
