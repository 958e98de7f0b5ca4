using SiteRecovery.DataPlane.Storage;

namespace SiteRecovery.DataPlane.Tests.Retention;

/// <summary>The operating system's files, counted while they are open.</summary>
internal sealed class CountingFiles : IFileSystem
{
    private static readonly RealFileSystem Real = RealFileSystem.Instance;

    public int Open { get; private set; }

    IBlockFile IFileSystem.Open(string path, FileOpening how)
    {
        var file = Real.Open(path, how);
        Open++;
        return new Counted(this, file);
    }

    public bool Exists(string path) => Real.Exists(path);
    public void CreateDirectory(string path) => Real.CreateDirectory(path);
    public IReadOnlyList<string> List(string folder) => Real.List(folder);
    public byte[]? TryReadAll(string path) => Real.TryReadAll(path);
    public void Replace(string path, ReadOnlySpan<byte> content) => Real.Replace(path, content);
    public void Delete(string path) => Real.Delete(path);
    public void DeleteFolder(string path) => Real.DeleteFolder(path);
    public void Rename(string from, string to) => Real.Rename(from, to);
    public void FlushFolder(string folder) => Real.FlushFolder(folder);
    public long FreeBytes(string path) => Real.FreeBytes(path);

    private sealed class Counted(CountingFiles files, IBlockFile file) : IBlockFile
    {
        public long LengthBytes => file.LengthBytes;
        public void SetLength(long lengthBytes) => file.SetLength(lengthBytes);
        public void Read(long offset, Span<byte> into) => file.Read(offset, into);
        public void Write(long offset, ReadOnlySpan<byte> from) => file.Write(offset, from);
        public void Zero(long offset, long length) => file.Zero(offset, length);
        public void Flush() => file.Flush();
        public (long Length, bool Hole) RunAt(long offset) => file.RunAt(offset);

        public void Dispose()
        {
            file.Dispose();
            files.Open--;
        }
    }
}
