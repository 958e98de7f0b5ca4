using System.Diagnostics;

namespace SiteRecovery.Simulation;

/// <summary>The simulator, in a process of its own with one thread for work.</summary>
public sealed class ReplicationTests
{
    private static readonly string[] Scripts = Directory.GetFiles(Path.Combine(AppContext.BaseDirectory, "Scripts"), "*.txt").Order(StringComparer.Ordinal).ToArray();

    [Fact]
    public async Task Nothing_is_lost_whatever_breaks() => Assert.DoesNotContain("VIOLATION", await RunAsync("1", "4", "40"), StringComparison.Ordinal);

    /// <summary>What has broken something once, README.md.</summary>
    [Fact]
    public async Task What_was_found_once_stays_mended() => Assert.DoesNotContain("VIOLATION", await RunAsync(["replay", .. Scripts]), StringComparison.Ordinal);

    /// <summary>Or whatever was to break behind it never would, and nobody would know.</summary>
    [Fact]
    public async Task A_fault_that_cannot_be_carried_out_is_no_calm_run()
    {
        var script = Path.GetTempFileName();
        await File.WriteAllTextAsync(script, "seed 1\nuntil 2000\nat 500 do what nobody knows\n");
        Assert.Contains("VIOLATION of no exception: System.FormatException", await RunAsync("replay", script), StringComparison.Ordinal);
        File.Delete(script);
    }

    [Fact]
    public async Task The_same_seed_is_the_same_run() => Assert.Equal(await RunAsync("7", "1", "20"), await RunAsync("7", "1", "20"));

    /// <summary>SITERECOVERY_STORE_SEEDS of ten simulated minutes each, or a quarter of a minute's worth of short ones.</summary>
    [Fact]
    public async Task Nothing_is_lost_whatever_breaks_for_fresh_seeds()
    {
        var asked = int.TryParse(Environment.GetEnvironmentVariable("SITERECOVERY_STORE_SEEDS"), out var seeds);
        var first = int.TryParse(Environment.GetEnvironmentVariable("SITERECOVERY_STORE_SEED"), out var given) ? given : Random.Shared.Next(1 << 20);
        var said = await (asked ? RunAsync($"{first}", $"{seeds}", "600") : RunAsync("fresh", $"{first}", "40", "15"));
        Console.WriteLine($"simulator: seeds {first} to {first + said.Split('\n').Count(l => l.StartsWith("seed ", StringComparison.Ordinal)) - 1}");
        Assert.DoesNotContain("VIOLATION", said, StringComparison.Ordinal);
    }

    /// <summary>Blow upon blow; a disk that ails; and what is near to what was found once.</summary>
    [Theory]
    [InlineData("blows")]
    [InlineData("ailments")]
    [InlineData("variations")]
    public async Task Nor_in_fresh_scripts_of_a_kind(string kind)
    {
        var first = Random.Shared.Next(1 << 20);
        Console.WriteLine($"simulator: {kind} {first} to {first + 9}");
        var said = await RunAsync([kind, $"{first}", "10", .. kind == "variations" ? Scripts : []]);
        Assert.Equal(10, said.Split('\n').Count(l => l.StartsWith(kind[..^1], StringComparison.Ordinal)));
        Assert.DoesNotContain("VIOLATION", said, StringComparison.Ordinal);
    }

    /// <summary>Long/run adds up what its batches say.</summary>
    [Fact]
    public async Task Two_runs_visited_together_what_one_over_all_their_seeds_visits()
    {
        var (one, other) = (Path.GetTempFileName(), Path.GetTempFileName());
        await File.WriteAllTextAsync(one, await RunAsync("coverage", "11", "2", "10"));
        await File.WriteAllTextAsync(other, await RunAsync("coverage", "13", "1", "10"));
        var whole = (await RunAsync("coverage", "11", "3", "10")).Split('\n').Where(l => !l.StartsWith("seed ", StringComparison.Ordinal));
        var total = (await RunAsync("total", one, other)).Split('\n');
        Assert.Equal(whole.Prepend("3 seeds, 0 violations"), total);
        File.Delete(one);
        File.Delete(other);
    }

    private static async Task<string> RunAsync(params string[] arguments)
    {
        var start = new ProcessStartInfo("dotnet", [typeof(Program).Assembly.Location, .. arguments]) { RedirectStandardOutput = true };
        start.Environment["DOTNET_ThreadPool_ForceMaxWorkerThreads"] = start.Environment["DOTNET_ThreadPool_ForceMinWorkerThreads"] = "1";
        using var process = Process.Start(start)!;
        var said = await process.StandardOutput.ReadToEndAsync();
        await process.WaitForExitAsync();
        // An assertion shows some characters of it.
        foreach (var line in said.Split('\n').Where(l => l.Contains("VIOLATION", StringComparison.Ordinal))) Console.WriteLine(line);
        Assert.True(process.ExitCode <= 1, $"it ended with {process.ExitCode}: {said}");
        return said;
    }
}
