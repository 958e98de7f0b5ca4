using System.Globalization;
using System.Runtime.ExceptionServices;
using SiteRecovery.DataPlane.Retention;
using SiteRecovery.DataPlane.Storage;
using SiteRecovery.Domain.History;

namespace SiteRecovery.DataPlane.Export;

/// <summary>The disks of a replica: views of a point with a copy-on-write layer over each. One instance per folder.</summary>
public sealed class ReplicaLayers : IDisposable
{
    private readonly List<(DiskRecord Disk, OverlayFile File)> _disks = [];
    private readonly StoreView? _view;

    /// <param name="folder">Where the layers lie, or will; it is made.</param>
    /// <param name="mayStandAlone">Layers that have been flattened are the whole disks: they are opened also where what they lay over is lost, or is not to be had now.</param>
    /// <param name="mayHaveForgotten">A flush of one of them is known to have failed in this boot of the host, whatever they say themselves: they are written anew.</param>
    /// <param name="onlyWritten">Nothing but what was written to the layers will be asked for: what they lay over may be lost. What flattening brought up counts as written where it cannot be told from it then.</param>
    /// <param name="stop">Opening may have to write a layer anew.</param>
    /// <exception cref="InvalidDataException">The point is not viewable, or a layer is damaged.</exception>
    public ReplicaLayers(RetentionStore store, RecoveryPoint point, string folder, IFileSystem files, bool mayStandAlone = false, bool mayHaveForgotten = false, bool onlyWritten = false, CancellationToken stop = default)
    {
        files.CreateDirectory(folder);
        var lost = default(Exception);
        try
        {
            _view = store.At(point);
        }
        catch (Exception failed) when (failed is InvalidDataException or IOException && (onlyWritten || (mayStandAlone && store.Disks.All(d => files.Exists(Path.Combine(folder, FileOf(d.Index)) + ".map")))))
        {
            lost = failed;
        }
        try
        {
            foreach (var disk in _view?.Disks ?? store.Disks)
                _disks.Add((disk, new OverlayFile(_view?.File(disk.Index) ?? new Nothing(disk.SizeBytes), Path.Combine(folder, FileOf(disk.Index)), files, mayHaveForgotten: mayHaveForgotten, mayDrop: lost is null || onlyWritten, stop: stop)));
            if (lost is not null && !onlyWritten && !_disks.TrueForAll(d => d.File.IsFlat)) ExceptionDispatchInfo.Throw(lost);
        }
        catch
        {
            LetGo(); // what is told is why they could not be opened
            // What is only not to be had now is waited for, whatever the lack of it led to.
            if (lost is IOException && !onlyWritten) ExceptionDispatchInfo.Throw(lost);
            throw;
        }
    }

    public IReadOnlyList<(DiskRecord Disk, OverlayFile File)> Disks => _disks;

    /// <summary>Of a disk's two files in the folder, without their suffixes.</summary>
    public static string FileOf(ushort disk) => string.Create(CultureInfo.InvariantCulture, $"disk-{disk}");

    /// <summary>What was written to the layers.</summary>
    public IReadOnlyList<WrittenDisk> Written => [.. _disks.Select(d => new WrittenDisk(d.Disk.Index, d.File, d.File.WrittenRuns()))];

    /// <summary>Reads all that was written to the layers: whoever is about to take it knows that it can be had.</summary>
    /// <exception cref="IOException">Some of it cannot be read.</exception>
    public void ReadWritten(CancellationToken stop)
    {
        var buffer = new byte[OverlayFile.WrittenRunBytesMax];
        foreach (var (_, file) in _disks)
            foreach (var (offset, length) in file.WrittenRuns())
            {
                stop.ThrowIfCancellationRequested();
                file.Read(offset, buffer.AsSpan(0, (int)length));
            }
    }

    /// <summary>Layers that are not open: what they show is durable when it returns.</summary>
    /// <param name="mayHaveForgotten">As of those that are opened.</param>
    /// <exception cref="IOException">One cannot be flushed, or one was not, which whoever opens it next hears of: only over what lies below it is it known what it shows. The others are flushed.</exception>
    /// <exception cref="InvalidDataException">One is damaged.</exception>
    public static void FlushStored(string folder, IFileSystem files, bool mayHaveForgotten = false)
    {
        IOException? unflushed = null;
        foreach (var map in files.List(folder).Where(f => f.EndsWith(".map", StringComparison.Ordinal)))
        {
            var path = map[..^".map".Length];
            if (!files.Exists(path + ".data")) continue; // nothing was written yet
            if (mayHaveForgotten || OverlayMap.MayHaveForgotten(map, files))
            {
                unflushed ??= new IOException($"a flush of {path} has failed: it is written anew when it is opened");
                continue;
            }
            long size;
            using (var data = files.Open(path + ".data", FileOpening.Read)) size = data.LengthBytes;
            new OverlayFile(new Nothing(size), path, files).Dispose();
        }
        if (unflushed is not null) throw unflushed;
    }

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
        _view?.Release();
        return failed;
    }

    /// <summary>What lies below a layer that is flat, or is only flushed.</summary>
    private sealed class Nothing(long lengthBytes) : IBlockFile
    {
        public long LengthBytes => lengthBytes;
        public void SetLength(long length) => throw new NotSupportedException();
        public void Read(long offset, Span<byte> into) => throw new InvalidDataException("what lay below the layer is lost");
        public void Write(long offset, ReadOnlySpan<byte> from) => throw new NotSupportedException();
        public void Zero(long offset, long length) => throw new NotSupportedException();
        public (long Length, bool Hole) RunAt(long offset) => throw new NotSupportedException();

        public void Flush()
        {
        }

        public void Dispose()
        {
        }
    }
}
