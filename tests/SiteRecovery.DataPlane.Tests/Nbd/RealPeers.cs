using System.Security.Cryptography.X509Certificates;
using System.Text.Json;
using SiteRecovery.DataPlane.Nbd;
using SiteRecovery.DataPlane.Transport;

namespace SiteRecovery.DataPlane.Tests.Nbd;

public sealed class RealPeers
{
    [Fact]
    public async Task Nbdinfo_sees_size_flags_description_and_contexts()
    {
        await using var disk = new ServedDisk();
        using var info = JsonDocument.Parse(await ServedDisk.RunAsync("nbdinfo", "--json", disk.Uri));
        var export = info.RootElement.GetProperty("exports")[0];
        Assert.Equal(16 << 20, export.GetProperty("export-size").GetInt64());
        Assert.Equal("a test disk", export.GetProperty("description").GetString());
        Assert.Equal("base:allocation", export.GetProperty("contexts")[0].GetString());
        Assert.False(export.GetProperty("is_read_only").GetBoolean());
        Assert.True(export.GetProperty("can_fua").GetBoolean());
        Assert.True(export.GetProperty("can_multi_conn").GetBoolean());
        Assert.True(export.GetProperty("can_trim").GetBoolean());
        Assert.True(export.GetProperty("can_zero").GetBoolean());
        Assert.True(export.GetProperty("can_df").GetBoolean());
        Assert.Equal(32 << 20, export.GetProperty("block_size_maximum").GetInt64());
    }

    [Fact]
    public async Task Nbdinfo_lists_the_exports_and_maps_holes()
    {
        await using var disk = new ServedDisk();
        await using (var client = await disk.ConnectAsync())
            await client.WriteAsync(1 << 20, new byte[] { 1, 2, 3 }, true, ServedDisk.None);
        using var list = JsonDocument.Parse(await ServedDisk.RunAsync("nbdinfo", "--json", "--list", $"nbd://127.0.0.1:{disk.Tcp.Port}"));
        Assert.Equal("disk", list.RootElement.GetProperty("exports")[0].GetProperty("export-name").GetString());
        using var map = JsonDocument.Parse(await ServedDisk.RunAsync("nbdinfo", "--json", "--map", disk.Uri));
        Assert.Equal([3, 0, 3], map.RootElement.EnumerateArray().Select(e => e.GetProperty("type").GetInt32()));
        Assert.Equal(1 << 20, map.RootElement[1].GetProperty("offset").GetInt64());
    }

    [Fact]
    public async Task Nbdcopy_copies_both_ways()
    {
        await using var disk = new ServedDisk();
        var source = disk.PathOf("source");
        var content = new byte[16 << 20];
        new Random(7).NextBytes(content.AsSpan(1 << 20, 9 << 20));
        await File.WriteAllBytesAsync(source, content);
        await ServedDisk.RunAsync("nbdcopy", source, disk.Uri);
        Assert.True((await File.ReadAllBytesAsync(disk.DiskPath)).AsSpan().SequenceEqual(content));
        var copy = disk.PathOf("copy");
        await ServedDisk.RunAsync("nbdcopy", disk.Uri, copy);
        Assert.True((await File.ReadAllBytesAsync(copy)).AsSpan().SequenceEqual(content));
    }

    [Fact]
    public async Task Qemu_img_converts_compares_and_tells_the_size()
    {
        await using var disk = new ServedDisk();
        var content = new byte[16 << 20];
        new Random(8).NextBytes(content.AsSpan(3 << 20, 5 << 20));
        await File.WriteAllBytesAsync(disk.PathOf("source"), content);
        await ServedDisk.RunAsync("qemu-img", "convert", "-n", "-f", "raw", "-O", "raw", disk.PathOf("source"), disk.Uri);
        await ServedDisk.RunAsync("qemu-img", "compare", "-f", "raw", "-F", "raw", disk.PathOf("source"), disk.Uri);
        await ServedDisk.RunAsync("qemu-img", "convert", "-f", "raw", "-O", "qcow2", $"nbd://127.0.0.1:{disk.Tcp.Port}/disk", disk.PathOf("copy"));
        await ServedDisk.RunAsync("qemu-img", "compare", disk.PathOf("copy"), disk.PathOf("source"));
        Assert.Contains("16777216", await ServedDisk.RunAsync("qemu-img", "info", "--output=json", disk.Uri), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Qemu_io_reads_the_pattern_it_wrote()
    {
        await using var disk = new ServedDisk();
        var output = await ServedDisk.RunAsync("qemu-io", "-f", "raw", disk.Uri, "-c", "write -P 0x5a 4096 1M", "-c", "write -z 8192 4096", "-c", "discard 1M 4096",
            "-c", "flush", "-c", "read -P 0x5a 12288 1036288", "-c", "read -P 0 8192 4096", "-c", "write -f -P 0x11 100 50", "-c", "read -P 0x11 100 50");
        Assert.DoesNotContain("failed", output, StringComparison.OrdinalIgnoreCase);
        Assert.DoesNotContain("error", output, StringComparison.OrdinalIgnoreCase);
    }

    [Fact]
    public async Task Fio_verifies_what_it_wrote_at_depth_32()
    {
        await using var disk = new ServedDisk();
        await ServedDisk.RunAsync("fio", "--name=v", "--ioengine=nbd", "--uri=" + disk.Uri, "--rw=randrw", "--bssplit=512/30:4k/50:128k/20", "--iodepth=32", "--size=16M",
            "--verify=crc32c", "--verify_fatal=1", "--do_verify=1", "--norandommap=0");
    }

    [Fact]
    public async Task Peers_that_use_GnuTLS_connect_with_certificates_of_our_authority()
    {
        var folder = Directory.CreateTempSubdirectory("nbd-tls-").FullName;
        try
        {
            using var authority = Authority.Create(Path.Combine(folder, "authority"), "test", TimeProvider.System);
            using var server = authority.Issue("server", PeerRole.Node);
            using var client = authority.Issue("client", PeerRole.Agent);
            await File.WriteAllTextAsync(Path.Combine(folder, "ca-cert.pem"), authority.CertificatePem);
            await File.WriteAllTextAsync(Path.Combine(folder, "client-cert.pem"), client.Certificate.ExportCertificatePem());
            await File.WriteAllTextAsync(Path.Combine(folder, "client-key.pem"), client.Certificate.GetECDsaPrivateKey()!.ExportPkcs8PrivateKeyPem());
            await using var disk = new ServedDisk(options: new NbdServerOptions { Tls = server.ForServer() });
            Assert.Contains("16777216", await ServedDisk.RunAsync("nbdinfo", "--size", $"nbds://localhost:{disk.Tcp.Port}/disk?tls-certificates={folder}"), StringComparison.Ordinal);
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }
}
