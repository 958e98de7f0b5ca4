using System.Diagnostics;
using System.Text;
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
        var (code, said) = await RunAsync(path: null, ["--seed", "7", "--report", report], _folder.FullName);
        Assert.True(code == 0, said);
        Assert.Empty(_folder.GetDirectories("siterecovery-demo-*"));
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
        var (code, said) = await RunAsync(path: null, ["--seed", "8", "--sabotage", sabotage], _folder.FullName);
        Assert.True(code == 1, said);
        Assert.Contains("NOT a prefix", said, StringComparison.Ordinal);
        Assert.Contains(Assert.Single(_folder.GetDirectories("siterecovery-demo-*")).FullName, said.ReplaceLineEndings(""), StringComparison.Ordinal);
    }

    internal static Task<(int Code, string Said)> RunAsync(params string[] arguments) => RunAsync(path: null, arguments);

    /// <param name="path">Where programs are looked for; null: where they are.</param>
    /// <param name="temporary">Where its own folder is made; null: where all are.</param>
    internal static async Task<(int Code, string Said)> RunAsync(string? path, string[] arguments, string? temporary = null)
    {
        var start = new ProcessStartInfo("dotnet") { RedirectStandardOutput = true, RedirectStandardError = true };
        if (path is not null) start.Environment["PATH"] = path;
        if (temporary is not null) start.Environment["TMPDIR"] = temporary;
        foreach (var argument in (string[])[Path.Combine(AppContext.BaseDirectory, "siterecovery.dll"), "demo", .. arguments]) start.ArgumentList.Add(argument);
        using var process = Process.Start(start)!;
        using var limit = new CancellationTokenSource(TimeSpan.FromMinutes(5));
        var said = new StringBuilder();
        var ended = Task.WhenAll(ListenAsync(process.StandardOutput, said), ListenAsync(process.StandardError, said));
        try
        {
            await process.WaitForExitAsync(limit.Token);
        }
        catch (OperationCanceledException)
        {
            process.Kill(entireProcessTree: true);
            await ended;
            Assert.Fail($"it has not ended; it said: {said}");
        }
        await ended;
        return (process.ExitCode, said.ToString());
    }

    private static async Task ListenAsync(StreamReader from, StringBuilder said)
    {
        while (await from.ReadLineAsync() is { } line)
            lock (said) said.AppendLine(line);
    }

    public void Dispose() => _folder.Delete(recursive: true);
}
