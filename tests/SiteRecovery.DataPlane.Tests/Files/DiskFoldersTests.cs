using SiteRecovery.DataPlane.Storage;

namespace SiteRecovery.DataPlane.Tests.Files;

public sealed class DiskFoldersTests : IDisposable
{
    private readonly string _root = Directory.CreateTempSubdirectory("sr-folders-").FullName;

    public DiskFoldersTests()
    {
        foreach (var folder in (string[])["images/sub", "images-of-others", "elsewhere"]) Directory.CreateDirectory(At(folder));
        foreach (var file in (string[])["images/a.raw", "images/sub/b.raw", "images-of-others/c.raw", "elsewhere/d.raw"]) File.WriteAllBytes(At(file), new byte[512]);
        File.CreateSymbolicLink(At("images/out.raw"), At("elsewhere/d.raw"));
        File.CreateSymbolicLink(At("images/round.raw"), At("images/sub/b.raw"));
        Directory.CreateSymbolicLink(At("images/away"), At("elsewhere"));
        Directory.CreateSymbolicLink(At("linked"), At("images"));
    }

    [Theory]
    [InlineData("images/a.raw", true)]
    [InlineData("images/sub/b.raw", true)]
    [InlineData("images/round.raw", true)]
    [InlineData("linked/a.raw", true)] // leads there
    [InlineData("images/out.raw", false)]
    [InlineData("images/away/d.raw", false)]
    [InlineData("images-of-others/c.raw", false)]
    [InlineData("images/../elsewhere/d.raw", false)]
    [InlineData("images/sub/../a.raw", false)] // by its own name only
    [InlineData("images/missing.raw", false)]
    [InlineData("images", false)]
    public void A_disk_is_where_its_links_lead(string path, bool held)
    {
        Assert.Equal(held, new DiskFolders([At("images")]).Hold(At(path)));
        Assert.Equal(held, new DiskFolders([At("linked") + "/", "/nowhere"]).Hold(At(path)));
    }

    [Theory]
    [InlineData("/dev/null", "/dev", true)]
    [InlineData("/dev/null", "/", true)]
    [InlineData("dev/null", "/", false)]
    [InlineData("/dev/null", "/dev/vg0", false)]
    public void Devices_are_in_their_folder(string path, string folder, bool held) => Assert.Equal(held, new DiskFolders([folder]).Hold(path));

    /// <summary>As /dev/vg0/db1 leads to /dev/dm-3: here what a process has open under a number.</summary>
    [Fact]
    public void A_name_of_a_device_may_lead_to_another_device_and_to_no_file()
    {
        using var device = File.OpenHandle("/dev/null");
        using var file = File.OpenHandle(At("elsewhere/d.raw"));
        Assert.True(new DiskFolders(["/dev/fd"]).Hold($"/dev/fd/{device.DangerousGetHandle()}"));
        Assert.False(new DiskFolders(["/dev/fd"]).Hold($"/dev/fd/{file.DangerousGetHandle()}"));
    }

    private string At(string name) => Path.Combine(_root, name);

    public void Dispose() => Directory.Delete(_root, recursive: true);
}
