using System.Diagnostics;

namespace SiteRecovery.EndToEnd.Guests;

/// <summary>A program of this host, run to its end.</summary>
internal static class HostProgram
{
    private static readonly TimeSpan Patience = TimeSpan.FromMinutes(2);

    /// <summary>What it wrote on both outputs; fails unless its exit code is among those allowed (0, if none are named).</summary>
    internal static async Task<string> RunAsync(string program, string[] arguments, string? folder = null, params int[] allowedCodes)
    {
        using var deadline = new CancellationTokenSource(Patience);
        using var process = Process.Start(new ProcessStartInfo(program, arguments)
        {
            RedirectStandardOutput = true, RedirectStandardError = true, UseShellExecute = false, WorkingDirectory = folder ?? Path.GetTempPath(),
        }) ?? throw new InvalidOperationException($"{program} did not start");
        try
        {
            var output = process.StandardOutput.ReadToEndAsync(deadline.Token);
            var errors = process.StandardError.ReadToEndAsync(deadline.Token);
            await process.WaitForExitAsync(deadline.Token);
            var both = await output + await errors;
            var allowed = allowedCodes.Length == 0 ? process.ExitCode == 0 : allowedCodes.Contains(process.ExitCode);
            return allowed ? both : throw new InvalidOperationException($"{program} {string.Join(' ', arguments)} ended with {process.ExitCode}: {both}");
        }
        catch (OperationCanceledException)
        {
            process.Kill();
            throw;
        }
    }
}
