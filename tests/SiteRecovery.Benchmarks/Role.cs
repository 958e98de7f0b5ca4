using System.Diagnostics;
using SiteRecovery.Node.Bench;

namespace SiteRecovery.Benchmarks;

/// <summary>This program as a process of its own in one of its hidden roles; one line asks, one line answers.</summary>
public sealed class Role : IAsyncDisposable
{
    private readonly Process _process;

    private Role(Process process) => _process = process;

    public int Id => _process.Id;
    public double CpuSeconds => ProcessUsage.CpuSeconds(Id);
    public double PeakMebibytes => ProcessUsage.PeakMebibytes(Id);

    public static async Task<Role> StartAsync(params string[] arguments)
    {
        var role = new Role(Tool.Start("dotnet", [Path.Combine(AppContext.BaseDirectory, "SiteRecovery.Benchmarks.dll"), .. arguments]));
        role._process.ErrorDataReceived += (_, line) => { if (line.Data is { } text) Console.Error.WriteLine(text); };
        role._process.BeginErrorReadLine();
        await role.AnswerAsync();
        return role;
    }

    public async Task<string> AskAsync(params string[] words)
    {
        await _process.StandardInput.WriteLineAsync(string.Join('\t', words));
        await _process.StandardInput.FlushAsync();
        return await AnswerAsync();
    }

    private async Task<string> AnswerAsync()
    {
        var line = await _process.StandardOutput.ReadLineAsync() ?? throw new InvalidOperationException("the role's process ended");
        return line.StartsWith("ok", StringComparison.Ordinal) ? line[2..].Trim() : throw new InvalidOperationException(line);
    }

    /// <summary>The role's side: says that it is up, then answers until its input ends.</summary>
    internal static async Task ServeAsync(Func<string[], Task<string>> answer)
    {
        await Console.Out.WriteLineAsync("ok");
        while (await Console.In.ReadLineAsync() is { } line)
        {
            try
            {
                await Console.Out.WriteLineAsync("ok " + await answer(line.Split('\t')));
            }
            catch (Exception problem)
            {
                await Console.Out.WriteLineAsync("failed: " + problem.ToString().ReplaceLineEndings(" "));
            }
        }
    }

    public async ValueTask DisposeAsync()
    {
        _process.StandardInput.Close();
        using var patience = new CancellationTokenSource(TimeSpan.FromSeconds(20));
        await _process.WaitForExitAsync(patience.Token).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        if (!_process.HasExited) _process.Kill();
        _process.Dispose();
    }
}
