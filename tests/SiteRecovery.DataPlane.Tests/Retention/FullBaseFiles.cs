using SiteRecovery.DataPlane.Storage;

namespace SiteRecovery.DataPlane.Tests.Retention;

/// <summary>The operating system's files, on a disk that takes only so many more writes to a store's base: the last of them is torn.</summary>
internal sealed class FullBaseFiles : RealFiles
{
    /// <summary>Writes that still succeed.</summary>
    public int Room { get; set; } = int.MaxValue;

    public long BytesWritten { get; private set; }

    protected override IBlockFile Around(string path, IBlockFile file) => Path.GetFileName(Path.GetDirectoryName(path)) == "base" ? new Full(this, file) : file;

    private sealed class Full(FullBaseFiles files, IBlockFile file) : IBlockFile
    {
        public long LengthBytes => file.LengthBytes;
        public void SetLength(long lengthBytes) => file.SetLength(lengthBytes);
        public void Read(long offset, Span<byte> into) => file.Read(offset, into);

        public void Write(long offset, ReadOnlySpan<byte> from)
        {
            if (files.Room-- > 0)
            {
                files.BytesWritten += from.Length;
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
