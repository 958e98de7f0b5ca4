using System.Net;
using System.Net.Security;
using System.Net.Sockets;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.DataPlane.Nbd;

namespace SiteRecovery.DataPlane.Tests.Nbd;

public sealed class Serving
{
    [Fact]
    public async Task A_read_only_export_refuses_writes_with_EPERM()
    {
        await using var disk = new ServedDisk(readOnly: true);
        await using var client = await disk.ConnectAsync();
        Assert.True(client.ReadOnly);
        Assert.Equal(1, (await Assert.ThrowsAsync<NbdException>(() => client.WriteAsync(0, new byte[512], false, ServedDisk.None))).Errno);
        Assert.Equal(1, (await Assert.ThrowsAsync<NbdException>(() => client.WriteZeroesAsync(0, 512, true, false, ServedDisk.None))).Errno);
        await client.ReadAsync(0, new byte[512], ServedDisk.None);
        var (code, _) = await ServedDisk.TryRunAsync("qemu-io", "-f", "raw", disk.Uri, "-c", "write 0 4096");
        Assert.NotEqual(0, code);
    }

    [Fact]
    public async Task A_device_that_fails_answers_EIO_and_one_that_is_fenced_EPERM()
    {
        var failures = new List<string>();
        Exception? next = null;
        await using var disk = new ServedDisk(options: new NbdServerOptions { DeviceFailed = (_, why) => failures.Add(why.Message) }, wrap: d => new SlowDevice(d, () => next));
        await using var client = await disk.ConnectAsync();
        next = new IOException("bad sector");
        Assert.Equal(5, (await Assert.ThrowsAsync<NbdException>(() => client.ReadAsync(0, new byte[512], ServedDisk.None))).Errno);
        next = new ReadOnlyDeviceException("the epoch is over");
        Assert.Equal(1, (await Assert.ThrowsAsync<NbdException>(() => client.WriteAsync(0, new byte[512], false, ServedDisk.None))).Errno);
        next = null;
        await client.WriteAsync(0, new byte[512], false, ServedDisk.None);
        Assert.Equal(["bad sector"], failures);
    }

    [Fact]
    public async Task Requests_of_a_slow_device_run_concurrently_and_all_are_answered()
    {
        await using var disk = new ServedDisk(options: new NbdServerOptions { MaxRequestsInFlight = 16 }, wrap: d => new SlowDevice(d, () => null));
        await using var client = await disk.ConnectAsync();
        await Task.WhenAll(Enumerable.Range(0, 500).Select(async i =>
        {
            var data = BitConverter.GetBytes(i);
            await client.WriteAsync(i * 512, data, false, ServedDisk.None);
            var read = new byte[4];
            await client.ReadAsync(i * 512, read, ServedDisk.None);
            Assert.Equal(data, read);
        }));
        await ServedDisk.RunAsync("fio", "--name=v", "--ioengine=nbd", "--uri=" + disk.Uri, "--rw=randwrite", "--bs=4k", "--iodepth=64", "--size=4M", "--verify=crc32c", "--verify_fatal=1");
    }

    [Fact]
    public async Task Large_requests_stay_within_the_byte_limit_and_come_back_whole()
    {
        await using var disk = new ServedDisk(64 << 20, options: new NbdServerOptions { MaxRequestBytes = 4 << 20, MaxBytesInFlight = 8 << 20 }, wrap: d => new SlowDevice(d, () => null));
        await using var client = await disk.ConnectAsync();
        await Task.WhenAll(Enumerable.Range(0, 16).Select(async i =>
        {
            var data = new byte[4 << 20];
            new Random(i).NextBytes(data);
            await client.WriteAsync((long)i * data.Length, data, false, ServedDisk.None);
            var read = new byte[data.Length];
            await client.ReadAsync((long)i * data.Length, read, ServedDisk.None);
            Assert.True(data.AsSpan().SequenceEqual(read));
        }));
    }

    [Fact]
    public async Task Status_trim_and_zeroes_agree()
    {
        await using var disk = new ServedDisk();
        await using var client = await disk.ConnectAsync();
        Assert.True(client.HasStatus);
        var ones = new byte[1 << 20];
        ones.AsSpan().Fill(1);
        await client.WriteAsync(0, ones, false, ServedDisk.None);
        await client.TrimAsync(64 << 10, 64 << 10, ServedDisk.None);
        await client.WriteZeroesAsync(256 << 10, 64 << 10, false, true, ServedDisk.None);
        await client.FlushAsync(ServedDisk.None);
        var extents = await client.StatusAsync(0, 2 << 20, ServedDisk.None);
        Assert.Equal([new(64 << 10, false, false), new(64 << 10, true, true), new(896 << 10, false, false), new(1 << 20, true, true)], extents);
        var read = new byte[64 << 10];
        await client.ReadAsync(256 << 10, read, ServedDisk.None);
        Assert.True(read.All(b => b == 0));
    }

