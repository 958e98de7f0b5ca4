using System.Globalization;
using SiteRecovery.Simulation.World;

namespace SiteRecovery.Simulation;

/// <summary>
/// Runs seeds of the simulator, one line each: SEED COUNT [SECONDS of simulated faults, 600]. To be the same each time it needs DOTNET_ThreadPool_ForceMaxWorkerThreads=1 and
/// DOTNET_ThreadPool_ForceMinWorkerThreads=1.
/// </summary>
internal static class Program
{
    public static async Task<int> Main(string[] arguments)
    {
        var (first, count) = (Number(arguments, 0, 1), Number(arguments, 1, 1));
        var faulty = TimeSpan.FromSeconds(Number(arguments, 2, 600));
        var failed = false;
        for (var seed = first; seed < first + count; seed++)
        {
            // On the one thread that there is for work.
            var line = await Task.Run(() => TryAsync(seed, faulty));
            failed |= line.StartsWith("VIOLATION", StringComparison.Ordinal);
            Console.WriteLine($"seed {seed}: {line}");
        }
        return failed ? 1 : 0;
    }

    private static async Task<string> TryAsync(int seed, TimeSpan faulty)
    {
        try
        {
            return await new SimSites(seed).RunAsync(faulty);
        }
        catch (SimViolation found)
        {
            return "VIOLATION of " + found.Message;
        }
    }

    private static int Number(string[] arguments, int index, int otherwise) => arguments.Length > index ? int.Parse(arguments[index], CultureInfo.InvariantCulture) : otherwise;
}
