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

    private sealed class Counted(CountingFiles files, IBlockFile file) : AroundFile(file)
    {
        public override void Dispose()
        {
            base.Dispose();
            files.Open--;
        }
    }
}
