namespace SiteRecovery.Simulation.World;

/// <summary>
/// Lets time pass only when nothing is left to run now. The process has one thread for work (DOTNET_ThreadPool_ForceMaxWorkerThreads=1), and whoever calls this runs on it: then
/// what runs after what depends on the seed alone, though the production code makes tasks as it likes.
/// </summary>
internal static class SimScheduler
{
    private const int TurnsMax = 500_000; // a whole minute takes less

    internal static async Task RunAsync(SimClock clock, TimeSpan until, Func<bool> goOn)
    {
        do await SettleAsync();
        while (goOn() && clock.Next(until));
    }

    private static async Task SettleAsync()
    {
        var turns = 0;
        do
        {
            await Task.Yield();
            if (++turns > TurnsMax) throw new SimViolation("liveness", "something runs on and on, and lets no time pass");
        }
        while (ThreadPool.PendingWorkItemCount > 0);
    }
}
