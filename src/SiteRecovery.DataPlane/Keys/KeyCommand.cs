using System.ComponentModel;
using System.Diagnostics;

namespace SiteRecovery.DataPlane.Keys;

/// <summary>
/// A key management service, by a command of its owner's: run by sh with `wrap` or `unwrap` as its last argument, it reads one line and writes one. What goes in to be wrapped and comes
/// out unwrapped is base64; what is wrapped is whatever text the service makes.
/// </summary>
/// <param name="patience">With one run of it, and then with its output; null: 30 s.</param>
public sealed class KeyCommand(string command, TimeSpan? patience = null) : IKeyWrapping
{
    private const int SaidCharactersMax = 200;
    /// <summary>Of either output: a wrapped key has some hundred.</summary>
    private const int OutputCharactersMax = 64 << 10;
    private readonly TimeSpan _patience = patience ?? TimeSpan.FromSeconds(30);

    public string Name => "command";

    public string Wrap(ReadOnlySpan<byte> key) => Run("wrap", Convert.ToBase64String(key));

    public byte[] Unwrap(string wrapped)
    {
        var said = Run("unwrap", wrapped);
        try
        {
            return Convert.FromBase64String(said);
        }
        catch (FormatException other)
        {
            throw new StoreLockedException($"the key command '{command} unwrap' wrote no base64", other);
        }
    }

    private string Run(string action, string line)
    {
        try
        {
            using var process = Process.Start(new ProcessStartInfo("/bin/sh", ["-c", $"{command} \"$1\"", "sh", action])
            {
                RedirectStandardInput = true, RedirectStandardOutput = true, RedirectStandardError = true, UseShellExecute = false,
            })!;
            var (said, errors) = (HearAsync(process.StandardOutput), HearAsync(process.StandardError));
            Tell(process, line);
            if (!process.WaitForExit(_patience))
            {
                process.Kill(entireProcessTree: true);
                throw new StoreLockedException($"the key command '{command} {action}' did not end within {_patience.TotalSeconds} s");
            }
            // What it has started may hold its output open for ever.
            if (!Task.WhenAll(said, errors).Wait(_patience)) throw new StoreLockedException($"the key command '{command} {action}' has ended, but something that it started goes on and holds its output open");
            if (process.ExitCode != 0) throw new StoreLockedException($"the key command '{command} {action}' failed with {process.ExitCode}: {Shortened(errors.GetAwaiter().GetResult())}");
            if (said.GetAwaiter().GetResult().Length > OutputCharactersMax) throw new StoreLockedException($"the key command '{command} {action}' wrote more than {OutputCharactersMax} characters, which is no key");
            return said.GetAwaiter().GetResult().Trim() is { Length: > 0 } answer ? answer : throw new StoreLockedException($"the key command '{command} {action}' wrote nothing");
        }
        catch (Exception failure) when (failure is Win32Exception or IOException)
        {
            throw new StoreLockedException($"the key command '{command} {action}' cannot be run: {failure.Message}", failure);
        }
    }

    /// <summary>To its end, or the command would wait for us; what is too much is not kept.</summary>
    private static async Task<string> HearAsync(StreamReader output)
    {
        var (kept, piece) = (new System.Text.StringBuilder(), new char[4096]);
        while (await output.ReadAsync(piece).ConfigureAwait(false) is > 0 and var got)
            if (kept.Length <= OutputCharactersMax) kept.Append(piece, 0, got);
        return kept.ToString();
    }

    private static void Tell(Process process, string line)
    {
        try
        {
            process.StandardInput.WriteLine(line);
            process.StandardInput.Close();
        }
        catch (IOException)
        {
            // It has ended without reading: how, its exit code says.
        }
    }

    private static string Shortened(string text) => text.Trim() is var said && said.Length > SaidCharactersMax ? said[..SaidCharactersMax] : said;
}
