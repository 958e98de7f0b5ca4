using SiteRecovery.DataPlane.Storage;

namespace SiteRecovery.DataPlane.Tests.Files;

[System.Runtime.Versioning.UnsupportedOSPlatform("windows")]
public sealed class PassableFolderTests : IDisposable
{
    private const UnixFileMode Everybody = (UnixFileMode)0b111_101_101;
    private readonly string _folder = Directory.CreateTempSubdirectory("sr-pass-").FullName;

    private string At(string name) => Path.Combine(_folder, name);

    [Fact]
    public void Only_what_is_to_be_reached_is_not_its_owners_alone()
    {
        foreach (var folder in (string[])["machines", "seeds"]) File.SetUnixFileMode(Directory.CreateDirectory(At(folder)).FullName, Everybody);
        foreach (var file in (string[])["agent.json", "nbd.sock"])
        {
            File.WriteAllText(At(file), "");
            File.SetUnixFileMode(At(file), Everybody);
        }
        PassableFolder.Open(_folder, "nbd.sock", "seeds", "not-there-yet");
        Assert.Equal([("agent.json", 0b111_000_000), ("machines", 0b111_000_000), ("nbd.sock", 0b111_101_101), ("seeds", 0b111_001_001)],
            new DirectoryInfo(_folder).EnumerateFileSystemInfos().OrderBy(e => e.Name, StringComparer.Ordinal).Select(e => (e.Name, (int)e.UnixFileMode)));
        Assert.Equal(0b111_001_001, (int)File.GetUnixFileMode(_folder));
    }

    public void Dispose() => Directory.Delete(_folder, recursive: true);
}
