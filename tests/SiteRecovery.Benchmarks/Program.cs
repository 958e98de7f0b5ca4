using System.CommandLine;
using SiteRecovery.Benchmarks;
using SiteRecovery.Node.Bench;

var rooms = new Dictionary<string, Func<Bench, CancellationToken, Task>>
{
    ["write-path"] = WritePath.RunAsync, ["initial-replication"] = InitialReplication.RunAsync, ["delta"] = Delta.RunAsync, ["steady"] = Steady.RunAsync, ["memory"] = Memory.RunAsync, ["views"] = Views.RunAsync, ["rto"] = Rto.RunAsync,
    ["stages"] = (bench, stop) => new StagesBench(bench.Options, bench.Results).RunAsync(stop),
};
var room = new Argument<string>("room") { Description = string.Join(", ", rooms.Keys) + ", all" };
room.AcceptOnlyFromAmong([.. rooms.Keys, "all"]);
var folder = new Option<string>("--folder") { Description = "A folder on the disk to measure", DefaultValueFactory = _ => Path.GetTempPath() };
var size = new Option<int>("--size-mib") { Description = "Size of the disk that is replicated, in MiB", DefaultValueFactory = _ => 4096 };
var rounds = new Option<int>("--rounds") { Description = "Rounds of which the median is taken", DefaultValueFactory = _ => 5 };
var seconds = new Option<double>("--seconds") { Description = "How long a run of a write load lasts", DefaultValueFactory = _ => 2 };
var report = new Option<string?>("--report") { Description = "Write the figures as JSON to this file" };
var root = new RootCommand("SiteRecovery beside its peers, in the same run") { room, folder, size, rounds, seconds, report, AgentRole.Command(), ReceiverRole.Command() };
root.SetAction(async (arguments, stop) =>
{
    var options = new BenchOptions(arguments.GetRequiredValue(folder), (long)arguments.GetValue(size) << 20, arguments.GetValue(rounds), TimeSpan.FromSeconds(arguments.GetValue(seconds)));
    var wanted = arguments.GetRequiredValue(room);
    using var bench = new Bench(options);
    foreach (var (name, run) in rooms)
        if (wanted == "all" || wanted == name) await run(bench, stop);
    bench.Results.Print(Console.Out);
    if (arguments.GetValue(report) is { } path) bench.Results.Save(path);
});
return await root.Parse(args).InvokeAsync();
