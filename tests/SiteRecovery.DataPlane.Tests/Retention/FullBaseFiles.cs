using SiteRecovery.DataPlane.Storage;

namespace SiteRecovery.DataPlane.Tests.Retention;

/// <summary>The operating system's files, on a disk that takes only so many more writes to a store's base: the last of them is torn.</summary>
internal sealed class FullBaseFiles : IFileSystem
{
    private static readonly RealFileSystem Real = RealFileSystem.Instance;

    /// <summary>Writes that still succeed.</summary>
    public int Room { get; set; } = int.MaxValue;

    public IBlockFile Open(string path, FileOpening how) =>
        Path.GetFileName(Path.GetDirectoryName(path)) == "base" ? new Full(this, Real.Open(path, how)) : Real.Open(path, how);

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

    private sealed class Full(FullBaseFiles files, IBlockFile file) : IBlockFile
    {
        public long LengthBytes => file.LengthBytes;
        public void SetLength(long lengthBytes) => file.SetLength(lengthBytes);
        public void Read(long offset, Span<byte> into) => file.Read(offset, into);

        public void Write(long offset, ReadOnlySpan<byte> from)
        {
            if (files.Room-- > 0)
            {
                file.Write(offset, from);
                return;
            }
            file.Write(offset, from[..(from.Length / 2)]);
            throw new IOException("no space left on device");
        }

        public void Zero(long offset, long length) => file.Zero(offset, length);
        public void Flush() => file.Flush();
        public (long Length, bool Hole) RunAt(long offset) => file.RunAt(offset);
        public void Dispose() => file.Dispose();
    }
}
