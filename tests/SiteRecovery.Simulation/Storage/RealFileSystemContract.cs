using SiteRecovery.DataPlane.Storage;

namespace SiteRecovery.Simulation.Storage;

public sealed class RealFileSystemContract : FileSystemContract
{
    protected override IFileSystem Files => RealFileSystem.Instance;
    protected override string Folder { get; } = Directory.CreateTempSubdirectory("contract").FullName;

    public override void Dispose()
    {
        Directory.Delete(Folder, recursive: true);
        base.Dispose();
    }
}
