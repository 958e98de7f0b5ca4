using System.Diagnostics;
using System.Text;
using SiteRecovery.Simulation.World;

namespace SiteRecovery.Simulation;

/// <summary>One run of a script.</summary>
internal static class Run
{
    private const long HeapBytesMax = 512 << 20;
    private static volatile string? _mistake;

    static Run() => AppDomain.CurrentDomain.FirstChanceException += (_, thrown) => Note(thrown.Exception);

    /// <summary>What no code throws that was thought of: wherever it is caught, and whoever would never hear of it.</summary>
    private static void Note(Exception thrown)
    {
        if (thrown is DecoderFallbackException) return; // how the reader of JSON finds bytes that are no text, which it tells as damage
        if (_mistake is not null || thrown is not (NullReferenceException or IndexOutOfRangeException or KeyNotFoundException or InvalidCastException or ArgumentException or UnreachableException or DivideByZeroException or OverflowException)) return;
        if (new StackTrace().GetFrames().Select(f => f.GetMethod()?.DeclaringType?.FullName).FirstOrDefault(n => n?.StartsWith("SiteRecovery.", StringComparison.Ordinal) == true && !n.StartsWith("SiteRecovery.Simulation.Run", StringComparison.Ordinal)) is { } by
            && !by.StartsWith("SiteRecovery.Simulation", StringComparison.Ordinal)) _mistake = $"{by}: {thrown}";
    }

    /// <returns>The invariant that was violated, null: none; and a line for people.</returns>
    internal static Task<(string? Violated, string Line)> OnceAsync(SimScript script, SimCoverage? coverage = null, Action<string>? say = null) => Task.Run<(string?, string)>(async () => // on the one thread that there is for work
    {
        try
        {
            _mistake = null;
            var line = await SimSites.RunAsync(script, coverage, say);
            return _mistake is { } mistake ? ("no exception", "VIOLATION of no exception: " + mistake) : (null, line);
        }
        catch (SimViolation found)
        {
            return (found.Invariant, "VIOLATION of " + found.Message);
        }
        finally
        {
            // What a run leaves, disks and all, has finalizers, and where there is much memory nobody comes to collect it: tens of MiB for each.
            if (GC.GetTotalMemory(false) > HeapBytesMax) GC.Collect();
        }
    });
}
