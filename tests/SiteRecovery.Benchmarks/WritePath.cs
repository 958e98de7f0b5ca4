using System.Text.Json.Nodes;
using SiteRecovery.Node.Bench;

namespace SiteRecovery.Benchmarks;

/// <summary>Our NBD server with and without capture beside qemu-nbd and nbdkit on the same file, under fio.</summary>
public static class WritePath
{
    private const long DiskBytes = 512L << 20;

    private sealed record Load(string Name, string[] Fio);

    private sealed record Contestant(string Name, string Uri, Func<double> CpuSeconds, PeerServer? Peer = null);

    private static readonly Load[] Loads =
    [
        new("4 KiB random, depth 1", ["--rw=randwrite", "--bs=4k", "--iodepth=1"]),
        new("4 KiB random, depth 32", ["--rw=randwrite", "--bs=4k", "--iodepth=32"]),
        new("4 KiB random, depth 1, flush after each", ["--rw=randwrite", "--bs=4k", "--iodepth=1", "--fsync=1"]),
        new("4 KiB random, depth 32, flush after each", ["--rw=randwrite", "--bs=4k", "--iodepth=32", "--fsync=1"]),
        new("1 MiB sequential, depth 4", ["--rw=write", "--bs=1M", "--iodepth=4"]),
    ];

    public static async Task RunAsync(Bench bench, CancellationToken stop)
    {
        if (!Tool.Have(bench, "write path", "fio")) return;
        var disk = bench.At("live");
        SampleDisk.Create(disk, DiskBytes);
        await using var receiver = await Role.StartAsync("receiver", "--root", bench.At("stores"), "--identity", bench.At("target"));
        await using var agent = await Role.StartAsync("agent", "--socket", bench.At("agent.sock"), "--identity", bench.At("agent"));
        await using var streaming = await Role.StartAsync("agent", "--socket", bench.At("streaming.sock"), "--port", await receiver.AskAsync("port"), "--identity", bench.At("agent"));
        await agent.AskAsync("file", "plain", disk);
        await agent.AskAsync("capture", "captured", disk, bench.At("capture-null"));
        await agent.AskAsync("synchronize", "captured");
        await streaming.AskAsync("capture", "streamed", disk, bench.At("capture-streamed"));
        await streaming.AskAsync("synchronize", "streamed");
        var contestants = new List<Contestant>
        {
            new("siterecovery capture", $"nbd+unix:///captured?socket={bench.At("agent.sock")}", () => agent.CpuSeconds),
            new("siterecovery whole way", $"nbd+unix:///streamed?socket={bench.At("streaming.sock")}", () => streaming.CpuSeconds),
            new("siterecovery file only", $"nbd+unix:///plain?socket={bench.At("agent.sock")}", () => agent.CpuSeconds),
        };
        await using var nbdkit = Tool.Have(bench, "write path: nbdkit", "nbdkit")
            ? await PeerServer.StartAsync(bench, "nbdkit", (socket, _) => ("nbdkit", ["-f", "-U", socket, "file", disk]), stop) : null;
        if (nbdkit is not null) contestants.Add(new Contestant("nbdkit file", $"nbd+unix:///?socket={nbdkit.Socket}", () => nbdkit.CpuSeconds, nbdkit));
        await using var qemu = Tool.Have(bench, "write path: qemu-nbd", "qemu-nbd")
            ? await PeerServer.StartAsync(bench, "qemu", (socket, _) => ("qemu-nbd", ["-t", "--cache=writeback", "-f", "raw", "-k", socket, disk]), stop) : null;
        if (qemu is not null) contestants.Add(new Contestant("qemu-nbd writeback", $"nbd+unix:///?socket={qemu.Socket}", () => qemu.CpuSeconds, qemu));
        for (var round = 0; round <= bench.Options.Rounds; round++)
            foreach (var load in Loads)
                foreach (var contestant in Bench.InTurn(contestants, round)) await MeasureAsync(bench, load, contestant, round == 0, stop);
        bench.Results.Note("write path: 'capture' streams to a target in the agent's process that acknowledges and forgets; 'whole way' over TLS to a store in another process, which shares the two cores with fio");
    }

    private static async Task MeasureAsync(Bench bench, Load load, Contestant contestant, bool warmUp, CancellationToken stop)
    {
        string output;
        double cpu;
        while (true)
        {
            cpu = contestant.CpuSeconds();
            try
            {
                output = await LoadAsync(bench, load, contestant, stop);
                break;
            }
            catch (InvalidOperationException) when (contestant.Peer is not null)
            {
                // Under fio's parallel connections a peer may crash; what it did until then does not count.
                if (await contestant.Peer.ReviveAsync(stop) is not { } ended) throw;
                bench.Results.Note($"write path: {ended}");
            }
        }
        cpu = contestant.CpuSeconds() - cpu;
        var write = JsonNode.Parse(output[output.IndexOf('{')..])!["jobs"]![0]!["write"]!;
        if (warmUp) return;
        bench.Results.Add("write path: " + load.Name, "writes/s", contestant.Name, write["iops"]!.GetValue<double>(), moreIsBetter: true);
        bench.Results.Add("write path: " + load.Name + ", server CPU", "µs/write", contestant.Name, cpu * 1e6 / write["total_ios"]!.GetValue<long>());
    }

    private static Task<string> LoadAsync(Bench bench, Load load, Contestant contestant, CancellationToken stop) =>
        Tool.RunAsync("fio", ["--name=load", "--ioengine=nbd", "--uri=" + contestant.Uri, "--time_based", "--output-format=json",
            $"--runtime={Math.Max(1, (long)bench.Options.RunTime.TotalMilliseconds)}ms", .. load.Fio], stop);
}
