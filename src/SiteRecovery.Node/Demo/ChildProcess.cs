using System.Diagnostics;

namespace SiteRecovery.Node.Demo;

/// <summary>A real process of the demo: started from the programs beside this one, its output kept in a log file.</summary>
public sealed class ChildProcess : IDisposable
{
    private readonly Process _process;
    private readonly TextWriter _log;

    private ChildProcess(Process process, TextWriter log) => (_process, _log) = (process, log);

    public int Id => _process.Id;
    public bool HasExited => _process.HasExited;
    /// <summary>Once it has exited.</summary>
    public int ExitCode => _process.ExitCode;

    /// <param name="program">Assembly name without ending, in this program's folder.</param>
    public static ChildProcess Start(string program, string logPath, params string[] arguments) => StartUnder([], program, logPath, arguments);

    /// <param name="launcher">A command that ends by becoming the command that follows it; empty for none.</param>
    public static ChildProcess StartUnder(IReadOnlyList<string> launcher, string program, string logPath, params string[] arguments)
    {
        string[] command = [.. launcher, "dotnet"];
        var start = new ProcessStartInfo(command[0]) { RedirectStandardOutput = true, RedirectStandardError = true, RedirectStandardInput = true, UseShellExecute = false };
        foreach (var word in command.Skip(1)) start.ArgumentList.Add(word);
        start.ArgumentList.Add(Path.Combine(AppContext.BaseDirectory, program + ".dll"));
        foreach (var argument in arguments) start.ArgumentList.Add(argument);
        var log = TextWriter.Synchronized(new StreamWriter(logPath, append: true) { AutoFlush = true });
        var process = Process.Start(start) ?? throw new InvalidOperationException($"{program} did not start");
        process.OutputDataReceived += (_, line) => { if (line.Data is not null) log.WriteLine(line.Data); };
        process.ErrorDataReceived += (_, line) => { if (line.Data is not null) log.WriteLine(line.Data); };
        process.BeginOutputReadLine();
        process.BeginErrorReadLine();
        return new ChildProcess(process, log);
    }

    /// <summary>SIGKILL: the process gets no chance to say goodbye.</summary>
    public void KillHard()
    {
        if (!_process.HasExited) _process.Kill();
        _process.WaitForExit();
    }

    /// <summary>SIGTERM: the process ends what it does, then itself.</summary>
    public void Stop() => DataPlane.Storage.Posix.Terminate(_process.Id);

    public Task WaitAsync(CancellationToken stop) => _process.WaitForExitAsync(stop);

    public void Dispose()
    {
        if (!_process.HasExited) KillHard();
        _process.Dispose();
        _log.Dispose();
    }
}
