using System.Diagnostics;
using System.Globalization;

namespace SiteRecovery.Fuzzing;

/// <summary>A copy of this program whose assemblies of ours count their branches.</summary>
internal sealed class InstrumentedPrograms : IDisposable
{
    private static readonly string[] Ours = ["SiteRecovery.Domain.dll", "SiteRecovery.DataPlane.dll", "SiteRecovery.Actors.dll", "siterecovery.dll", "siterecovery-agent.dll", "srctl.dll"];
    private readonly DirectoryInfo _folder = Directory.CreateTempSubdirectory("sr-fuzzing-");

    internal static InstrumentedPrograms Make()
    {
        var made = new InstrumentedPrograms();
        Copy(AppContext.BaseDirectory, made._folder.FullName);
        // One that is not there is an error: nothing of it would be seen.
        foreach (var assembly in Ours.Select(a => Path.Combine(made._folder.FullName, a)))
            SharpFuzz.Fuzzer.Instrument(assembly, _ => true, SharpFuzz.Options.Value);
        return made;
    }

    private static void Copy(string from, string to)
    {
        Directory.CreateDirectory(to);
        foreach (var file in Directory.GetFiles(from)) File.Copy(file, Path.Combine(to, Path.GetFileName(file)));
        foreach (var folder in Directory.GetDirectories(from)) Copy(folder, Path.Combine(to, Path.GetFileName(folder)));
    }

    /// <summary>False where something was found; the inputs lie in the current folder then, under the target's name.</summary>
    internal bool Fuzz(string target, TimeSpan time, int seed, Action<string> say)
    {
        var left = Path.Combine(_folder.FullName, "current");
        var start = new ProcessStartInfo("dotnet") { RedirectStandardOutput = true, RedirectStandardError = true };
        foreach (var word in (string[])[Path.Combine(_folder.FullName, "SiteRecovery.Fuzzing.dll"), Program.Child, target, time.TotalSeconds.ToString(CultureInfo.InvariantCulture), seed.ToString(CultureInfo.InvariantCulture), left])
            start.ArgumentList.Add(word);
        using var process = Process.Start(start)!;
        var errors = process.StandardError.ReadToEndAsync();
        say(process.StandardOutput.ReadToEnd().TrimEnd());
        process.WaitForExit();
        if (process.ExitCode is 0 or 1) return process.ExitCode == 0;
        if (!File.Exists(left))
        {
            say($"{target}: ended with {process.ExitCode} before its first input; {errors.Result.Trim()}");
            return false;
        }
        // It is gone in the middle of an input.
        var path = Path.GetFullPath($"{target}-{seed}.input");
        File.WriteAllBytes(path, CurrentInput.Left(left));
        say(process.ExitCode == CurrentInput.HangCode ? $"{target}: an input was not read within {Fuzzer.InputPatience.TotalSeconds} s" : $"{target}: ended with {process.ExitCode}; {errors.Result.Trim()}");
        say($"The input is in {path}; keep it in Kept/{target}, with its story.");
        return false;
    }

    public void Dispose() => _folder.Delete(recursive: true);
}
