using SiteRecovery.DataPlane.Storage;

namespace SiteRecovery.DataPlane.Tests.Retention;

/// <summary>The operating system's files, counted while they are open.</summary>
internal sealed class CountingFiles : RealFiles
{
    public int Open { get; private set; }

    protected override IBlockFile Around(string path, IBlockFile file)
    {
        Open++;
        return new Counted(this, file);
    }

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
