namespace SiteRecovery.Domain.Tests;

internal static class Repository
{
    /// <summary>The folder of SiteRecovery.sln, looked for upward from the test's own.</summary>
    public static string Root { get; } = Find(AppContext.BaseDirectory);

    public static IEnumerable<string> SourceFiles(string pattern) => new[] { "src", "tests" }
        .SelectMany(top => Directory.EnumerateFiles(Path.Combine(Root, top), pattern, SearchOption.AllDirectories))
        .Where(path => !Relative(path).Split('/').Any(part => part is "bin" or "obj" or "node_modules"));

    public static string Relative(string path) => Path.GetRelativePath(Root, path).Replace('\\', '/');

    private static string Find(string folder)
    {
        for (var at = new DirectoryInfo(folder); at is not null; at = at.Parent)
        {
            if (File.Exists(Path.Combine(at.FullName, "SiteRecovery.sln"))) return at.FullName;
        }
        throw new DirectoryNotFoundException($"No SiteRecovery.sln above {folder}.");
    }
}
