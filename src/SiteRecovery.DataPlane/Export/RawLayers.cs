using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.DataPlane.Storage;

namespace SiteRecovery.DataPlane.Export;

/// <summary>Layers that nobody has open, and perhaps nobody can: a map or what lies beside it may be damaged, and the data files be whole disks all the same.</summary>
public static class RawLayers
{
    private const int AtOnceBytes = 1 << 20, PageBytes = 4096;

    /// <summary>What they show is durable when it returns, whole or not.</summary>
    /// <param name="mayHaveForgotten">A flush of one of them has failed in this boot of the host, or nobody knows: they are written anew. What cannot be read stays as it is.</param>
    /// <param name="givesUp">What cannot be read has been waited for, and is lost: what it would have said is not known.</param>
    /// <returns>Each is known to be the whole disk: its map said of all of it that it is durable. The map's header is not asked.</returns>
    /// <exception cref="IOException">One cannot be flushed, which the next attempt knows of; or something cannot be read, and is to be waited for.</exception>
    public static bool FlushWhole(string folder, IEnumerable<DiskGeometry> disks, IFileSystem files, bool mayHaveForgotten, bool givesUp, CancellationToken stop)
    {
        var areWhole = true;
        foreach (var disk in disks)
        {
            var path = Path.Combine(folder, ReplicaLayers.FileOf(disk.Index));
            if (!files.Exists(path + ".data"))
            {
                areWhole = false;
                continue;
            }
            using var data = files.Open(path + ".data", FileOpening.ReadWrite);
            if (mayHaveForgotten || OverlayMap.MayHaveForgotten(path + ".map", files)) WriteAnew(data, givesUp, stop);
            try
            {
                data.Flush();
            }
            catch (IOException)
            {
                OverlayMap.NoteFailedFlush(path + ".map", files);
                throw;
            }
            areWhole &= data.LengthBytes == disk.SizeBytes && OverlayMap.SaysWhole(path + ".map", disk.SizeBytes, files, givesUp);
        }
        return areWhole;
    }

    private static void WriteAnew(IBlockFile data, bool givesUp, CancellationToken stop)
    {
        var buffer = new byte[AtOnceBytes];
        for (long offset = 0, end = data.LengthBytes; offset < end;)
        {
            stop.ThrowIfCancellationRequested();
            var (run, hole) = data.RunAt(offset);
            var length = (int)Math.Clamp(run, 1, Math.Min(AtOnceBytes, end - offset));
            if (!hole && !TryWriteAnew(data, offset, buffer.AsSpan(0, length), givesUp: true))
                for (var at = 0; at < length; at += PageBytes) TryWriteAnew(data, offset + at, buffer.AsSpan(0, Math.Min(PageBytes, length - at)), givesUp);
            // All of a hole at once; that it is one may be what the flush has not written.
            if (hole) data.Zero(offset, Math.Clamp(run, 1, end - offset));
            offset += hole ? Math.Max(1, run) : length;
        }
    }

    /// <summary>False: the disk does not give it, so that nothing of it is only shown.</summary>
    private static bool TryWriteAnew(IBlockFile data, long offset, Span<byte> buffer, bool givesUp)
    {
        try
        {
            data.Read(offset, buffer);
        }
        catch (IOException) when (givesUp)
        {
            return false;
        }
        data.Write(offset, buffer);
        return true;
    }
}
