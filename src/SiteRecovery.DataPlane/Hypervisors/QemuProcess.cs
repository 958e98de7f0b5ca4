using System.ComponentModel;
using System.Diagnostics;
using System.Globalization;
using System.Text;
using SiteRecovery.DataPlane.Storage;

namespace SiteRecovery.DataPlane.Hypervisors;

/// <summary>The QEMU process of one machine. It is nobody's child, so it lives on when we do not, and is found again by its pid file.</summary>
internal sealed class QemuProcess(QemuFiles files, QemuOptions options, IFileSystem disk, TimeProvider time)
{
    private static readonly TimeSpan Pause = TimeSpan.FromMilliseconds(50);
    private static readonly TimeSpan StartPatience = TimeSpan.FromMinutes(1);
    private static readonly TimeSpan QuitPatience = TimeSpan.FromSeconds(3);
    private static readonly TimeSpan DeathPatience = TimeSpan.FromSeconds(30);
    /// <summary>A machine that goes on does first what had failed.</summary>
    private static readonly TimeSpan FailsAgainWithin = TimeSpan.FromMilliseconds(500);
    /// <summary>A guest that is still booting does not hear the button.</summary>
    private static readonly TimeSpan PressAgain = TimeSpan.FromSeconds(10);

    /// <summary>Alive: the process named by the pid file is QEMU with this very pid file. A pid that went to somebody else is not ours.</summary>
    internal bool IsAlive => Pid() is not null;

    internal async Task<MachineState> StateAsync(CancellationToken stop)
    {
        if (!IsAlive) return MachineState.Stopped;
        var status = await QemuMonitor.TryAskAsync(files.Monitor, "query-status", time, stop).ConfigureAwait(false);
        return QemuMonitor.TextOf(status, "status") switch
        {
            "running" => MachineState.Running,
            null => IsAlive ? MachineState.Unknown : MachineState.Stopped,
            _ => MachineState.Paused,
        };
    }

    internal async Task<bool> ContinueAsync(CancellationToken stop)
    {
        if (!await IsFailedByDiskAsync(stop).ConfigureAwait(false)) return await StateAsync(stop).ConfigureAwait(false) == MachineState.Running;
        await QemuMonitor.TryAskAsync(files.Monitor, "cont", time, stop).ConfigureAwait(false);
        await Task.Delay(FailsAgainWithin, time, stop).ConfigureAwait(false);
        return await IsFailedByDiskAsync(stop).ConfigureAwait(false) ? throw HypervisorException.StopsAgain(files.Name) : await StateAsync(stop).ConfigureAwait(false) == MachineState.Running;
    }

    private async Task<bool> IsFailedByDiskAsync(CancellationToken stop) =>
        IsAlive && QemuMonitor.TextOf(await QemuMonitor.TryAskAsync(files.Monitor, "query-status", time, stop).ConfigureAwait(false), "status") == "io-error";

    /// <summary>QEMU returns once the machine runs and its disks are open, and leaves a process of its own session behind.</summary>
    internal async Task StartAsync(IReadOnlyList<string> arguments, CancellationToken stop)
    {
        // The pid file stays: QEMU locks it, so that a second one for this machine does not come up, whoever starts it.
        foreach (var left in (string[])[files.Monitor, files.Serial, files.Display]) disk.Delete(left);
        var (code, said) = await RunAsync(options.Program, arguments, stop).ConfigureAwait(false);
        if (code != 0) throw new HypervisorException(HypervisorProblem.Refused, $"QEMU did not start {files.Name}: {said.Trim()}");
        if (said.Trim() is { Length: > 0 } warning) options.Says?.Invoke($"QEMU started {files.Name}, and said: {warning.ReplaceLineEndings("; ")}");
    }

    internal async Task<StopOutcome> ShutDownAsync(TimeSpan patience, CancellationToken stop)
    {
        var started = time.GetTimestamp();
        for (var presses = 0; ;)
        {
            if (!IsAlive) return StopOutcome.Stopped;
            var waited = time.GetElapsedTime(started);
            if (waited >= patience && presses > 0) return StopOutcome.StillRunning;
            if (waited >= PressAgain * presses)
            {
                presses++;
                await QemuMonitor.TryAskAsync(files.Monitor, "system_powerdown", time, stop).ConfigureAwait(false);
            }
            await Task.Delay(Pause, time, stop).ConfigureAwait(false);
        }
    }

