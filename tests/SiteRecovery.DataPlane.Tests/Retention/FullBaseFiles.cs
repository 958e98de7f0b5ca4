using SiteRecovery.DataPlane.Storage;

namespace SiteRecovery.DataPlane.Tests.Retention;

/// <summary>The operating system's files, on a disk that takes only so many more writes to a store's base: the last of them is torn.</summary>
internal sealed class FullBaseFiles : RealFiles
{
    private const int SectorBytes = 512;

    /// <summary>Writes that still succeed.</summary>
    public int Room { get; set; } = int.MaxValue;
    /// <summary>Changes of any file that still succeed: then the process is gone, and nothing it does has an effect.</summary>
    public int Life { get; set; } = int.MaxValue;
    public bool Died => Life < 0;

    public long BytesWritten { get; private set; }
    public long BytesLogged { get; private set; }

    protected override IBlockFile Around(string path, IBlockFile file) => new Full(this, file, Path.GetFileName(Path.GetDirectoryName(path)) == "base", path.EndsWith(".seg.tmp", StringComparison.Ordinal));

    public override void Replace(string path, ReadOnlySpan<byte> content)
    {
        Live();
        base.Replace(path, content);
    }

    public override void Delete(string path)
    {
        Live();
        base.Delete(path);
    }

    public override void Rename(string from, string to)
    {
        Live();
        base.Rename(from, to);
    }

    public override void FlushFolder(string folder)
    {
        Live();
        base.FlushFolder(folder);
    }

    private void Live()
    {
        if (Life == int.MaxValue || --Life >= 0) return;
        throw new IOException("killed");
    }

    private sealed class Full(FullBaseFiles files, IBlockFile file, bool bounded, bool logged) : AroundFile(file)
    {
        public override void Write(long offset, ReadOnlySpan<byte> from)
        {
            var full = bounded && files.Room-- <= 0;
            if (full || files.Life == 0) base.Write(offset, from[..TornAt(offset, from.Length)]);
            files.Live();
            if (full) throw new IOException("no space left on device");
            if (bounded) files.BytesWritten += from.Length;
            if (logged) files.BytesLogged += from.Length;
            base.Write(offset, from);
        }

        // Whole sectors are written as wholes.
        private static int TornAt(long offset, int length) => offset % SectorBytes == 0 && length % SectorBytes == 0 ? length / SectorBytes / 2 * SectorBytes : length / 2;

        public override void Zero(long offset, long length)
        {
            files.Live();
            base.Zero(offset, length);
        }

        public override void Flush()
        {
            files.Live();
            base.Flush();
        }
    }
}
