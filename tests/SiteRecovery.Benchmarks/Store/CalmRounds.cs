using System.Globalization;
using SiteRecovery.Node.Bench;

namespace SiteRecovery.Benchmarks;

/// <summary>
/// Rounds on a machine that others use too. Up to twice as many are run as are wanted, and those count in which other processes took the least of the processors: that is known without looking at any
/// figure. One more goes before them and never counts.
/// </summary>
public static class CalmRounds
{
    private const double CalmCores = 0.25;
    private const int AttemptsPerRound = 2;

    public static async Task RunAsync(Bench bench, string what, Func<Measurements, int, Task> run, CancellationToken stop)
    {
        await run(new Measurements(), 0);
        var rounds = new List<(double Others, Measurements Figures)>();
        for (var attempt = 0; attempt < AttemptsPerRound * bench.Options.Rounds && rounds.Count(r => r.Others <= CalmCores) < bench.Options.Rounds; attempt++)
        {
            stop.ThrowIfCancellationRequested();
            var (figures, before, began) = (new Measurements(), ForeignSeconds(), TimeProvider.System.GetTimestamp());
            await run(figures, attempt + 1);
            rounds.Add(((ForeignSeconds() - before) / TimeProvider.System.GetElapsedTime(began).TotalSeconds, figures));
        }
        var counted = rounds.OrderBy(r => r.Others).Take(bench.Options.Rounds).ToList();
        foreach (var (_, figures) in counted) bench.Results.Take(figures);
        bench.Results.Note(string.Create(CultureInfo.InvariantCulture, $"{what}: {counted.Count} of {rounds.Count} rounds count; in them other processes used {counted[0].Others:0.0} to {counted[^1].Others:0.0} of {Environment.ProcessorCount} cores (in all: up to {rounds.Max(r => r.Others):0.0})"));
    }

    /// <summary>What the processors did for anybody but this process and its children that have ended, in seconds.</summary>
    private static double ForeignSeconds()
    {
        if (!File.Exists("/proc/stat")) return 0;
        var times = File.ReadLines("/proc/stat").First().Split(' ', StringSplitOptions.RemoveEmptyEntries).Skip(1).Select(t => long.Parse(t, CultureInfo.InvariantCulture)).ToArray();
        var busy = times[0] + times[1] + times[2] + times[5] + times[6]; // user, nice, system, interrupts; in hundredths
        return busy / 100.0 - ProcessUsage.CpuSeconds(Environment.ProcessId) - ProcessUsage.EndedChildrenCpuSeconds();
    }
}
