using System.Diagnostics;
using System.Globalization;
using SiteRecovery.Simulation.World;

namespace SiteRecovery.Simulation;

/// <summary>
/// The simulator, README.md. To be the same each time it needs DOTNET_ThreadPool_ForceMaxWorkerThreads=1 and DOTNET_ThreadPool_ForceMinWorkerThreads=1.
/// </summary>
internal static class Program
{
    private const string Usage = "SEED [COUNT [SECONDS]] | until-found SEED SECONDS|FILE … | fresh SEED SECONDS BOX | blows SEED COUNT | blow SEED | ailments SEED COUNT | ailment SEED | variations SEED COUNT FILE … | variation SEED FILE … | replay FILE … | tell FILE | script SEED SECONDS | shrink SEED SECONDS | coverage SEED COUNT SECONDS | total FILE …";

    public static async Task<int> Main(string[] arguments)
    {
        switch (arguments)
        {
            case ["replay", .. var files]: return await SayAsync(Scripts(files));
            case ["until-found", .. var files] when files.All(File.Exists): return await SayAsync(Scripts(files), untilFound: true);
            case ["tell", var file]:
                Console.WriteLine((await Run.OnceAsync(SimScript.Parse(await File.ReadAllTextAsync(file)), say: Console.WriteLine)).Line);
                return 0;
            case ["script", var seed, var seconds]:
                Console.Write(SimFate.Of(Number(seed), Number(seconds) * 1000));
                return 0;
            case ["shrink", var seed, var seconds]: return await ShrinkAsync(SimFate.Of(Number(seed), Number(seconds) * 1000));
            case ["coverage", var seed, var count, var seconds]: return await CoverAsync(Number(seed), Number(count), Number(seconds) * 1000);
            case ["total", .. var files]: return Total([.. files.SelectMany(File.ReadLines)]);
            case ["blows", var seed, var count]: return await SayAsync(Enumerable.Range(Number(seed), Number(count)).Select(s => ($"blow {s}", SimFate.BlowsOf(s))));
            case ["blow", var seed]:
                Console.Write(SimFate.BlowsOf(Number(seed)));
                return 0;
            case ["ailments", var seed, var count]: return await SayAsync(Enumerable.Range(Number(seed), Number(count)).Select(s => ($"ailment {s}", SimFate.AilmentsOf(s))));
            case ["ailment", var seed]:
                Console.Write(SimFate.AilmentsOf(Number(seed)));
                return 0;
            case ["variations", var seed, var count, .. var files]:
                SimScript[] known = [.. Scripts(files).Select(s => s.Script)];
                return await SayAsync(Enumerable.Range(Number(seed), Number(count)).Select(s => ($"variation {s}", SimVariation.Of(s, known))));
            case ["variation", var seed, .. var files]:
                Console.Write(SimVariation.Of(Number(seed), [.. Scripts(files).Select(s => s.Script)]));
                return 0;
            case ["until-found", var seed, var seconds]: return await SayAsync(Seeds(Number(seed), int.MaxValue, Number(seconds) * 1000), untilFound: true);
            case ["fresh", var seed, var seconds, var box]:
                var begun = Stopwatch.StartNew();
                return await SayAsync(Seeds(Number(seed), int.MaxValue, Number(seconds) * 1000).TakeWhile(_ => begun.Elapsed.TotalSeconds < Number(box)));
            case [.. var numbers] when numbers.All(n => int.TryParse(n, CultureInfo.InvariantCulture, out _)):
                return await SayAsync(Seeds(NumberAt(numbers, 0, 1), NumberAt(numbers, 1, 1), NumberAt(numbers, 2, 600) * 1000));
            default:
                await Console.Error.WriteLineAsync(Usage);
                return 2;
        }
    }

    private static IEnumerable<(string Name, SimScript Script)> Scripts(string[] files) => files.Select(f => (Path.GetFileName(f), SimScript.Parse(File.ReadAllText(f))));

    private static IEnumerable<(string Name, SimScript Script)> Seeds(int first, int count, int until) => Enumerable.Range(first, Math.Min(count, int.MaxValue - first)).Select(s => ($"seed {s}", SimFate.Of(s, until)));

    private static async Task<int> SayAsync(IEnumerable<(string Name, SimScript Script)> runs, bool untilFound = false, SimCoverage? coverage = null)
    {
        var failed = false;
        foreach (var (name, script) in runs)
        {
            var (found, line) = await Run.OnceAsync(script, coverage);
            failed |= found is not null;
            Console.WriteLine($"{name}: {line}");
            if (found is null || !untilFound) continue;
            using var own = Process.GetCurrentProcess();
            Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"after {own.TotalProcessorTime.TotalSeconds:0} s"));
            return 1;
        }
        return failed ? 1 : 0;
    }

    private static async Task<int> ShrinkAsync(SimScript script)
    {
        var smallest = await Shrinking.OfAsync(script, said => Console.Error.WriteLine(said));
        if (smallest is null) return 0;
        Console.WriteLine($"# {(await Run.OnceAsync(smallest)).Line}");
        Console.Write(smallest);
        return 1;
    }

    private static async Task<int> CoverAsync(int first, int count, int until)
    {
        var coverage = new SimCoverage();
        var exit = await SayAsync(Seeds(first, count, until), coverage: coverage);
        Console.Write(coverage);
        return exit;
    }

    /// <summary>Of what <c>coverage</c> said in several runs, also in some that were cut short.</summary>
    private static int Total(string[] lines)
    {
        var seeds = lines.Where(l => l.StartsWith("seed ", StringComparison.Ordinal)).GroupBy(l => l.Split(' ', ':')[1]).ToArray();
        var violations = lines.Where(l => l.Contains("VIOLATION", StringComparison.Ordinal)).ToArray();
        foreach (var line in violations) Console.WriteLine(line);
        Console.WriteLine($"{seeds.Length} seeds, {violations.Length} violations");
        Console.Write(SimCoverage.Said(lines));
        return violations.Length > 0 ? 1 : 0;
    }

    private static int NumberAt(string[] arguments, int index, int otherwise) => arguments.Length > index ? Number(arguments[index]) : otherwise;

    private static int Number(string text) => int.Parse(text, CultureInfo.InvariantCulture);
}
