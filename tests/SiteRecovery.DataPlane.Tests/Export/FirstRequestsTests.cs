using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.DataPlane.Export;
using SiteRecovery.DataPlane.Nbd;
using SiteRecovery.DataPlane.Retention;
using SiteRecovery.DataPlane.Storage;

namespace SiteRecovery.DataPlane.Tests.Export;

/// <summary>A served replica tells when it was first read and written, whichever of its disks it was.</summary>
public sealed class FirstRequestsTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("firsts").FullName;

    [Fact]
    public async Task The_first_read_and_the_first_write_are_seen_and_stay()
    {
        var time = new TimeByHand();
        await using var exports = new ReplicaExports(Path.Combine(_folder, "s"), time);
        exports.Start();
        var uris = await exports.ServeAsync("vm1", "key", () => Task.FromResult<IReplicaDisks>(new TwoDisks(_folder)), default);
        var firsts = exports.FirstsOf("vm1")!;
        await using var first = await OpenAsync(uris[0]);
        await using var second = await OpenAsync(uris[1]);
        await second.FlushAsync(default);
        Assert.Equal((null, null), (firsts.ReadAgo, firsts.WroteAgo));

        time.Now += TimeSpan.FromSeconds(3);
        await second.ReadAsync(0, new byte[512], default);
        Assert.Equal((TimeSpan.Zero, null), (firsts.ReadAgo, firsts.WroteAgo));
        time.Now += TimeSpan.FromSeconds(5);
        await first.WriteZeroesAsync(4096, 512, false, false, default);
        time.Now += TimeSpan.FromSeconds(7);
        await first.WriteAsync(4096, new byte[512], false, default);
        await first.ReadAsync(0, new byte[512], default);

        Assert.Equal((TimeSpan.FromSeconds(15), TimeSpan.FromSeconds(12), TimeSpan.FromSeconds(7)), (firsts.ServedAgo, firsts.ReadAgo, firsts.WroteAgo));
        Assert.Null(exports.FirstsOf("vm2"));
    }

    private static Task<NbdClient> OpenAsync(ServedDisk disk)
    {
        var uri = new Uri(disk.Uri);
        return NbdClient.ConnectAsync(new System.Net.Sockets.UnixDomainSocketEndPoint(uri.Query["?socket=".Length..]), Uri.UnescapeDataString(uri.AbsolutePath.TrimStart('/')), default);
    }

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    private sealed class TimeByHand : TimeProvider
    {
        public TimeSpan Now { get; set; } = TimeSpan.FromDays(1);
        public override long TimestampFrequency => TimeSpan.TicksPerSecond;
        public override long GetTimestamp() => Now.Ticks;
    }

    private sealed class TwoDisks(string folder) : IReplicaDisks
    {
        public IReadOnlyList<(DiskRecord Disk, IBlockDevice Device)> Disks { get; } = [.. Enumerable.Range(0, 2).Select(i => (new DiskRecord((ushort)i, $"vd{i}", 1 << 20, null), Device(Path.Combine(folder, $"{i}.raw"))))];

        public async ValueTask DisposeAsync()
        {
            foreach (var (_, device) in Disks) await device.DisposeAsync();
        }

        private static IBlockDevice Device(string path)
        {
            var file = RealFileSystem.Instance.Open(path, FileOpening.Create);
            file.SetLength(1 << 20);
            return new FileDevice(file, readOnly: false);
        }
    }
}
