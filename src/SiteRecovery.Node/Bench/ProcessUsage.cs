using System.Globalization;

namespace SiteRecovery.Node.Bench;

/// <summary>What the kernel says a process has used; zeroes where there is no /proc.</summary>
public static class ProcessUsage
{
    private const double TicksPerSecond = 100; // USER_HZ, fixed in the kernel's interface

    /// <summary>User and system time of all its threads so far, in seconds; 10 ms fine.</summary>
    public static double CpuSeconds(int process) => Ticks(process, 11) / TicksPerSecond;

    /// <summary>What this process's children that have ended had used.</summary>
    public static double EndedChildrenCpuSeconds() => Ticks(Environment.ProcessId, 13) / TicksPerSecond;

    /// <summary>The largest resident memory so far, in MiB.</summary>
    public static double PeakMebibytes(int process) => Status(process, "VmHWM:");

    /// <summary>The resident memory now, in MiB.</summary>
    public static double ResidentMebibytes(int process) => Status(process, "VmRSS:");

    private static long Ticks(int process, int field)
    {
        if (TryRead($"/proc/{process}/stat") is not { } stat) return 0;
        // The second field is the program's name in parentheses, which may hold anything.
        var fields = stat[(stat.LastIndexOf(')') + 2)..].Split(' ');
        return long.Parse(fields[field], CultureInfo.InvariantCulture) + long.Parse(fields[field + 1], CultureInfo.InvariantCulture);
    }

    private static double Status(int process, string name)
    {
        var line = TryRead($"/proc/{process}/status")?.Split('\n').FirstOrDefault(l => l.StartsWith(name, StringComparison.Ordinal));
        return line is null ? 0 : double.Parse(line[name.Length..].Replace("kB", "", StringComparison.Ordinal), CultureInfo.InvariantCulture) / 1024;
    }

    private static string? TryRead(string path)
    {
        try
        {
            return File.ReadAllText(path);
        }
        catch (IOException)
        {
            return null;
        }
    }
}
