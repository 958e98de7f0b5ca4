using SiteRecovery.DataPlane.Storage;

namespace SiteRecovery.DataPlane.Tests.Files;

public sealed class RealFileSystemTests : IDisposable
{
    private readonly DirectoryInfo _folder = Directory.CreateTempSubdirectory("files-");

    /// <summary>A folder whose disk answers with an error is as this one, which leads round in a circle: a fence in it must not be taken for none.</summary>
    [Fact]
    public void What_cannot_be_asked_for_is_not_said_to_be_absent()
    {
        var (files, round, inside) = (RealFileSystem.Instance, At("round"), Path.Combine(At("round"), "capture.json"));
        File.CreateSymbolicLink(At("again"), round);
        File.CreateSymbolicLink(round, At("again"));
        Assert.Throws<IOException>(() => files.Exists(inside));
        Assert.Throws<IOException>(() => files.FolderExists(round));
        Assert.Throws<IOException>(() => files.TryReadAll(inside));
        Assert.Throws<IOException>(() => files.List(round));
        Assert.Throws<IOException>(() => files.Folders(round));
        Assert.Throws<IOException>(() => files.DeleteFolder(round));
        Assert.Throws<IOException>(() => files.FlushFolder(round));
    }

    [Fact]
    public void What_is_not_there_is_absent_and_what_is_there_is_what_it_is()
    {
        var files = RealFileSystem.Instance;
        files.Replace(At("file"), [1]);
        Assert.True(files.Exists(At("file")));
        Assert.False(files.FolderExists(At("file")));
        Assert.True(files.FolderExists(_folder.FullName));
        Assert.False(files.Exists(_folder.FullName));
        foreach (var absent in (string[])[At("none"), Path.Combine(At("none"), "below"), Path.Combine(At("file"), "below")])
        {
            Assert.False(files.Exists(absent));
            Assert.False(files.FolderExists(absent));
            Assert.Null(files.TryReadAll(absent));
            Assert.Empty(files.List(absent));
            Assert.Empty(files.Folders(absent));
            files.DeleteFolder(absent);
            files.FlushFolder(absent);
        }
    }

    private string At(string name) => Path.Combine(_folder.FullName, name);

    public void Dispose() => _folder.Delete(recursive: true);
}
