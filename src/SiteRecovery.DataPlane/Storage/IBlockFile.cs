namespace SiteRecovery.DataPlane.Storage;

/// <summary>The only way to a disk: an open file or block device. Offsets and lengths in bytes. Safe for concurrent calls.</summary>
public interface IBlockFile : IDisposable
{
    long LengthBytes { get; }
    void SetLength(long lengthBytes);
    /// <summary>Reads exactly into.Length bytes; what lies beyond the end reads as zeroes.</summary>
    void Read(long offset, Span<byte> into);
    /// <summary>The range will be read soon: a file that can brings it into memory meanwhile. Nothing else comes of it.</summary>
    void Expect(long offset, long length)
    {
        // What is not expected is read when it is asked for.
    }
    void Write(long offset, ReadOnlySpan<byte> from);
    /// <summary>Makes the range read as zeroes, by punching a hole where the file system can.</summary>
    void Zero(long offset, long length);
    /// <summary>Returns when everything written before survives power loss.</summary>
    void Flush();
    /// <summary>
    /// After a flush that failed a file may show what is not on the disk and never will be: from here on it shows what is, as far as the file system can tell. Nothing is written that was not flushed.
    /// </summary>
    void ForgetCached()
    {
        // What has no cache of its own shows what it has.
    }
    /// <summary>First run at or after <paramref name="offset"/>: its length and whether it is a hole.</summary>
    (long Length, bool Hole) RunAt(long offset);
}

/// <summary>The file system as the data plane sees it; the simulator brings its own.</summary>
public interface IFileSystem
{
    IBlockFile Open(string path, FileOpening how);
    bool Exists(string path);
    bool FolderExists(string path);
    /// <summary>With those above it. Durable when it returns, so that whatever is flushed in the folder is.</summary>
    void CreateDirectory(string path);
    /// <summary>Full paths of the files directly in a folder, sorted; empty where it does not exist.</summary>
    IReadOnlyList<string> List(string folder);
    /// <summary>Full paths of the folders directly in a folder, sorted; empty where it does not exist.</summary>
    IReadOnlyList<string> Folders(string folder);
    byte[]? TryReadAll(string path);
    /// <summary>Replaces the file so that a crash leaves the old or the new content: temp file, fsync, rename, fsync of the folder.</summary>
    void Replace(string path, ReadOnlySpan<byte> content);
    void Delete(string path);
    /// <summary>With all that is in it; nothing happens where it does not exist.</summary>
    void DeleteFolder(string path);
    void Rename(string from, string to);
    void FlushFolder(string folder);
    long FreeBytes(string path);
}

public enum FileOpening { Read, ReadWrite, Create }
