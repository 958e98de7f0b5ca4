using System.Runtime.InteropServices;

namespace SiteRecovery.DataPlane.Storage;

/// <summary>The operating system's files.</summary>
public sealed class RealFileSystem : IFileSystem
{
    public static readonly RealFileSystem Instance = new();
    private const int NotThere = 2, Refused = 13, NoFolder = 20, Invalid = 22, ReadOnlyFileSystem = 30;

    public IBlockFile Open(string path, FileOpening how) => new RealBlockFile(path, how);
    public bool Exists(string path) => IsThere(path) && !Directory.Exists(path);
    public bool FolderExists(string path) => IsThere(Path.Combine(path, "."));
    public IReadOnlyList<string> List(string folder) =>
        FolderExists(folder) ? Directory.GetFiles(folder).Order(StringComparer.Ordinal).ToArray() : [];
    public IReadOnlyList<string> Folders(string folder) =>
        FolderExists(folder) ? Directory.GetDirectories(folder).Order(StringComparer.Ordinal).ToArray() : [];
    public byte[]? TryReadAll(string path) => Exists(path) ? File.ReadAllBytes(path) : null;
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
        if (FolderExists(path)) Directory.Delete(path, recursive: true);
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
        if (descriptor < 0)
        {
            // One that is gone has nothing to flush; and those above the data folder are perhaps not ours to open.
            if (Marshal.GetLastPInvokeError() is NotThere or NoFolder or Refused) return;
            throw new IOException($"{folder} cannot be flushed: {Marshal.GetPInvokeErrorMessage(Marshal.GetLastPInvokeError())}", Marshal.GetLastPInvokeError());
        }
        var failed = Posix.Fsync(descriptor) == 0 ? 0 : Marshal.GetLastPInvokeError();
        _ = Posix.Close(descriptor);
        if (failed is not (0 or Invalid or ReadOnlyFileSystem)) throw new IOException($"{folder} cannot be flushed: {Marshal.GetPInvokeErrorMessage(failed)}", failed);
    }

    /// <summary>What cannot be asked is not absent: a fence that is taken for none would be none.</summary>
    private static bool IsThere(string path)
    {
        if (Posix.Access(path, 0) == 0) return true;
        var why = Marshal.GetLastPInvokeError();
        return why is NotThere or NoFolder ? false : throw new IOException($"{path} cannot be asked for: {Marshal.GetPInvokeErrorMessage(why)}", why);
    }

    public long FreeBytes(string path) => new DriveInfo(Path.GetFullPath(path)).AvailableFreeSpace;
}
