using System.Globalization;
using SiteRecovery.EndToEnd.Guests;

namespace SiteRecovery.EndToEnd.Processes;

/// <summary>What the processes and their folders need, looked at in regular intervals: disk and handles must not grow, memory has a bound.</summary>
/// <param name="memoryMax">
/// Bytes that a process may have resident. How they go up and down says nothing: a collector that has room takes it, and each kill begins anew.
/// </param>
internal sealed class SoakSamples(SitesUnderTest sites, string[] processes, TimeSpan every, long memoryMax)
{
    /// <summary>The last quarter may need so much more than the second one: a factor, and what comes and goes with the state of things at an instant.</summary>
    private const double FactorMax = 1.1;
    private const long DiskOverMax = 64 << 20, HandlesOverMax = 48;
    private readonly List<(TimeSpan At, SortedDictionary<string, long> Of)> _samples = [];

    internal async Task RunAsync(CancellationToken stop)
    {
        var begun = TimeProvider.System.GetTimestamp();
        using var timer = new PeriodicTimer(every);
        try
        {
            while (await timer.WaitForNextTickAsync(stop)) Add(TimeProvider.System.GetElapsedTime(begun), await LookAsync());
        }
        catch (OperationCanceledException) when (stop.IsCancellationRequested)
        {
            // That was all.
        }
    }

    /// <param name="of">Bytes of what ends in "memory" or "disk", a number of "handles".</param>
    internal void Add(TimeSpan at, SortedDictionary<string, long> of) => _samples.Add((at, of));

    private async Task<SortedDictionary<string, long>> LookAsync()
    {
        var sample = new SortedDictionary<string, long>(StringComparer.Ordinal);
        foreach (var (name, id) in sites.Running)
            try
            {
                var resident = File.ReadLines($"/proc/{id}/status").First(l => l.StartsWith("VmRSS:", StringComparison.Ordinal)).Split(' ', StringSplitOptions.RemoveEmptyEntries)[1];
                sample[$"{name} memory"] = long.Parse(resident, CultureInfo.InvariantCulture) << 10;
                sample[$"{name} handles"] = Directory.GetFileSystemEntries($"/proc/{id}/fd").Length;
            }
            catch (Exception gone) when (gone is IOException or InvalidOperationException or UnauthorizedAccessException)
            {
                // Killed while it was looked at.
            }
        foreach (var process in processes)
        {
            var folder = process == SitesUnderTest.Agent ? "agent-data" : process;
            // Files come and go meanwhile.
            var used = await HostProgram.RunAsync("du", ["-sk", "--exclude=ballast", sites.At(folder)], null, 0, 1);
            sample[$"{process} disk"] = long.Parse(used.Split('\n', StringSplitOptions.RemoveEmptyEntries).Last(l => char.IsAsciiDigit(l[0])).Split('\t')[0], CultureInfo.InvariantCulture) << 10;
        }
        return sample;
    }

    /// <summary>A table: a row per look, MiB and counts.</summary>
    internal IEnumerable<string> Report()
    {
        if (_samples.Count == 0) yield break;
        string[] columns = [.. _samples.SelectMany(s => s.Of.Keys).Distinct().Order(StringComparer.Ordinal)];
        yield return "at        " + string.Join("  ", columns);
        foreach (var (at, of) in _samples)
            yield return at.ToString("hh\\:mm\\:ss", CultureInfo.InvariantCulture) + "  " + string.Join("  ", columns.Select(c => (of.TryGetValue(c, out var value) ? Text(c, value) : "-").PadLeft(c.Length)));
        yield return "medians of the second and of the last quarter, and the most:";
        foreach (var column in columns)
            if (Medians(column) is var (second, last)) yield return $"{column}: {Text(column, second)}, {Text(column, last)}, {Text(column, _samples.Where(s => s.Of.ContainsKey(column)).Max(s => s.Of[column]))}";
    }

    internal IEnumerable<string> Violations()
    {
        foreach (var column in _samples.SelectMany(s => s.Of.Keys).Distinct().Order(StringComparer.Ordinal))
        {
            if (column.EndsWith("memory", StringComparison.Ordinal))
            {
                var (at, most) = _samples.Where(s => s.Of.ContainsKey(column)).Select(s => (s.At, s.Of[column])).MaxBy(s => s.Item2);
                if (most > memoryMax) yield return $"{column} is {Text(column, most)} at {at:hh\\:mm\\:ss}, and may be {Text(column, memoryMax)}";
                continue;
            }
            var over = IsCount(column) ? HandlesOverMax : DiskOverMax;
            if (Medians(column) is var (second, last) && last > second * FactorMax + over) yield return $"{column} grows: {Text(column, second)} in the second quarter, {Text(column, last)} in the last";
        }
    }

    private (long Second, long Last)? Medians(string column)
    {
        var quarter = _samples.Count / 4;
        if (quarter == 0) return null;
        return Of(_samples[quarter..(2 * quarter)]) is { } second && Of(_samples[^quarter..]) is { } last ? (second, last) : null;

        long? Of(IEnumerable<(TimeSpan At, SortedDictionary<string, long> Of)> samples)
        {
            long[] values = [.. samples.Where(s => s.Of.ContainsKey(column)).Select(s => s.Of[column]).Order()];
            return values.Length == 0 ? null : values[values.Length / 2];
        }
    }

    private static bool IsCount(string column) => column.EndsWith("handles", StringComparison.Ordinal);

    private static string Text(string column, long value) => IsCount(column) ? $"{value}" : string.Create(CultureInfo.InvariantCulture, $"{value / 1048576.0:F1}");
}
