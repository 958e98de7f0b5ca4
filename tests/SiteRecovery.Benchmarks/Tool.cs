using System.Diagnostics;

namespace SiteRecovery.Benchmarks;

/// <summary>A program that is installed, or not.</summary>
public static class Tool
{
    public static bool Exists(string program) => (Environment.GetEnvironmentVariable("PATH") ?? "").Split(Path.PathSeparator).Any(f => File.Exists(Path.Combine(f, program)));

    /// <summary>True when all are there; says what is missing otherwise.</summary>
    public static bool Have(Bench bench, string what, params string[] programs)
    {
        var missing = programs.Where(p => !Exists(p)).ToArray();
        if (missing.Length > 0) bench.Results.Note($"{what} left out: {string.Join(", ", missing)} not installed");
        return missing.Length == 0;
    }

    public static Process Start(string program, params string[] arguments)
    {
        var start = new ProcessStartInfo(program) { RedirectStandardInput = true, RedirectStandardOutput = true, RedirectStandardError = true, UseShellExecute = false };
        foreach (var argument in arguments) start.ArgumentList.Add(argument);
        // Our agent is compiled natively: code that measures itself while it runs would be no part of it.
        start.Environment["DOTNET_TieredPGO"] = "0";
        // As the agent's systemd unit sets it.
        start.Environment["DOTNET_GCgen0size"] = "400000";
        return Process.Start(start) ?? throw new InvalidOperationException($"{program} did not start");
    }

    /// <exception cref="InvalidOperationException">It failed; the message holds what it said.</exception>
    public static async Task<string> RunAsync(string program, string[] arguments, CancellationToken stop)
    {
        using var process = Start(program, arguments);
        process.StandardInput.Close();
        var errors = process.StandardError.ReadToEndAsync(stop);
        var output = await process.StandardOutput.ReadToEndAsync(stop);
        await process.WaitForExitAsync(stop);
        return process.ExitCode == 0 ? output : throw new InvalidOperationException($"{program} {string.Join(' ', arguments)}: {await errors}{output}");
    }

    /// <summary>Waits until a server's socket is there.</summary>
    /// <exception cref="InvalidOperationException">The server ended instead.</exception>
    public static async Task ListeningAsync(Process server, string socket, CancellationToken stop)
    {
        while (!File.Exists(socket))
        {
            if (server.HasExited) throw new InvalidOperationException($"{server.StartInfo.FileName} ended: {await server.StandardError.ReadToEndAsync(stop)}");
            await Task.Delay(TimeSpan.FromMilliseconds(20), stop);
        }
    }
}
