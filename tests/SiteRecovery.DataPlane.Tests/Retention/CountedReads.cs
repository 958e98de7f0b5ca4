using SiteRecovery.DataPlane.Storage;

namespace SiteRecovery.DataPlane.Tests.Retention;

/// <summary>Counts the bytes that are read from files of one name.</summary>
internal sealed class CountedReads(string name) : RealFiles
{
    internal long Bytes { get; set; }
    internal List<(long Offset, long Length)> Expected { get; } = [];

    protected override IBlockFile Around(string path, IBlockFile file) => Path.GetFileName(path) == name ? new Counted(file, this) : file;

    private sealed class Counted(IBlockFile file, CountedReads files) : IBlockFile
    {
        public long LengthBytes => file.LengthBytes;
        public void SetLength(long lengthBytes) => file.SetLength(lengthBytes);
        public void Read(long offset, Span<byte> into)
        {
            files.Bytes += into.Length;
            file.Read(offset, into);
        }
        public void Expect(long offset, long length)
        {
            files.Expected.Add((offset, length));
            file.Expect(offset, length);
        }
        public void Write(long offset, ReadOnlySpan<byte> from) => file.Write(offset, from);
        public void Zero(long offset, long length) => file.Zero(offset, length);
        public void Flush() => file.Flush();
        public (long Length, bool Hole) RunAt(long offset) => file.RunAt(offset);
        public void Dispose() => file.Dispose();
    }
}
