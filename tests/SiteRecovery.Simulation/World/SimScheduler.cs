namespace SiteRecovery.Simulation.World;

/// <summary>
/// Lets time pass only when nothing is left to run now. The process has one thread for work (DOTNET_ThreadPool_ForceMaxWorkerThreads=1), and whoever calls this runs on it: then
/// what runs after what depends on the seed alone, though the production code makes tasks as it likes.
/// </summary>
internal static class SimScheduler
{
    internal static async Task RunAsync(SimClock clock, TimeSpan until, Func<bool> goOn)
    {
        do await SettleAsync();
        while (goOn() && clock.Next(until));
    }

    private static async Task SettleAsync()
    {
        do await Task.Yield();
        while (ThreadPool.PendingWorkItemCount > 0);
    }
}
