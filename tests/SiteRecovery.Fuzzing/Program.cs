using System.Globalization;

namespace SiteRecovery.Fuzzing;

/// <summary>TARGET sweep: each number of each sample as another. TARGET|all SECONDS [SEED]: fuzzes for so long each, in a process of its own whose assemblies count their branches. TARGET FILE: reads one input. README.md.</summary>
internal static class Program
{
    internal const string Child = "--instrumented";

    public static int Main(string[] arguments)
    {
        if (arguments is [Child, var name, var time, var number, var leftBy]) return FuzzHere(name, Seconds(time), int.Parse(number, CultureInfo.InvariantCulture), leftBy);
        if (arguments.Length is < 2 or > 3)
        {
            Console.Error.WriteLine($"TARGET|all SECONDS [SEED], TARGET sweep, or TARGET FILE; targets: {string.Join(", ", AllTargets.Names)}");
            return 2;
        }
        if (arguments[1] == "sweep") return SweepAll(arguments[0]);
        if (File.Exists(arguments[1])) return JudgeOne(arguments[0], arguments[1]);
        var seed = arguments.Length > 2 ? int.Parse(arguments[2], CultureInfo.InvariantCulture) : Random.Shared.Next();
        using var programs = InstrumentedPrograms.Make();
        var found = 0;
        foreach (var target in arguments[0] == "all" ? AllTargets.Names : [arguments[0]]) found += programs.Fuzz(target, Seconds(arguments[1]), seed, Console.WriteLine) ? 0 : 1;
        return found == 0 ? 0 : 1;
    }

    private static int JudgeOne(string name, string path)
    {
        using var target = AllTargets.Of(name);
        var found = Fuzzer.Judge(target, File.ReadAllBytes(path));
        Console.WriteLine(found ?? "nothing found");
        return found is null ? 0 : 1;
    }

    private static int SweepAll(string name)
    {
        using var target = AllTargets.Of(name);
        var (found, inputs) = (new Dictionary<string, byte[]>(StringComparer.Ordinal), 0L);
        foreach (var sample in target.Seeds())
            foreach (var input in Sweep.Of(target, sample))
            {
                inputs++;
                if (Fuzzer.Judge(target, input) is { } wrong && found.TryAdd(Fuzzer.PlaceOf(wrong), input)) Console.WriteLine(wrong);
            }
        Console.WriteLine($"{name,-12} {inputs,11:N0} inputs, each number of each sample as another: {found.Count} found");
        Keep(string.Create(CultureInfo.InvariantCulture, $"{name}-sweep"), name, found.Values);
        return found.Count == 0 ? 0 : 1;
    }

    private static void Keep(string file, string target, IEnumerable<byte[]> inputs)
    {
        var number = 0;
        foreach (var input in inputs)
        {
            var path = Path.GetFullPath(string.Create(CultureInfo.InvariantCulture, $"{file}-{++number}.input"));
            File.WriteAllBytes(path, input);
            Console.WriteLine($"The input is in {path}; keep it in Kept/{target}, with its story.");
        }
    }

    private static int FuzzHere(string name, TimeSpan time, int seed, string leftBy)
    {
        var coverage = new Coverage();
        using var target = AllTargets.Of(name);
        using var current = new CurrentInput(leftBy);
        var outcome = new Fuzzer(target, coverage, current).Run(time, seed);
        Console.WriteLine(outcome);
        foreach (var (what, _) in outcome.Found.Values) Console.WriteLine(what);
        Keep(string.Create(CultureInfo.InvariantCulture, $"{name}-{seed}"), name, outcome.Found.Values.Select(f => f.Input));
        return outcome.Found.Count == 0 ? 0 : 1;
    }

    private static TimeSpan Seconds(string text) => TimeSpan.FromSeconds(double.Parse(text, CultureInfo.InvariantCulture));
}
