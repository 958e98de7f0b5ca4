using Spectre.Console;

namespace SiteRecovery.Cli.Output;

/// <summary>The people's side: stderr.</summary>
internal static class Terminal
{
    private const int PlainPercentStep = 10;

    public static IAnsiConsole People { get; } = AnsiConsole.Create(new AnsiConsoleSettings { Out = new AnsiConsoleOutput(Console.Error) });

    /// <summary>Whether something may be redrawn in place; else one plain line per change.</summary>
    public static bool IsLive => !Console.IsErrorRedirected && People.Profile.Capabilities.Ansi;

    /// <param name="work">Calls its argument with the bytes done since the last call.</param>
    public static async Task ProgressAsync(string name, long bytes, Func<Action<long>, Task> work)
    {
        if (IsLive)
        {
            await People.Progress().Columns(new TaskDescriptionColumn(), new ProgressBarColumn(), new PercentageColumn(), new DownloadedColumn(), new TransferSpeedColumn(), new RemainingTimeColumn())
                .StartAsync(async context =>
                {
                    var task = context.AddTask(name, maxValue: Math.Max(1, bytes));
                    await work(more => task.Increment(more));
                    task.Value = task.MaxValue;
                });
            return;
        }
        var (done, shown) = (0L, 0L);
        await work(more =>
        {
            done += more;
            if (done * 100 / bytes / PlainPercentStep is var step && step == shown) return;
            shown = step;
            Console.Error.WriteLine($"{name}: {done * 100 / bytes} %, {Forms.Bytes(done)} of {Forms.Bytes(bytes)}");
        });
    }
}
