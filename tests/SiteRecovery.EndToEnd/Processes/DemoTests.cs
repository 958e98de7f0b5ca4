using System.Diagnostics;
using System.Text.Json.Nodes;

namespace SiteRecovery.EndToEnd.Processes;

/// <summary>The README's first command, as a user runs it: its exit code is its verdict.</summary>
public sealed class DemoTests : IDisposable
{
    private readonly DirectoryInfo _folder = Directory.CreateTempSubdirectory("sr-demo-test-");

    [Fact]
    [Trait("Category", "Slow")]
    public async Task The_demo_tells_its_story_and_exits_0()
    {
        var report = Path.Combine(_folder.FullName, "report.json");
        var (code, said) = await RunAsync("--seed", "7", "--report", report);
        Assert.True(code == 0, said);
        var figures = JsonNode.Parse(await File.ReadAllTextAsync(report))!;
        Assert.True((bool)figures["prefixHolds"]!);
        Assert.True((bool)figures["staleCopyRefused"]!);
        Assert.InRange((double)figures["rpoSeconds"]!, 0, 30);
    }

    [Theory]
    [Trait("Category", "Slow")]
    [InlineData("flip")]
    [InlineData("drop")]
    public async Task The_verdict_is_red_when_the_replica_is_not_a_prefix(string sabotage)
    {
        var (code, said) = await RunAsync("--seed", "8", "--sabotage", sabotage);
        Assert.True(code == 1, said);
        Assert.Contains("NOT a prefix", said, StringComparison.Ordinal);
    }

    internal static Task<(int Code, string Said)> RunAsync(params string[] arguments) => RunAsync(path: null, arguments);

    /// <param name="path">Where programs are looked for; null: where they are.</param>
    internal static async Task<(int Code, string Said)> RunAsync(string? path, string[] arguments)
    {
        var start = new ProcessStartInfo("dotnet") { RedirectStandardOutput = true, RedirectStandardError = true };
        if (path is not null) start.Environment["PATH"] = path;
        foreach (var argument in (string[])[Path.Combine(AppContext.BaseDirectory, "siterecovery.dll"), "demo", .. arguments]) start.ArgumentList.Add(argument);
        using var process = Process.Start(start)!;
        using var limit = new CancellationTokenSource(TimeSpan.FromMinutes(3));
        var said = Task.WhenAll(process.StandardOutput.ReadToEndAsync(limit.Token), process.StandardError.ReadToEndAsync(limit.Token));
        try
        {
            await process.WaitForExitAsync(limit.Token);
        }
        finally
        {
            if (!process.HasExited) process.Kill(entireProcessTree: true);
        }
        return (process.ExitCode, string.Concat(await said));
    }

    public void Dispose() => _folder.Delete(recursive: true);
}
