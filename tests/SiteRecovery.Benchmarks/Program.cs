using System.CommandLine;
using SiteRecovery.Benchmarks;
using SiteRecovery.Node.Bench;

var rooms = new Dictionary<string, Func<Bench, CancellationToken, Task>>
{
    ["write-path"] = WritePath.RunAsync, ["initial-replication"] = InitialReplication.RunAsync, ["delta"] = Delta.RunAsync, ["steady"] = Steady.RunAsync, ["memory"] = Memory.RunAsync, ["views"] = Views.RunAsync, ["rto"] = Rto.RunAsync,
    ["store-ingest"] = Ingest.RunAsync, ["store-views"] = ViewReads.RunAsync, ["store-promotion"] = Promoting.RunAsync, ["store-growth"] = Growth.RunAsync, ["store-points"] = KeepingPoints.RunAsync,
    ["stages"] = (bench, stop) => new StagesBench(bench.Options, bench.Results).RunAsync(stop),
};
var room = new Argument<string>("room") { Description = string.Join(", ", rooms.Keys) + "; store: all that begin so; all" };
room.AcceptOnlyFromAmong([.. rooms.Keys, "store", "all"]);
var folder = new Option<string>("--folder") { Description = "A folder on the disk to measure", DefaultValueFactory = _ => Path.GetTempPath() };
var size = new Option<int>("--size-mib") { Description = "Size of the disk that is replicated, in MiB", DefaultValueFactory = _ => 4096 };
var rounds = new Option<int>("--rounds") { Description = "Rounds of which the median is taken", DefaultValueFactory = _ => 5 };
var seconds = new Option<double>("--seconds") { Description = "How long a run of a write load lasts", DefaultValueFactory = _ => 2 };
var report = new Option<string?>("--report") { Description = "Write the figures as JSON to this file" };
var page = new Option<string?>("--page") { Description = "Write the figures of the store as a page with pictures: this file, which ends with .md, and .svg beside it" };
var root = new RootCommand("SiteRecovery beside its peers, in the same run") { room, folder, size, rounds, seconds, report, page, AgentRole.Command(), ReceiverRole.Command(), OpenerRole.Command() };
root.SetAction(async (arguments, stop) =>
{
    var options = new BenchOptions(arguments.GetRequiredValue(folder), (long)arguments.GetValue(size) << 20, arguments.GetValue(rounds), TimeSpan.FromSeconds(arguments.GetValue(seconds)));
    var wanted = arguments.GetRequiredValue(room);
    using var bench = new Bench(options);
    foreach (var (name, run) in rooms)
    {
        if (wanted != "all" && wanted != name && !name.StartsWith(wanted + "-", StringComparison.Ordinal)) continue;
        await run(bench, stop);
        Console.Error.WriteLine($"{name} is done");
        // After each room: what hours have measured does not go with the room that fails.
        if (arguments.GetValue(report) is { } path) bench.Results.Save(path);
        if (arguments.GetValue(page) is { } file) bench.Report.Write(Path.GetDirectoryName(Path.GetFullPath(file))!, Path.GetFileNameWithoutExtension(file));
    }
    bench.Results.Print(Console.Out);
});
return await root.Parse(args).InvokeAsync();
