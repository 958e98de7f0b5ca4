using System.Diagnostics;
using System.Net.Sockets;
using SiteRecovery.DataPlane.Nbd;

namespace SiteRecovery.Benchmarks;

/// <summary>A qcow2 image that is written through qemu-nbd.</summary>
internal abstract class QemuSnapshots(Bench bench, string disk) : IPointKeeper
{
    private Process? _server;
    private NbdClient? _client;

    public abstract string Name { get; }
    public long SpaceBytes => Images.Sum(Files.AllocatedBytes);

    protected string Disk => disk;

    /// <summary>All that there are; the last is written to.</summary>
    protected List<string> Images { get; } = [];

    protected string At(string name) => bench.At($"{GetType().Name}-{name}");

    public async Task BeginAsync(CancellationToken stop)
    {
        Images.Add(At("image"));
        await Tool.RunAsync("qemu-img", ["convert", "-f", "raw", "-O", "qcow2", disk, Images[0]], stop);
    }

    public async Task OpenAsync(CancellationToken stop)
    {
        var socket = At("socket");
        File.Delete(socket);
        _server = Tool.Start("qemu-nbd", "--cache=writeback", "-f", "qcow2", "-k", socket, Images[^1]); // ends with its client
        await Tool.ListeningAsync(_server, socket, stop);
        _client = await NbdClient.ConnectAsync(new UnixDomainSocketEndPoint(socket), "", stop);
    }

    /// <summary>As a guest would: 16 at once.</summary>
    public async Task WriteAsync(List<KeepingPoints.Change> changes, CancellationToken stop)
    {
        // Two of them may meet the same blocks, and the later one has to win.
        foreach (var some in changes.Chunk(16))
            if (some.DistinctBy(c => c.Offset >> 20).Count() == some.Length) await Task.WhenAll(some.Select(c => _client!.WriteAsync(c.Offset, c.Data, false, stop)));
            else
                foreach (var change in some) await _client!.WriteAsync(change.Offset, change.Data, false, stop);
        await _client!.FlushAsync(stop);
    }

    public async Task CloseAsync(CancellationToken stop)
    {
        await _client!.DisposeAsync();
        await _server!.WaitForExitAsync(stop);
        _server.Dispose();
        (_client, _server) = (null, null);
    }

    public abstract Task KeepAsync(int point, CancellationToken stop);

    public void ForgetPages()
    {
        foreach (var image in Images) PageCache.Forget(image);
    }

    public abstract Task RestoreAsync(int point, string file, CancellationToken stop);

    public ValueTask DisposeAsync()
    {
        foreach (var image in Images) File.Delete(image);
        return default;
    }
}

/// <summary>`qemu-img snapshot`: points within the image.</summary>
internal sealed class InternalSnapshots(Bench bench, string disk) : QemuSnapshots(bench, disk)
{
    public override string Name => "qemu-img snapshot, inside";

    public override async Task KeepAsync(int point, CancellationToken stop)
    {
        await Tool.RunAsync("qemu-img", ["snapshot", "-c", $"p{point}", Images[0]], stop);
        await Tool.RunAsync("sync", ["--data", Images[0]], stop);
    }

    public override Task RestoreAsync(int point, string file, CancellationToken stop) =>
        Tool.RunAsync("qemu-img", ["convert", "-l", $"snapshot.name=p{point}", "-f", "qcow2", "-O", "raw", Images[0], file], stop);
}

/// <summary>Points as images, each over the one before it: to keep one is to begin the next.</summary>
internal sealed class ExternalSnapshots(Bench bench, string disk) : QemuSnapshots(bench, disk)
{
    public override string Name => "qcow2 overlays";

    public override async Task KeepAsync(int point, CancellationToken stop)
    {
        var next = At($"over-{point}");
        await Tool.RunAsync("qemu-img", ["create", "-f", "qcow2", "-b", Images[^1], "-F", "qcow2", next], stop);
        await Tool.RunAsync("sync", ["--data", next], stop);
        Images.Add(next);
    }

    public override Task RestoreAsync(int point, string file, CancellationToken stop) =>
        Tool.RunAsync("qemu-img", ["convert", "-f", "qcow2", "-O", "raw", Images[point], file], stop);
}
