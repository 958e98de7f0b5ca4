using System.Text.RegularExpressions;
using System.Xml.Linq;
using SiteRecovery.Domain.History;

namespace SiteRecovery.Domain.Tests;

/// <summary>Arrows point down only.</summary>
public sealed class Architecture
{
    [Fact]
    public void Domain_needs_nothing_but_the_runtime()
    {
        var references = typeof(MachineId).Assembly.GetReferencedAssemblies().Select(a => a.Name!).ToArray();
        Assert.All(references, name => Assert.StartsWith("System.", name, StringComparison.Ordinal));
        Assert.Empty(PackagesOf("SiteRecovery.Domain"));
        Assert.Empty(ProjectsOf("SiteRecovery.Domain"));
    }

    [Theory]
    [InlineData("SiteRecovery.DataPlane", "SiteRecovery.Domain")]
    [InlineData("SiteRecovery.Actors", "SiteRecovery.Domain", "SiteRecovery.DataPlane")]
    [InlineData("SiteRecovery.Agent", "SiteRecovery.Domain", "SiteRecovery.DataPlane")]
    [InlineData("SiteRecovery.Cli", "SiteRecovery.Domain", "SiteRecovery.DataPlane")]
    // The node carries the agent along, so that the demo finds its executable beside its own.
    [InlineData("SiteRecovery.Node", "SiteRecovery.Domain", "SiteRecovery.DataPlane", "SiteRecovery.Actors", "SiteRecovery.Agent")]
    public void A_project_refers_only_to_those_below_it(string project, params string[] allowed) =>
        Assert.All(ProjectsOf(project), name => Assert.Contains(name, allowed));

    [Theory]
    [InlineData("SiteRecovery.DataPlane")]
    [InlineData("SiteRecovery.Agent")]
    [InlineData("SiteRecovery.Cli")]
    public void Neither_actors_nor_a_web_server_are_loaded_beside_production_disks(string project)
    {
        Assert.DoesNotContain(PackagesOf(project), name => Regex.IsMatch(name, "^(Akka|Microsoft\\.AspNetCore)", RegexOptions.IgnoreCase));
        Assert.DoesNotContain(Values(project, "FrameworkReference"), name => name.Contains("AspNetCore", StringComparison.Ordinal));
        Assert.NotEqual("Microsoft.NET.Sdk.Web", Load(project).Root!.Attribute("Sdk")?.Value);
    }

    [Fact]
    public void Actors_cannot_see_HTTP()
    {
        Assert.DoesNotContain(PackagesOf("SiteRecovery.Actors"), name => name.StartsWith("Microsoft.AspNetCore", StringComparison.Ordinal));
        Assert.Empty(Values("SiteRecovery.Actors", "FrameworkReference"));
    }

    private static string[] PackagesOf(string project) => Values(project, "PackageReference");

    private static string[] ProjectsOf(string project) =>
        [.. Values(project, "ProjectReference").Select(path => Path.GetFileNameWithoutExtension(path.Replace('\\', '/')))];

    private static string[] Values(string project, string element) =>
        [.. Load(project).Descendants(element).Select(e => e.Attribute("Include")?.Value).OfType<string>()];

    private static XDocument Load(string project) => XDocument.Load(Path.Combine(Repository.Root, "src", project, project + ".csproj"));
}
