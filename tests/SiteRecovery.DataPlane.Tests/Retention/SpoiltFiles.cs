using SiteRecovery.DataPlane.Storage;

namespace SiteRecovery.DataPlane.Tests.Retention;

/// <summary>The operating system's files, on a disk that from a moment on gives nothing of some of them.</summary>
internal sealed class SpoiltFiles : RealFiles
{
    internal Func<string, bool> Spoilt { get; set; } = _ => false;

    /// <summary>Looks at each file that takes a name.</summary>
    internal Action<string> Renamed { get; init; } = _ => { };

    protected override IBlockFile Around(string path, IBlockFile file) => new File(this, path, file);

    public override void Rename(string from, string to)
    {
        base.Rename(from, to);
        Renamed(to);
    }

    private sealed class File(SpoiltFiles files, string path, IBlockFile file) : AroundFile(file)
    {
        public override void Read(long offset, Span<byte> into)
        {
            if (files.Spoilt(path)) throw new IOException($"Input/output error: {path}");
            base.Read(offset, into);
        }
    }
}
