using SiteRecovery.DataPlane.Retention;
using SiteRecovery.DataPlane.Storage;
using SiteRecovery.Node.Demo;

namespace SiteRecovery.Benchmarks;

/// <summary>
/// One site is dark: how long from the HTTP command to the first sector of the replica, read by a client of its own over NBD. A disk of 100 GiB with 0, 1, 10 and 50 GiB of 4 KiB random
/// writes in its log, and one of 10 GiB with 10, which is written straight into the store while no process runs; compressible, so that it fits. The master target has only just started: nothing is warm.
/// </summary>
public static class Rto
{
    private static readonly (int LogGiB, int DiskGiB)[] Cases = [(0, 100), (1, 100), (10, 10), (10, 100), (50, 100)];
    private static readonly object Anyhow = new { point = "latest", acknowledge = new[] { "sourceReachable", "sourceUnreachable", "olderPoint", "replicaWritesLost" } };

    public static async Task RunAsync(Bench bench, CancellationToken stop)
    {
        foreach (var (gibibytes, disk) in Cases)
        {
            var (name, diskBytes) = ($"log of {gibibytes} GiB, disk of {disk} GiB", (long)disk << 30);
            using var sites = new DeployedSites(bench.At("sites"));
            await sites.ProtectAsync(diskBytes, stop);
            sites.KillAll();
            if (gibibytes > 0)
                using (var store = RetentionStore.Open(sites.StoreFolder, RealFileSystem.Instance, TimeProvider.System)) Views.Fill(bench, store, name, (long)gibibytes << 10);
            await sites.StartSecondaryAsync(stop);
            await CommandAsync(bench, sites.Admin, name, diskBytes, "unplanned-failover", stop);
            // Again and again from another point, with the store open.
            for (var round = 1; round < bench.Options.Rounds; round++) await CommandAsync(bench, sites.Admin, name, diskBytes, "change-recovery-point", stop);
        }
    }

    private static async Task CommandAsync(Bench bench, DemoSite admin, string name, long diskBytes, string action, CancellationToken stop)
    {
        var before = await admin.GetAsync($"/api/v1/machines/{DeployedSites.Machine}", stop);
        var began = TimeProvider.System.GetTimestamp();
        var job = await admin.PostAsync($"/api/v1/machines/{DeployedSites.Machine}/{action}", Anyhow, stop);
        var sector = new byte[512];
        while (true)
        {
            var machine = await admin.GetAsync($"/api/v1/machines/{DeployedSites.Machine}", stop);
            var uri = machine["epoch"]!.GetValue<int>() > before["epoch"]!.GetValue<int>() ? machine["exports"]!.AsArray().FirstOrDefault()?["uri"]!.GetValue<string>() : null;
            if (uri is not null)
            {
                await using var disk = await NbdAddress.Parse(uri).OpenAsync(stop);
                await disk.ReadAsync(Random.Shared.NextInt64(diskBytes / 512) * 512, sector, stop);
                break;
            }
            await Task.Delay(TimeSpan.FromMilliseconds(5), stop);
        }
        bench.Results.Add($"{action}: command to first sector", "ms", name, TimeProvider.System.GetElapsedTime(began).TotalMilliseconds);
        var seen = await admin.FinishAsync(job, stop);
        if (seen["times"]?["disksServed"] is { } served) bench.Results.Add($"{action}: disks served, as the job says", "s", name, Seconds(served.GetValue<string>()));
    }

    private static double Seconds(string duration) => (Node.Http.JsonForms.Duration(duration) ?? throw new FormatException(duration)).TotalSeconds;
}
