using System.Globalization;
using SiteRecovery.Simulation.World;

namespace SiteRecovery.Simulation;

/// <summary>
/// The simulator, README.md. To be the same each time it needs DOTNET_ThreadPool_ForceMaxWorkerThreads=1 and DOTNET_ThreadPool_ForceMinWorkerThreads=1.
/// </summary>
internal static class Program
{
    private const string Usage = "SEED [COUNT [SECONDS]] | replay FILE … | tell FILE | script SEED SECONDS | shrink SEED SECONDS";

    public static async Task<int> Main(string[] arguments)
    {
        switch (arguments)
        {
            case ["tell", var file]:
                Console.WriteLine((await Run.OnceAsync(SimScript.Parse(await File.ReadAllTextAsync(file)), say: Console.WriteLine)).Line);
                return 0;
            case ["replay", .. var files]: return await SayAsync(files.Select(f => (Path.GetFileName(f), SimScript.Parse(File.ReadAllText(f)))));
            case ["shrink", var seed, var seconds]: return await ShrinkAsync(SimFate.Of(Number(seed), Number(seconds) * 1000));
            case ["script", var seed, var seconds]:
                Console.Write(SimFate.Of(Number(seed), Number(seconds) * 1000));
                return 0;
            case [.. var numbers] when numbers.All(n => int.TryParse(n, CultureInfo.InvariantCulture, out _)):
                var (first, count, until) = (NumberAt(numbers, 0, 1), NumberAt(numbers, 1, 1), NumberAt(numbers, 2, 600) * 1000);
                return await SayAsync(Enumerable.Range(first, count).Select(s => ($"seed {s}", SimFate.Of(s, until))));
            default:
                await Console.Error.WriteLineAsync(Usage);
                return 2;
        }
    }

    private static async Task<int> SayAsync(IEnumerable<(string Name, SimScript Script)> runs)
    {
        var failed = false;
        foreach (var (name, script) in runs)
        {
            var (found, line) = await Run.OnceAsync(script);
            failed |= found is not null;
            Console.WriteLine($"{name}: {line}");
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

    private static int NumberAt(string[] arguments, int index, int otherwise) => arguments.Length > index ? Number(arguments[index]) : otherwise;

    private static int Number(string text) => int.Parse(text, CultureInfo.InvariantCulture);
}
