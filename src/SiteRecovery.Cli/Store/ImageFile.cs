using SiteRecovery.Cli.Output;
using SiteRecovery.DataPlane.Storage;

namespace SiteRecovery.Cli.Store;

/// <summary>
/// A raw image under way. A file gets its name only once it is whole and on disk; a block device is written in place.
/// </summary>
internal sealed class ImageFile : IDisposable
{
    private const int SparseBlockBytes = 4096;
    private readonly string _path;
    private readonly string? _partial;
    private readonly IBlockFile _file;
    private bool _complete;

    private ImageFile(string path, string? partial, IBlockFile file) => (_path, _partial, _file) = (path, partial, file);

    /// <param name="roomBytes">What must be free before anything is written.</param>
    public static ImageFile Create(string path, long sizeBytes, long roomBytes, bool sparse, bool force)
    {
        if (Directory.Exists(path)) throw CommandProblem.Usage($"{path} is a directory", "Name the file to write.");
        if (File.Exists(path) && !force) throw CommandProblem.Usage($"{path} exists already", "Name another file, or pass --force to overwrite it.");
        if (path.StartsWith("/dev/", StringComparison.Ordinal)) return OnDevice(path, sizeBytes);
        var folder = Path.GetDirectoryName(path)!;
        if (!Directory.Exists(folder)) throw new CommandProblem(ExitCode.NotFound, $"there is no directory {folder}", null, "Create it first.");
        if (RealFileSystem.Instance.FreeBytes(folder) is var free && free < roomBytes)
            throw new CommandProblem(ExitCode.Failed, $"{folder} has {Forms.Bytes(free)} free, and {Forms.Bytes(roomBytes)} are needed", null,
                sparse ? "Free some room, or choose another folder." : "Free some room, choose another folder, or pass --sparse so that zeroes take none.");
        var partial = path + ".partial";
        File.Delete(partial);
        // Reserved room: whoever uses the image later cannot run out of it.
        if (!sparse) File.OpenHandle(partial, FileMode.CreateNew, FileAccess.Write, FileShare.None, FileOptions.None, sizeBytes).Dispose();
        var file = RealFileSystem.Instance.Open(partial, FileOpening.Create);
        file.SetLength(sizeBytes);
        return new ImageFile(path, partial, file);
    }

    public void Hole(long offset, long length)
    {
        // A new file reads as zeroes by itself; a device holds what it held.
        if (_partial is null) _file.Zero(offset, length);
    }

    public void Write(long offset, ReadOnlySpan<byte> data, bool sparse)
    {
        if (!sparse || _partial is null)
        {
            _file.Write(offset, data);
            return;
        }
        var from = 0; // start of a run that is not zero
        for (var at = 0; at < data.Length; at += SparseBlockBytes)
        {
            var block = data.Slice(at, Math.Min(SparseBlockBytes, data.Length - at));
            if (block.ContainsAnyExcept((byte)0)) continue;
            if (at > from) _file.Write(offset + from, data[from..at]);
            from = at + block.Length;
        }
        if (data.Length > from) _file.Write(offset + from, data[from..]);
    }

    public void Complete()
    {
        _file.Flush();
        if (_partial is not null)
        {
            RealFileSystem.Instance.Rename(_partial, _path);
            RealFileSystem.Instance.FlushFolder(Path.GetDirectoryName(_path)!);
        }
        _complete = true;
    }

    public void Dispose()
    {
        _file.Dispose();
        if (!_complete && _partial is not null) File.Delete(_partial);
    }

    private static ImageFile OnDevice(string path, long sizeBytes)
    {
        if (!File.Exists(path)) throw new CommandProblem(ExitCode.NotFound, $"there is no device {path}", null, "List the host's block devices: lsblk.");
        var file = RealFileSystem.Instance.Open(path, FileOpening.ReadWrite);
        if (file.LengthBytes >= sizeBytes) return new ImageFile(path, null, file);
        var length = file.LengthBytes;
        file.Dispose();
        throw CommandProblem.Usage($"{path} is too small: {Forms.Bytes(length)}, and the disk has {Forms.Bytes(sizeBytes)}", "Choose a device that is at least as large.");
    }
}