    internal async Task DestroyAsync(CancellationToken stop)
    {
        if (!IsAlive) return;
        await QemuMonitor.TryAskAsync(files.Monitor, "quit", time, stop).ConfigureAwait(false);
        if (await EndsWithinAsync(QuitPatience, stop).ConfigureAwait(false)) return;
        // It waits for an export that is gone, perhaps.
        if (Pid() is { } pid) Kill(pid);
        if (!await EndsWithinAsync(DeathPatience, stop).ConfigureAwait(false))
            throw new HypervisorException(HypervisorProblem.Refused, $"the QEMU process of {files.Name} does not end, not even by SIGKILL", "It hangs in the kernel: look at the storage under its disks");
    }

    /// <returns>Exit code, and what it wrote on both outputs.</returns>
    internal static async Task<(int Code, string Said)> RunAsync(string program, IReadOnlyList<string> arguments, CancellationToken stop)
    {
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(stop);
        limit.CancelAfter(StartPatience);
        using var process = Started(program, arguments);
        try
        {
            var said = process.StandardOutput.ReadToEndAsync(limit.Token);
            var errors = process.StandardError.ReadToEndAsync(limit.Token);
            await process.WaitForExitAsync(limit.Token).ConfigureAwait(false);
            return (process.ExitCode, await said.ConfigureAwait(false) + await errors.ConfigureAwait(false));
        }
        catch (OperationCanceledException)
        {
            process.Kill(entireProcessTree: true);
            stop.ThrowIfCancellationRequested();
            throw new HypervisorException(HypervisorProblem.Unavailable, $"{program} did not come up within {StartPatience.TotalSeconds} s and was ended");
        }
    }

    private static Process Started(string program, IReadOnlyList<string> arguments)
    {
        try
        {
            var process = Process.Start(new ProcessStartInfo(program, arguments)
            {
                RedirectStandardInput = true, RedirectStandardOutput = true, RedirectStandardError = true, UseShellExecute = false,
            })!;
            process.StandardInput.Close();
            return process;
        }
        catch (Win32Exception missing)
        {
            throw new HypervisorException(HypervisorProblem.Unavailable, $"{program} cannot be run: {missing.Message}", "Install QEMU: the package qemu-system-x86 of Debian and Ubuntu", missing);
        }
    }

    /// <exception cref="IOException">Its file cannot be read: it may well be alive, and must not be taken for ended.</exception>
    private int? Pid()
    {
        if (WhileThere(files.Pid) is not { } text || !int.TryParse(text.Trim(), NumberStyles.None, CultureInfo.InvariantCulture, out var pid)) return null;
        return OfProcess($"/proc/{pid}/cmdline")?.Split('\0').Contains(files.Pid) == true ? pid : null;
    }

    /// <summary>QEMU deletes it when it ends, perhaps between two looks.</summary>
    private string? WhileThere(string path)
    {
        try
        {
            return disk.TryReadAll(path) is { } bytes ? Encoding.UTF8.GetString(bytes) : null;
        }
        catch (Exception gone) when (gone is FileNotFoundException or DirectoryNotFoundException)
        {
            return null;
        }
    }

    private string? OfProcess(string path)
    {
        try
        {
            return WhileThere(path);
        }
        catch (IOException)
        {
            return null; // it ended between two looks
        }
    }

    private async Task<bool> EndsWithinAsync(TimeSpan patience, CancellationToken stop)
    {
        var started = time.GetTimestamp();
        while (IsAlive)
        {
            if (time.GetElapsedTime(started) >= patience) return false;
            await Task.Delay(Pause, time, stop).ConfigureAwait(false);
        }
        return true;
    }

    private static void Kill(int pid)
    {
        try
        {
            using var process = Process.GetProcessById(pid);
            process.Kill();
        }
        catch (Exception gone) when (gone is ArgumentException or InvalidOperationException)
        {
            // It has ended.
        }
    }
}
