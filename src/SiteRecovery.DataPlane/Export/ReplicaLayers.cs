using System.Globalization;
using SiteRecovery.DataPlane.Retention;
using SiteRecovery.DataPlane.Storage;
using SiteRecovery.Domain.History;

namespace SiteRecovery.DataPlane.Export;

/// <summary>The disks of a replica: views of a point with a copy-on-write layer over each. One instance per folder.</summary>
public sealed class ReplicaLayers : IDisposable
{
    private readonly List<(DiskRecord Disk, OverlayFile File)> _disks = [];
    private readonly StoreView _view;

    /// <param name="folder">Where the layers lie, or will; it is made.</param>
    /// <param name="stop">Opening may have to write a layer anew.</param>
    /// <exception cref="InvalidDataException">The point is not viewable, or a layer is damaged.</exception>
    public ReplicaLayers(RetentionStore store, RecoveryPoint point, string folder, IFileSystem files, CancellationToken stop = default)
    {
        files.CreateDirectory(folder);
        var view = _view = store.At(point);
        try
        {
            foreach (var disk in view.Disks)
                _disks.Add((disk, new OverlayFile(view.File(disk.Index), Path.Combine(folder, FileOf(disk.Index)), files, stop: stop)));
        }
        catch
        {
            LetGo(); // what is told is why they could not be opened
            throw;
        }
    }

    public IReadOnlyList<(DiskRecord Disk, OverlayFile File)> Disks => _disks;

    /// <summary>Of a disk's two files in the folder, without their suffixes.</summary>
    public static string FileOf(ushort disk) => string.Create(CultureInfo.InvariantCulture, $"disk-{disk}");

    /// <summary>What was written to the layers.</summary>
    public IReadOnlyList<WrittenDisk> Written => [.. _disks.Select(d => new WrittenDisk(d.Disk.Index, d.File, d.File.WrittenRuns()))];

    public void Dispose()
    {
        if (LetGo() is { } failed) throw new IOException("a layer could not be flushed: " + failed.Message, failed);
    }

    private IOException? LetGo()
    {
        IOException? failed = null;
        foreach (var (_, file) in _disks)
        {
            try
            {
                file.Dispose();
            }
            catch (IOException failure)
            {
                failed ??= failure; // the other disks' layers are let go all the same
            }
        }
        _view.Release();
        return failed;
    }
}
