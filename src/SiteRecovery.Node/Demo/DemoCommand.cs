using System.CommandLine;
using SiteRecovery.Node.Demo.Guest;
using Spectre.Console;

namespace SiteRecovery.Node.Demo;

/// <summary><c>siterecovery demo</c>, and the writer process that it starts.</summary>
public static class DemoCommand
{
    private const string Name = "demo";

    /// <summary>Told to end, it has machines to end first, and a folder to remove.</summary>
    public static TimeSpan EndPatience { get; } = TimeSpan.FromSeconds(30);

    public static bool Is(ParseResult arguments) => arguments.CommandResult.Command.Name == Name;

    public static Command Create()
    {
        var seed = new Option<int>("--seed") { Description = "Repeats a run: decides what is written where", DefaultValueFactory = _ => 1 };
        var stay = new Option<bool>("--stay") { Description = "Keep both sites up at the end" };
        var report = new Option<string?>("--report") { Description = "Write the measured figures as JSON to this file" };
        var keep = new Option<bool>("--keep") { Description = "Keep the demo's folder with all logs" };
        var vm = new Option<bool>("--vm") { Description = "A real QEMU guest in place of the writer, where QEMU is installed" };
        var sabotage = new Option<string?>("--sabotage") { Hidden = true };
        sabotage.AcceptOnlyFromAmong("flip", "drop");
        var command = new Command(Name, "Two sites on this machine: protect a live disk, lose its site, fail over, prove what was lost") { seed, stay, report, keep, vm, sabotage };
        command.SetAction(async (arguments, stop) =>
        {
            var options = new DemoOptions(arguments.GetValue(seed), arguments.GetValue(stay), arguments.GetValue(report), arguments.GetValue(keep), arguments.GetValue(sabotage), stop);
            var screen = new DemoScreen(AnsiConsole.Console);
            if (arguments.GetValue(vm) && GuestLoad.Missing() is { } missing)
            {
                screen.Say(missing);
                return 2;
            }
            var folder = Directory.CreateTempSubdirectory("siterecovery-demo-").FullName;
            IDemoLoad load = arguments.GetValue(vm) ? new GuestLoad(folder, TimeProvider.System) : new WriterLoad(folder, options.Seed, options.Sabotage, TimeProvider.System);
            await using var story = new DemoStory(options, load, folder, TimeProvider.System, screen);
            try
            {
                var holds = await story.TellAsync(stop);
                story.KeepsFolder |= !holds;
                screen.Say(holds ? "VERDICT: nothing but the reported tail was lost" : $"VERDICT: FAILED (all logs stay in {folder})");
                return holds ? 0 : 1;
            }
            catch (Exception problem) when (problem is not OperationCanceledException)
            {
                story.KeepsFolder = true; // what it says points there
                screen.Say($"VERDICT: FAILED: {problem.Message} (all logs stay in {folder})");
                return 1;
            }
        });
        return command;
    }

    public static Command CreateWriter()
    {
        var uri = new Option<string>("--uri") { Required = true };
        var ledger = new Option<string>("--ledger") { Required = true };
        var seed = new Option<int>("--seed") { Required = true };
        var rate = new Option<int>("--rate") { DefaultValueFactory = _ => 1000 };
        var reconnect = new Option<int>("--reconnect-delay") { Description = "Seconds to try a broken connection again", DefaultValueFactory = _ => 0 };
        var workingSet = new Option<long>("--working-set") { Description = "Bytes at the disk's start that are written to; 0 for all", DefaultValueFactory = _ => 0 };
        var command = new Command("demo-writer", "The demo's independent writer") { uri, ledger, seed, rate, workingSet, reconnect };
        command.Hidden = true;
        command.SetAction((arguments, stop) => LedgerWriter.RunAsync(arguments.GetRequiredValue(uri), arguments.GetRequiredValue(ledger),
            arguments.GetValue(seed), arguments.GetValue(rate), arguments.GetValue(workingSet), TimeSpan.FromSeconds(arguments.GetValue(reconnect)), TimeProvider.System, stop));
        return command;
    }
}
