using System.CommandLine;

namespace SiteRecovery.Node.Bench;

/// <summary><c>siterecovery bench</c>: what this host can do, with nothing else installed. The peers are in tests/SiteRecovery.Benchmarks.</summary>
public static class BenchCommand
{
    private static readonly string[] Rooms = ["write-path", "initial-replication", "stages", "all"];

    public static Command Create()
    {
        var room = new Argument<string>("room") { Description = string.Join(", ", Rooms), DefaultValueFactory = _ => "all" };
        room.AcceptOnlyFromAmong(Rooms);
        var folder = new Option<string>("--folder") { Description = "A folder on the disk to measure", DefaultValueFactory = _ => Path.GetTempPath() };
        var size = new Option<int>("--size-mib") { Description = "Size of the disk that is replicated, in MiB", DefaultValueFactory = _ => 1024 };
        var rounds = new Option<int>("--rounds") { Description = "Rounds of which the median is taken", DefaultValueFactory = _ => 5 };
        var report = new Option<string?>("--report") { Description = "Write the figures as JSON to this file" };
        Refuse(size, mebibytes => mebibytes is < 4 or > 1 << 20, "--size-mib is from 4 to 1048576");
        Refuse(rounds, count => count is < 1 or > 1000, "--rounds is from 1 to 1000");
        Refuse(folder, path => !Directory.Exists(path), "--folder does not exist");
        var command = new Command("bench", "Measure this host: write path, initial replication, CPU of each stage") { room, folder, size, rounds, report };
        command.SetAction(async (arguments, stop) =>
        {
            var options = new BenchOptions(arguments.GetRequiredValue(folder), (long)arguments.GetValue(size) << 20, arguments.GetValue(rounds), TimeSpan.FromSeconds(1));
            var results = new Measurements();
            await RunAsync(arguments.GetRequiredValue(room), options, results, stop);
            results.Print(Console.Out);
            if (arguments.GetValue(report) is { } path) results.Save(path);
            return 0;
        });
        return command;
    }

    private static void Refuse<T>(Option<T> option, Func<T?, bool> wrong, string reason) => option.Validators.Add(result =>
    {
        if (wrong(result.GetValue(option))) result.AddError(reason);
    });

    private static async Task RunAsync(string room, BenchOptions options, Measurements results, CancellationToken stop)
    {
        if (room is "write-path" or "all") await new WritePathBench(options, results).RunAsync(stop);
        if (room is "initial-replication" or "all") await new InitialReplicationBench(options, results).RunAsync(stop);
        if (room is "stages" or "all") await new StagesBench(options, results).RunAsync(stop);
    }
}
