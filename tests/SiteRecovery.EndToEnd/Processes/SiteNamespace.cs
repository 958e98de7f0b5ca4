using System.Diagnostics;
using System.Globalization;
using SiteRecovery.EndToEnd.Guests;

namespace SiteRecovery.EndToEnd.Processes;

/// <summary>
/// A network namespace of its own for a site's processes. It has no name that could be left behind: a process holds it that ends when this one does,
/// however this one ends, and with the last process in it the namespace and its devices go.
/// </summary>
internal sealed class SiteNamespace : IDisposable
{
    private readonly Process _holder;

    private SiteNamespace(Process holder) => _holder = holder;

    internal int HolderId => _holder.Id;
    /// <summary>A command that becomes, in here, the command that follows it: its process id stays.</summary>
    internal IReadOnlyList<string> Launcher => ["nsenter", string.Create(CultureInfo.InvariantCulture, $"--net=/proc/{HolderId}/ns/net"), "--"];

    /// <exception cref="InvalidOperationException">Not allowed here.</exception>
    internal static async Task<SiteNamespace> OpenAsync()
    {
        // It says something once it is in the namespace; cat ends with its standard input.
        var holder = Process.Start(new ProcessStartInfo("unshare", ["--net", "sh", "-c", "echo in; exec cat"])
        {
            RedirectStandardInput = true, RedirectStandardOutput = true, RedirectStandardError = true, UseShellExecute = false,
        })!;
        var opened = new SiteNamespace(holder);
        if (await holder.StandardOutput.ReadLineAsync() == "in") return opened;
        using (opened) throw new InvalidOperationException(await holder.StandardError.ReadToEndAsync());
    }

    /// <summary>A program of this host, run in here to its end.</summary>
    internal Task<string> RunAsync(string program, params string[] arguments) => HostProgram.RunAsync(Launcher[0], [.. Launcher.Skip(1), program, .. arguments]);

    public void Dispose()
    {
        _holder.StandardInput.Close();
        _holder.WaitForExit();
        _holder.Dispose();
    }
}
