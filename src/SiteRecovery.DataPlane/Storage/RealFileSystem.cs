using System.Runtime.InteropServices;

namespace SiteRecovery.DataPlane.Storage;

/// <summary>The operating system's files.</summary>
public sealed class RealFileSystem : IFileSystem
{
    public static readonly RealFileSystem Instance = new();
    private const int Invalid = 22, ReadOnlyFileSystem = 30;

    public IBlockFile Open(string path, FileOpening how) => new RealBlockFile(path, how);
    public bool Exists(string path) => File.Exists(path);
    public bool FolderExists(string path) => Directory.Exists(path);
    public IReadOnlyList<string> List(string folder) =>
        Directory.Exists(folder) ? Directory.GetFiles(folder).Order(StringComparer.Ordinal).ToArray() : [];
    public IReadOnlyList<string> Folders(string folder) =>
        Directory.Exists(folder) ? Directory.GetDirectories(folder).Order(StringComparer.Ordinal).ToArray() : [];
    public byte[]? TryReadAll(string path) => File.Exists(path) ? File.ReadAllBytes(path) : null;
    public void Delete(string path) => File.Delete(path);

    public void CreateDirectory(string path)
    {
        if (Path.GetDirectoryName(Path.GetFullPath(path).TrimEnd('/')) is not { } parent) return;
        if (!Directory.Exists(path))
        {
            CreateDirectory(parent);
            Directory.CreateDirectory(path);
        }
        // Also where it was there: whoever made it was perhaps killed before this.
        FlushFolder(parent);
    }

    public void DeleteFolder(string path)
    {
        if (Directory.Exists(path)) Directory.Delete(path, recursive: true);
    }

    public void Rename(string from, string to)
    {
        if (Directory.Exists(from)) Directory.Move(from, to);
        else File.Move(from, to, overwrite: true);
    }

    public void Replace(string path, ReadOnlySpan<byte> content)
    {
        var temporary = path + ".tmp";
        using (var file = Open(temporary, FileOpening.Create))
        {
            file.SetLength(0);
            file.Write(0, content);
            file.Flush();
        }
        Rename(temporary, path);
        FlushFolder(Path.GetDirectoryName(Path.GetFullPath(path))!);
    }

    public void FlushFolder(string folder)
    {
        var descriptor = Posix.Open(folder, 0, 0);
        if (descriptor < 0) return;
        var failed = Posix.Fsync(descriptor) == 0 ? 0 : Marshal.GetLastPInvokeError();
        _ = Posix.Close(descriptor);
        if (failed is not (0 or Invalid or ReadOnlyFileSystem)) throw new IOException($"{folder} cannot be flushed: {Marshal.GetPInvokeErrorMessage(failed)}", failed);
    }

    public long FreeBytes(string path) => new DriveInfo(Path.GetFullPath(path)).AvailableFreeSpace;
}
