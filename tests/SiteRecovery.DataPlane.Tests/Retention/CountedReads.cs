using SiteRecovery.DataPlane.Storage;

namespace SiteRecovery.DataPlane.Tests.Retention;

/// <summary>Counts the bytes that are read from files of one name.</summary>
internal sealed class CountedReads(string name) : RealFiles
{
    internal long Bytes { get; set; }
    internal List<(long Offset, long Length)> Expected { get; } = [];

    protected override IBlockFile Around(string path, IBlockFile file) => Path.GetFileName(path) == name ? new Counted(file, this) : file;

    private sealed class Counted(IBlockFile file, CountedReads files) : AroundFile(file)
    {
        public override void Read(long offset, Span<byte> into)
        {
            files.Bytes += into.Length;
            base.Read(offset, into);
        }
        public override void Expect(long offset, long length)
        {
            files.Expected.Add((offset, length));
            base.Expect(offset, length);
        }
    }
}