    [Fact]
    public async Task Exports_come_and_go_while_the_server_runs()
    {
        await using var disk = new ServedDisk();
        await using var client = await disk.ConnectAsync();
        Assert.True(disk.Exports.TryOpen("disk", out var export));
        disk.Exports.Add(new NbdExport("second", export.Device, ""));
        await using (var second = await NbdClient.ConnectAsync(disk.Tcp, "second", ServedDisk.None)) await second.ReadAsync(0, new byte[1], ServedDisk.None);
        Assert.True(disk.Exports.Remove("disk"));
        await Assert.ThrowsAsync<NbdException>(disk.ConnectAsync);
        await disk.Server.CloseConnectionsAsync("disk", ServedDisk.None);
        await Assert.ThrowsAsync<IOException>(() => client.ReadAsync(0, new byte[1], ServedDisk.None));
        Assert.Equal(["second"], disk.Exports.Names);
    }

    [Fact]
    public async Task With_TLS_nothing_is_served_in_the_clear_and_everything_inside_it()
    {
        using var key = RSA.Create(2048);
        var request = new CertificateRequest("CN=nbd.test", key, HashAlgorithmName.SHA256, RSASignaturePadding.Pkcs1);
        using var certificate = request.CreateSelfSigned(DateTimeOffset.UnixEpoch, DateTimeOffset.UnixEpoch.AddYears(200));
        await using var disk = new ServedDisk(options: new NbdServerOptions { Tls = new SslServerAuthenticationOptions { ServerCertificate = certificate } });
        var tls = new SslClientAuthenticationOptions { TargetHost = "nbd.test", RemoteCertificateValidationCallback = (_, theirs, _, _) => theirs!.GetCertHashString() == certificate.GetCertHashString() };
        await using var client = await NbdClient.ConnectAsync(disk.Tcp, "disk", ServedDisk.None, tls);
        await Task.WhenAll(Enumerable.Range(0, 50).Select(async i =>
        {
            var data = new byte[100_000];
            new Random(i).NextBytes(data);
            await client.WriteAsync(i * 100_000, data, false, ServedDisk.None);
            var read = new byte[data.Length];
            await client.ReadAsync(i * 100_000, read, ServedDisk.None);
            Assert.Equal(data, read);
        }));
        await Assert.ThrowsAsync<NbdException>(disk.ConnectAsync);
    }

    [Fact]
    public async Task A_socket_left_by_a_crash_is_taken_over_and_one_in_use_is_not()
    {
        await using var disk = new ServedDisk();
        await using var second = new NbdServer(disk.Exports, new NbdServerOptions(), TimeProvider.System);
        Assert.Throws<SocketException>(() => second.Listen(disk.Unix));
        await (await disk.ConnectAsync()).DisposeAsync();
        var left = disk.PathOf("left");
        using (var crashed = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified))
        {
            crashed.Bind(new UnixDomainSocketEndPoint(disk.PathOf("bound")));
            File.Move(disk.PathOf("bound"), left);
        }
        Assert.True(File.Exists(left));
        await (await NbdClient.ConnectAsync(second.Listen(new UnixDomainSocketEndPoint(left)), "disk", ServedDisk.None)).DisposeAsync();
    }

    /// <summary>Completes every request later, on another thread.</summary>
    private sealed class SlowDevice(IBlockDevice inner, Func<Exception?> failure) : IBlockDevice
    {
        public long SizeBytes => inner.SizeBytes;
        public bool ReadOnly => inner.ReadOnly;

        public async ValueTask ReadAsync(long offset, Memory<byte> into, CancellationToken stop)
        {
            await LaterAsync();
            await inner.ReadAsync(offset, into, stop);
        }

        public async ValueTask WriteAsync(long offset, ReadOnlyMemory<byte> from, bool forceUnitAccess, CancellationToken stop)
        {
            await LaterAsync();
            await inner.WriteAsync(offset, from, forceUnitAccess, stop);
        }

        public ValueTask WriteZeroesAsync(long offset, long length, bool mayTrim, bool forceUnitAccess, CancellationToken stop) =>
            inner.WriteZeroesAsync(offset, length, mayTrim, forceUnitAccess, stop);

        public ValueTask FlushAsync(CancellationToken stop) => inner.FlushAsync(stop);
        public ValueTask<IReadOnlyList<BlockStatusExtent>> StatusAsync(long offset, long length, CancellationToken stop) => inner.StatusAsync(offset, length, stop);
        public ValueTask DisposeAsync() => inner.DisposeAsync();

        private async Task LaterAsync()
        {
            await Task.Yield();
            if (failure() is { } why) throw why;
        }
    }
}
