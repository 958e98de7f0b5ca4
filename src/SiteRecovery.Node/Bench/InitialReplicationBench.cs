using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.Domain.History;

namespace SiteRecovery.Node.Bench;

/// <summary>A disk into an empty store until a point of it is durable: capture, TLS over loopback, compression and store in this process.</summary>
public sealed class InitialReplicationBench(BenchOptions options, Measurements results)
{
    private const string Name = "siterecovery";

    public async Task RunAsync(CancellationToken stop)
    {
        using var workspace = new Workspace(options.Folder);
        SampleDisk.Create(workspace.At("disk"), options.DiskBytes);
        for (var round = 0; round < options.Rounds; round++)
        {
            var (cpu, started) = (Environment.CpuUsage.TotalTime, TimeProvider.System.GetTimestamp());
            await ReplicateAsync(workspace, stop);
            var seconds = TimeProvider.System.GetElapsedTime(started).TotalSeconds;
            results.Add("initial replication", "s", Name, seconds);
            results.Add("initial replication, rate", "MiB/s", Name, options.DiskBytes / seconds / (1 << 20), moreIsBetter: true);
            results.Add("initial replication, CPU of both sides", "s/GiB", Name, (Environment.CpuUsage.TotalTime - cpu).TotalSeconds / options.DiskBytes * (1 << 30));
            Directory.Delete(workspace.At("stores"), recursive: true);
            Directory.Delete(workspace.At("capture"), recursive: true);
        }
    }

    private static async Task ReplicateAsync(Workspace workspace, CancellationToken stop)
    {
        await using var receiving = new ReceivingSide(workspace.At("stores"), workspace.Target, PayloadCompression.Zstd);
        await using var client = ReceivingSide.Connect(receiving.Port, workspace.Agent);
        await using var machine = await CapturedMachine.OpenAsync("bench", workspace.At("disk"), workspace.At("capture"), client);
        await machine.SynchronizeAsync(stop);
        await receiving.PointIsDurableAsync(new MachineId("bench"), stop);
    }
}
