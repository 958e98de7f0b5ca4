using System.Diagnostics;

namespace SiteRecovery.Node.Demo;

/// <summary>A real process of the demo: started from the programs beside this one, its output kept in a log file.</summary>
public sealed class ChildProcess : IDisposable
{
    private const int LastLines = 5;
    private readonly Process _process;
    private readonly StreamWriter _log;
    private readonly Queue<string> _last = [];

    private ChildProcess(Process process, StreamWriter log)
    {
        (_process, _log) = (process, log);
        process.OutputDataReceived += Keep;
        process.ErrorDataReceived += Keep;
        process.BeginOutputReadLine();
        process.BeginErrorReadLine();
    }

    public int Id => _process.Id;
    public bool HasExited => _process.HasExited;
    /// <summary>Once it has exited.</summary>
    public int ExitCode => _process.ExitCode;

    /// <summary>The last lines of all that it wrote, once it has exited.</summary>
    public string LastWords
    {
        get
        {
            _process.WaitForExit(); // until its output has been read, too
            lock (_last) return string.Join('\n', _last);
        }
    }

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
        var log = new StreamWriter(logPath, append: true) { AutoFlush = true };
        return new ChildProcess(Process.Start(start) ?? throw new InvalidOperationException($"{program} did not start"), log);
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

    private void Keep(object sender, DataReceivedEventArgs said)
    {
        if (said.Data is not { } line) return;
        lock (_last)
        {
            _log.WriteLine(line);
            _last.Enqueue(line);
            if (_last.Count > LastLines) _last.Dequeue();
        }
    }

    public void Dispose()
    {
        if (!_process.HasExited) KillHard();
        _process.Dispose();
        _log.Dispose();
    }
}
