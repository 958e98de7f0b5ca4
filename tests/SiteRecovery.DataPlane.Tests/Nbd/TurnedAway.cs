using System.Net;
using System.Net.Sockets;
using SiteRecovery.DataPlane.Nbd;
using SiteRecovery.DataPlane.Transport;

namespace SiteRecovery.DataPlane.Tests.Nbd;

/// <summary>Clients whose certificates are good, and not meant for these disks.</summary>
public sealed class TurnedAway : IAsyncLifetime
{
    private const string Why = "the disks are not for 'agent-2': start it with --nbd-allow agent-2";
    private readonly DirectoryInfo _folder = Directory.CreateTempSubdirectory("nbd-away-");
    private readonly ServedDisk _disk = new();
    private Authority _authority = null!;
    private PeerIdentity _server = null!, _wanted = null!, _other = null!;
    private EndPoint _tls = null!;

    public Task InitializeAsync()
    {
        _authority = Authority.Create(_folder.FullName, "cluster", TimeProvider.System);
        (_server, _wanted, _other) = (_authority.Issue("agent-0", PeerRole.Node), _authority.Issue("agent-1", PeerRole.Agent), _authority.Issue("agent-2", PeerRole.Agent));
        _tls = _disk.Server.Listen(new IPEndPoint(IPAddress.Loopback, 0), _server.ForServer(), certificate => Peer.Of(certificate) is { Name: "agent-1" } ? null : Why);
        return Task.CompletedTask;
    }

    public async Task DisposeAsync()
    {
        await _disk.DisposeAsync();
        foreach (var identity in new[] { _server, _wanted, _other }) identity.Dispose();
        _authority.Dispose();
        _folder.Delete(recursive: true);
    }

    [Fact]
    public async Task They_open_nothing_and_are_told_why()
    {
        await using var wanted = await NbdClient.ConnectAsync(_tls, "disk", ServedDisk.None, _wanted.ForClient());
        await wanted.WriteAsync(0, new byte[512], false, ServedDisk.None);
        var refused = await Assert.ThrowsAsync<NbdException>(() => NbdClient.ConnectAsync(_tls, "disk", ServedDisk.None, _other.ForClient()));
        Assert.Contains(Why, refused.Message, StringComparison.Ordinal);
        // Of a name that is not there they learn the same, and without TLS nobody opens anything.
        Assert.Contains(Why, (await Assert.ThrowsAsync<NbdException>(() => NbdClient.ConnectAsync(_tls, "nothing", ServedDisk.None, _other.ForClient()))).Message, StringComparison.Ordinal);
        await Assert.ThrowsAsync<NbdException>(() => NbdClient.ConnectAsync(_tls, "disk", ServedDisk.None));
    }

    [Fact]
    public async Task QEMU_shows_the_reason_and_libnbd_lists_nothing()
    {
        var pki = _folder.CreateSubdirectory("pki").FullName;
        await File.WriteAllTextAsync(Path.Combine(pki, "ca-cert.pem"), _authority.CertificatePem);
        await File.WriteAllTextAsync(Path.Combine(pki, "client-cert.pem"), _other.Certificate.ExportCertificatePem());
        await File.WriteAllTextAsync(Path.Combine(pki, "client-key.pem"), System.Security.Cryptography.X509Certificates.ECDsaCertificateExtensions.GetECDsaPrivateKey(_other.Certificate)!.ExportPkcs8PrivateKeyPem());
        var port = ((IPEndPoint)_tls).Port;
        var (ofQemu, shown) = await ServedDisk.TryRunAsync(
            "qemu-img", "info", "--object", $"tls-creds-x509,id=tls,endpoint=client,verify-peer=off,dir={pki}", "--image-opts", $"driver=nbd,host=localhost,port={port},export=disk,tls-creds=tls");
        Assert.NotEqual(0, ofQemu);
        Assert.Contains("--nbd-allow agent-2", shown, StringComparison.Ordinal);
        var (ofLibnbd, listed) = await ServedDisk.TryRunAsync("nbdinfo", "--list", $"nbds://localhost:{port}/?tls-certificates={pki}");
        Assert.NotEqual(0, ofLibnbd);
        Assert.DoesNotContain("export=\"", listed, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Even_the_oldest_way_to_open_one_is_closed()
    {
        using var socket = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        await socket.ConnectAsync(_tls);
        var plain = new NetworkStream(socket);
        await plain.ReadExactlyAsync(new byte[18]);
        await plain.WriteAsync((byte[])[0, 0, 0, 3, .. Option(5, [])]);
        await plain.ReadExactlyAsync(new byte[20]);
        await using var encrypted = new System.Net.Security.SslStream(plain);
        await encrypted.AuthenticateAsClientAsync(_other.ForClient());
        await encrypted.WriteAsync(Option(1, "disk"u8.ToArray()));
        Assert.Equal(0, await encrypted.ReadAsync(new byte[1]));
    }

    private static byte[] Option(byte option, byte[] data) => [.. "IHAVEOPT"u8, 0, 0, 0, option, 0, 0, 0, (byte)data.Length, .. data];
}
