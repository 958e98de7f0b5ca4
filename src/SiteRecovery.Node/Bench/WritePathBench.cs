using System.Net;
using System.Net.Sockets;
using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.DataPlane.Nbd;
using SiteRecovery.DataPlane.Storage;

namespace SiteRecovery.Node.Bench;

/// <summary>Our NBD server over a file without and with capture, written to by our own client in the same process.</summary>
public sealed class WritePathBench(BenchOptions options, Measurements results)
{
    private const long DiskBytes = 256L << 20;

    private sealed record Load(string Name, int Bytes, int Depth, bool Flush, bool Sequential);

    private static readonly Load[] Loads =
    [
        new("4 KiB random, depth 1", 4096, 1, false, false), new("4 KiB random, depth 32", 4096, 32, false, false),
        new("4 KiB random, depth 1, flush after each", 4096, 1, true, false), new("1 MiB sequential, depth 4", 1 << 20, 4, false, true),
    ];

    public async Task RunAsync(CancellationToken stop)
    {
        using var workspace = new Workspace(options.Folder);
        SampleDisk.Create(workspace.At("disk"), DiskBytes);
        await using var plain = new FileDevice(RealFileSystem.Instance.Open(workspace.At("disk"), FileOpening.ReadWrite), readOnly: false);
        await using var machine = await CapturedMachine.OpenAsync("bench", workspace.At("disk"), workspace.At("capture"), new NullTarget());
        await machine.SynchronizeAsync(stop);
        (string Name, IBlockDevice Device)[] contestants = [("siterecovery capture", machine.Disk), ("file only", plain)];
        var exports = new NbdExports();
        foreach (var (name, device) in contestants) exports.Add(new NbdExport(name, device, name));
        await using var server = new NbdServer(exports, new NbdServerOptions(), TimeProvider.System);
        var address = server.Listen(new UnixDomainSocketEndPoint(workspace.At("nbd")));
        for (var round = 0; round <= options.Rounds; round++)
            foreach (var load in Loads)
                for (var turn = 0; turn < contestants.Length; turn++)
                {
                    var (name, _) = contestants[(turn + round) % contestants.Length];
                    var rate = await MeasureAsync(address, name, load, stop);
                    if (round > 0) results.Add("write path: " + load.Name, "writes/s", name, rate, moreIsBetter: true);
                }
        results.Note("write path: client and server share one process; capture streams to a null target that acknowledges at once");
    }

    private async Task<double> MeasureAsync(EndPoint address, string export, Load load, CancellationToken stop)
    {
        await using var client = await NbdClient.ConnectAsync(address, export, stop);
        using var time = CancellationTokenSource.CreateLinkedTokenSource(stop);
        var started = TimeProvider.System.GetTimestamp();
        time.CancelAfter(options.RunTime);
        var writers = Enumerable.Range(0, load.Depth).Select(n => Task.Run(() => WriteAsync(client, load, n, time.Token), stop));
        var writes = (await Task.WhenAll(writers)).Sum();
        stop.ThrowIfCancellationRequested();
        return writes / TimeProvider.System.GetElapsedTime(started).TotalSeconds;
    }

    private static async Task<long> WriteAsync(NbdClient client, Load load, int writer, CancellationToken time)
    {
        var (random, data) = (new Random(writer), new byte[load.Bytes]);
        random.NextBytes(data);
        var places = client.SizeBytes / load.Bytes;
        long writes = 0;
        while (!time.IsCancellationRequested)
        {
            var place = load.Sequential ? (writes * load.Depth + writer) % places : random.NextInt64(places);
            await client.WriteAsync(place * load.Bytes, data, false, CancellationToken.None);
            if (load.Flush) await client.FlushAsync(CancellationToken.None);
            writes++;
        }
        return writes;
    }
}
