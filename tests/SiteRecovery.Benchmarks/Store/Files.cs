using SiteRecovery.DataPlane.Storage;

namespace SiteRecovery.Benchmarks;

/// <summary>What files take of the disk.</summary>
internal static class Files
{
    /// <summary>Of a file or of all files in a folder, without holes.</summary>
    internal static long AllocatedBytes(string path) => Directory.Exists(path) ? Directory.GetFiles(path, "*", SearchOption.AllDirectories).Sum(AllocatedBytes) : DataBytes(path);

    private static long DataBytes(string path)
    {
        using var file = RealFileSystem.Instance.Open(path, FileOpening.Read);
        var (bytes, end) = (0L, file.LengthBytes);
        for (long at = 0; at < end;)
        {
            var (length, hole) = file.RunAt(at);
            if (!hole) bytes += length;
            at += length;
        }
        return bytes;
    }
}
