using System.Diagnostics;
using System.Text.Json.Nodes;

namespace SiteRecovery.EndToEnd.InProcess;

/// <param name="Out">stdout: data.</param>
/// <param name="People">stderr.</param>
internal sealed record SrctlRun(int ExitCode, string Out, string People)
{
    public JsonNode Json => JsonNode.Parse(Out)!;
}

/// <summary>srctl as its users run it: a process of its own, with a configuration folder of its own.</summary>
internal sealed class Srctl(string configFolder, CancellationToken stop)
{
    public Dictionary<string, string> Environment { get; } = [];

    public Task<SrctlRun> RunAsync(params string[] arguments) => RunWithInputAsync("", arguments);

    public async Task<SrctlRun> RunWithInputAsync(string input, params string[] arguments)
    {
        var start = new ProcessStartInfo(Path.Combine(AppContext.BaseDirectory, "srctl"), arguments)
        {
            RedirectStandardOutput = true, RedirectStandardError = true, RedirectStandardInput = true,
        };
        foreach (var name in start.Environment.Keys.Where(n => n.StartsWith("SRCTL_", StringComparison.Ordinal)).ToArray()) start.Environment.Remove(name);
        start.Environment["XDG_CONFIG_HOME"] = configFolder;
        foreach (var (name, value) in Environment) start.Environment[name] = value;
        using var process = Process.Start(start)!;
        var (data, people) = (process.StandardOutput.ReadToEndAsync(stop), process.StandardError.ReadToEndAsync(stop));
        await process.StandardInput.WriteAsync(input);
        process.StandardInput.Close();
        try
        {
            await process.WaitForExitAsync(stop);
            return new SrctlRun(process.ExitCode, await data, await people);
        }
        finally
        {
            if (!process.HasExited) process.Kill();
        }
    }

    /// <summary>Runs it, and expects exit code 0.</summary>
    public async Task<SrctlRun> DoneAsync(params string[] arguments)
    {
        var run = await RunAsync(arguments);
        Assert.True(run.ExitCode == 0, $"srctl {string.Join(' ', arguments)} ended with {run.ExitCode}:\n{run.People}{run.Out}");
        return run;
    }

    /// <summary>Runs it, and expects a refusal that says what to do, with nothing on stdout.</summary>
    public async Task<SrctlRun> RefusedAsync(int exitCode, params string[] arguments)
    {
        var run = await RunAsync(arguments);
        Assert.True(run.ExitCode == exitCode, $"srctl {string.Join(' ', arguments)} ended with {run.ExitCode}, not {exitCode}:\n{run.People}{run.Out}");
        Assert.Empty(run.Out);
        Assert.Contains("  do:", run.People, StringComparison.Ordinal);
        return run;
    }
}
