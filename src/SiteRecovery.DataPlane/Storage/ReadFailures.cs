namespace SiteRecovery.DataPlane.Storage;

/// <summary>A disk did not give what was to be read.</summary>
public sealed class UnreadableException(IOException failure) : IOException(failure.Message, failure);

/// <summary>
/// Another file system, of which it can be told what could not be read, with an <see cref="UnreadableException"/>, from what could not be written: the kernel has one number for both, and only the
/// former says that something is lost.
/// </summary>
public sealed class ReadFailures(IFileSystem files) : IFileSystem
{
    public IBlockFile Open(string path, FileOpening how) => new Watched(how == FileOpening.Create ? files.Open(path, how) : Read(() => files.Open(path, how)));
    public bool Exists(string path) => Read(() => files.Exists(path));
    public bool FolderExists(string path) => Read(() => files.FolderExists(path));
    public void CreateDirectory(string path) => files.CreateDirectory(path);
    public IReadOnlyList<string> List(string folder) => Read(() => files.List(folder));
    public IReadOnlyList<string> Folders(string folder) => Read(() => files.Folders(folder));
    public byte[]? TryReadAll(string path) => Read(() => files.TryReadAll(path));
    public void Replace(string path, ReadOnlySpan<byte> content) => files.Replace(path, content);
    public void Delete(string path) => files.Delete(path);
    public void DeleteFolder(string path) => files.DeleteFolder(path);
    public void Rename(string from, string to) => files.Rename(from, to);
    public void FlushFolder(string folder) => files.FlushFolder(folder);
    public long FreeBytes(string path) => files.FreeBytes(path);

    private static T Read<T>(Func<T> read)
    {
        try
        {
            return read();
        }
        catch (IOException failure) when (DiskFailure.IsUnreadable(failure))
        {
            throw new UnreadableException(failure);
        }
    }

    private sealed class Watched(IBlockFile file) : IBlockFile
    {
        public long LengthBytes => ReadFailures.Read(() => file.LengthBytes);

        public void Read(long offset, Span<byte> into)
        {
            try
            {
                file.Read(offset, into);
            }
            catch (IOException failure) when (DiskFailure.IsUnreadable(failure))
            {
                throw new UnreadableException(failure);
            }
        }

        public void SetLength(long length) => file.SetLength(length);
        public void Expect(long offset, long length) => file.Expect(offset, length);
        public void Write(long offset, ReadOnlySpan<byte> from) => file.Write(offset, from);
        public void Zero(long offset, long length) => file.Zero(offset, length);
        public void Flush() => file.Flush();
        public void ForgetCached() => file.ForgetCached();
        public (long Length, bool Hole) RunAt(long offset) => file.RunAt(offset);
        public void Dispose() => file.Dispose();
    }
}
