using SiteRecovery.Simulation.World;

namespace SiteRecovery.Simulation;

/// <summary>One run of a script.</summary>
internal static class Run
{
    private const long HeapBytesMax = 512 << 20;

    /// <returns>The invariant that was violated, null: none; and a line for people.</returns>
    internal static Task<(string? Violated, string Line)> OnceAsync(SimScript script, SimCoverage? coverage = null, Action<string>? say = null) => Task.Run<(string?, string)>(async () => // on the one thread that there is for work
    {
        try
        {
            return (null, await SimSites.RunAsync(script, coverage, say));
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
