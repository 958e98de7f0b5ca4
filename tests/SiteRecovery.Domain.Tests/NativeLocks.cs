using System.Text.Json;

namespace SiteRecovery.Domain.Tests;

/// <summary>The agent that is installed is the one native build: what goes into it is locked too, and is what everything else was tested with.</summary>
public sealed class NativeLocks
{
    [Theory]
    [InlineData("SiteRecovery.Agent")]
    [InlineData("SiteRecovery.DataPlane")]
    [InlineData("SiteRecovery.Domain")]
    public void The_native_agents_lock_files_name_the_packages_of_the_others(string project)
    {
        var (tested, native) = (Hashes(project, "packages.lock.json"), Hashes(project, "packages.native-linux-x64.lock.json"));
        Assert.Equal(tested.OrderBy(p => p.Key, StringComparer.Ordinal), native.Where(p => tested.ContainsKey(p.Key)).OrderBy(p => p.Key, StringComparer.Ordinal));
        Assert.Equal(project == "SiteRecovery.Agent", native.ContainsKey("runtime.linux-x64.Microsoft.DotNet.ILCompiler"));
    }

    [Fact]
    public void What_is_published_is_restored_as_locked() => Assert.Contains(
        "<RestoreLockedMode Condition=\"'$(RestoreLockedMode)' == '' and '$(_IsPublishing)' == 'true'", File.ReadAllText(Path.Combine(Repository.Root, "src", "Directory.Build.props")), StringComparison.Ordinal);

    private static Dictionary<string, string> Hashes(string project, string file)
    {
        using var locked = JsonDocument.Parse(File.ReadAllBytes(Path.Combine(Repository.Root, "src", project, file)));
        return locked.RootElement.GetProperty("dependencies").EnumerateObject().SelectMany(framework => framework.Value.EnumerateObject())
            .Where(package => package.Value.TryGetProperty("contentHash", out _)).DistinctBy(package => package.Name)
            .ToDictionary(package => package.Name, package => package.Value.GetProperty("contentHash").GetString()!);
    }
}
