using System.Net;
using System.Net.Sockets;
using System.Security.Cryptography;
using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.DataPlane.Capture;
using SiteRecovery.DataPlane.MasterTarget;
using SiteRecovery.DataPlane.Nbd;
using SiteRecovery.DataPlane.Storage;
using SiteRecovery.DataPlane.Transport;
using SiteRecovery.Domain.History;
using SiteRecovery.Node.Demo;

namespace SiteRecovery.EndToEnd.InProcess;

/// <summary>The whole way of the data in one process: writer → NBD → capture → TLS → store → view → NBD → the writer's own ledger.</summary>
public sealed class LiveDiskTests : IAsyncDisposable
{
    private const int Seed = 11;
    private const long DiskBytes = 4L << 20;
    private static readonly MachineId Machine = new("db1");
    private readonly string _folder = Directory.CreateTempSubdirectory("sr-live-").FullName;
    private readonly CancellationTokenSource _limit = new(TimeSpan.FromSeconds(60));
    private string At(string name) => Path.Combine(_folder, name);

    [Theory]
    [InlineData(0)]
    [InlineData(200)]
    public async Task A_disk_under_live_writes_comes_up_at_the_other_site_as_a_prefix(int writesAfterTheLinkIsCut)
    {
        WriteFirstContent(At("disk.raw"));
        using var authority = Authority.Create(At("pki"), "test", TimeProvider.System);
        await using var stores = new StoreReceiver(At("stores"), RealFileSystem.Instance, TimeProvider.System);
        using var linkUp = new CancellationTokenSource();
        var server = new ChannelServer(stores, new ChannelOptions(), (_, _) => null);
        using var targetIdentity = authority.Issue("target", PeerRole.Node);
        await using var listener = new ChannelListener(new IPEndPoint(IPAddress.Loopback, 0), targetIdentity.ForServer(), new ChannelOptions(),
            (stream, peer, stop) => server.RunAsync(stream, peer, CancellationTokenSource.CreateLinkedTokenSource(stop, linkUp.Token).Token), (_, _) => Task.CompletedTask);
        listener.Start();
        using var agentIdentity = authority.Issue("agent", PeerRole.Agent);
        await using var client = new ChannelClient(async stop => linkUp.IsCancellationRequested ? throw new IOException("the link is cut")
            : await ChannelConnector.ConnectAsync("127.0.0.1", listener.Endpoint.Port, agentIdentity.ForClient("localhost"), stop), new ChannelOptions());

        await using var capture = await MachineCapture.OpenAsync(new CaptureOptions
        {
            Machine = Machine, Epoch = Epoch.First, StateFolder = At("capture"),
            Disks = [new CaptureDisk(new DiskGeometry(0, "vda", DiskBytes), At("disk.raw"))],
        }, RealFileSystem.Instance, TimeProvider.System);
        capture.MarkAllUnsynced();
        using var stopCapture = new CancellationTokenSource();
        var running = capture.RunAsync(client, stopCapture.Token);
        var exports = new NbdExports();
        exports.Add(new NbdExport("vda", capture.Disks[0], "live"));
        await using var nbd = new NbdServer(exports, new NbdServerOptions(), TimeProvider.System);
        var address = $"nbd://127.0.0.1:{((IPEndPoint)nbd.Listen(new IPEndPoint(IPAddress.Loopback, 0))).Port}/vda";

        using var stopWriter = new CancellationTokenSource();
        await File.WriteAllTextAsync(At("ledger"), "", _limit.Token);
        var writer = LedgerWriter.RunAsync(address, At("ledger"), Seed, 2000, 0, TimeSpan.Zero, TimeProvider.System, stopWriter.Token);
        await capture.StartSynchronizationAsync();
        await UntilAsync(() => capture.Status().Mode == CaptureMode.Streaming && stores.ReportOf(Machine)?.Consistent == true);
        var protectedAt = Ledger.Read(At("ledger")).Count;
        await UntilAsync(() => Ledger.Read(At("ledger")).Count > protectedAt + 500);
        if (writesAfterTheLinkIsCut > 0)
        {
            await linkUp.CancelAsync();
            var cutAt = Ledger.Read(At("ledger")).Count;
            await UntilAsync(() => Ledger.Read(At("ledger")).Count > cutAt + writesAfterTheLinkIsCut);
        }
        await stopWriter.CancelAsync();
        await writer;
        var ledger = Ledger.Read(At("ledger"));
        if (writesAfterTheLinkIsCut == 0) await UntilAsync(() => capture.Status() is var s && s.Durable == s.Newest);

        var store = stores.StoreOf(Machine)!;
        var point = store.ResolvePoint(new PointSelector.Latest())!;
        store.OpenEpoch(Epoch.First.Next(), point);
        var view = store.At(point).Disk(0);
        var verdict = await PrefixVerdict.JudgeAsync(ledger, Seed, DiskBytes, async (offset, into) => await view.ReadAsync(offset, into, _limit.Token));
        Assert.True(verdict.Holds, verdict.Reason);
        if (writesAfterTheLinkIsCut == 0) Assert.Equal(0, verdict.LostWrites);
        else Assert.InRange(verdict.LostWrites, 1, ledger.Count - protectedAt);
        Assert.True(verdict.PrefixLength >= protectedAt + (writesAfterTheLinkIsCut == 0 ? 500 : 0));

        await stopCapture.CancelAsync();
        await Task.WhenAny(running);
    }

    private static void WriteFirstContent(string path)
    {
        using var file = File.Create(path);
        var block = new byte[BlockPattern.BlockBytes];
        for (long at = 0; at < DiskBytes; at += block.Length)
        {
            BlockPattern.Fill(block, Seed, 0, at);
            file.Write(block);
        }
    }

    private async Task UntilAsync(Func<bool> holds)
    {
        using var timer = new PeriodicTimer(TimeSpan.FromMilliseconds(20));
        while (!holds()) await timer.WaitForNextTickAsync(_limit.Token);
    }

    public ValueTask DisposeAsync()
    {
        _limit.Dispose();
        Directory.Delete(_folder, recursive: true);
        return ValueTask.CompletedTask;
    }
}
