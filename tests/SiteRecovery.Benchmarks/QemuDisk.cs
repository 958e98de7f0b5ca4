using System.Net.Sockets;
using System.Text.Json.Nodes;
using SiteRecovery.DataPlane.Nbd;
using SiteRecovery.Node.Bench;

namespace SiteRecovery.Benchmarks;

/// <summary>
/// A disk in qemu-storage-daemon that tracks its writes in dirty bitmaps, and the two ways to take what is dirty to another host over TLS:
/// QEMU's own backup job, and a reader that pulls the dirty extents of a read-only export.
/// </summary>
public sealed class QemuDisk : IAsyncDisposable
{
    private const string Disk = "disk", BackupBitmap = "backup", PullBitmap = "pull";
    private const int PullsInFlight = 16, PullBytesMax = 1 << 20;
    private readonly Qmp _qmp;
    private readonly string _socket, _certificates;
    private readonly Bench _bench;
    private string _pullBitmap = PullBitmap + "0";
    private int _pulls;

    private QemuDisk(Bench bench, Qmp qmp, string socket, string certificates) => (_bench, _qmp, _socket, _certificates) = (bench, qmp, socket, certificates);

    public double CpuSeconds => ProcessUsage.CpuSeconds(_qmp.Id);

    public static async Task<QemuDisk> StartAsync(Bench bench, string disk, CancellationToken stop)
    {
        var (socket, certificates) = (bench.At("qemu-disk.sock"), PeerServer.Export(bench.Workspace));
        var qmp = await Qmp.StartAsync(
        [
            "--object", $"tls-creds-x509,id=client,endpoint=client,dir={certificates}", "--object", $"tls-creds-x509,id=server,endpoint=server,verify-peer=on,dir={certificates}",
            "--blockdev", $"driver=raw,node-name={Disk},file.driver=file,file.filename={disk}",
            "--nbd-server", $"addr.type=unix,addr.path={socket},tls-creds=server", "--export", $"nbd,id=live,node-name={Disk},name=live,writable=on",
        ], stop);
        var qemu = new QemuDisk(bench, qmp, socket, certificates);
        foreach (var name in new[] { BackupBitmap, qemu._pullBitmap }) await qmp.AskAsync("block-dirty-bitmap-add", new() { ["node"] = Disk, ["name"] = name }, stop);
        return qemu;
    }

    public async Task ScatterAsync(double share, int seed, CancellationToken stop)
    {
        await using var client = await ConnectAsync("live", stop);
        await Scatter.WriteAsync(client.SizeBytes, (at, data) => client.WriteAsync(at, data, false, stop), () => client.FlushAsync(stop), share, seed);
    }

    /// <summary>The job <c>blockdev-backup</c> of what the bitmap holds, into an NBD server over TLS; the copy is flushed.</summary>
    public async Task BackupAsync(int port, CancellationToken stop)
    {
        await _qmp.AskAsync("blockdev-add", new()
        {
            ["driver"] = "nbd", ["node-name"] = "target", ["server"] = new JsonObject { ["type"] = "inet", ["host"] = "127.0.0.1", ["port"] = $"{port}" },
            ["tls-creds"] = "client", ["tls-hostname"] = "localhost",
        }, stop);
        await _qmp.AskAsync("blockdev-backup", new()
        {
            ["job-id"] = "job", ["device"] = Disk, ["target"] = "target", ["sync"] = "bitmap", ["bitmap"] = BackupBitmap, ["bitmap-mode"] = "on-success", ["auto-dismiss"] = false,
        }, stop);
        await _qmp.EventAsync("JOB_STATUS_CHANGE", e => (string?)e["status"] == "concluded", stop);
        await _qmp.AskAsync("job-dismiss", new() { ["id"] = "job" }, stop);
        await _qmp.AskAsync("blockdev-del", new() { ["node-name"] = "target" }, stop); // closing flushes
    }

    /// <summary>Freezes the bitmap, exports it beside the disk, and reads what it holds.</summary>
    public async Task PullAsync(string copy, CancellationToken stop)
    {
        var (full, next, export) = (_pullBitmap, $"{PullBitmap}{++_pulls}", $"pull{_pulls}");
        await _qmp.AskAsync("transaction", new()
        {
            ["actions"] = new JsonArray(
                Action("block-dirty-bitmap-disable", new() { ["node"] = Disk, ["name"] = full }), Action("block-dirty-bitmap-add", new() { ["node"] = Disk, ["name"] = next })),
        }, stop);
        await _qmp.AskAsync("block-export-add", new() { ["type"] = "nbd", ["id"] = export, ["node-name"] = Disk, ["name"] = export, ["bitmaps"] = new JsonArray(full) }, stop);
        var map = await Tool.RunAsync("nbdinfo", ["--map=qemu:dirty-bitmap:" + full, "--json", $"nbds+unix://localhost/{export}?socket={_socket}&tls-certificates={_certificates}"], stop);
        var pieces = JsonNode.Parse(map)!.AsArray().Where(e => (int)e!["type"]! == 1).SelectMany(e => Pieces((long)e!["offset"]!, (long)e["length"]!)).ToArray();
        await using (var client = await ConnectAsync(export, stop))
        using (var file = File.OpenHandle(copy, FileMode.Open, FileAccess.Write))
        {
            await Parallel.ForEachAsync(pieces, new ParallelOptions { MaxDegreeOfParallelism = PullsInFlight, CancellationToken = stop }, async (piece, cancel) =>
            {
                var data = new byte[piece.Length];
                await client.ReadAsync(piece.Offset, data, cancel);
                RandomAccess.Write(file, data, piece.Offset);
            });
            RandomAccess.FlushToDisk(file);
        }
        await _qmp.AskAsync("block-export-del", new() { ["id"] = export, ["mode"] = "hard" }, stop);
        await _qmp.EventAsync("BLOCK_EXPORT_DELETED", e => (string?)e["id"] == export, stop);
        await _qmp.AskAsync("block-dirty-bitmap-remove", new() { ["node"] = Disk, ["name"] = full }, stop);
        _pullBitmap = next;
    }

    private static JsonObject Action(string type, JsonObject data) => new() { ["type"] = type, ["data"] = data };

    private static IEnumerable<(long Offset, int Length)> Pieces(long offset, long length)
    {
        for (var at = offset; at < offset + length; at += PullBytesMax) yield return (at, (int)Math.Min(PullBytesMax, offset + length - at));
    }

    private Task<NbdClient> ConnectAsync(string export, CancellationToken stop) =>
        NbdClient.ConnectAsync(new UnixDomainSocketEndPoint(_socket), export, stop, _bench.Workspace.Agent.ForClient());

    public ValueTask DisposeAsync() => _qmp.DisposeAsync();
}
