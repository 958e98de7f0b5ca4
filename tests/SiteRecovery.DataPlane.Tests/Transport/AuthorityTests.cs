using System.Net;
using System.Net.Security;
using System.Net.Sockets;
using System.Security.Authentication;
using SiteRecovery.DataPlane.Transport;

namespace SiteRecovery.DataPlane.Tests.Transport;

public sealed class AuthorityTests : IDisposable
{
    private readonly DirectoryInfo _folder = Directory.CreateTempSubdirectory();

    public void Dispose() => _folder.Delete(recursive: true);

    private Authority Create(string name) => Authority.Create(Path.Combine(_folder.FullName, name), name, TimeProvider.System);

    [Fact]
    public void The_authority_and_an_identity_survive_in_their_folders_with_private_keys_readable_by_the_owner_only()
    {
        using var authority = Create("cluster");
        using var again = Authority.Load(Path.Combine(_folder.FullName, "cluster"), TimeProvider.System);
        Assert.Equal(authority.Fingerprint, again.Fingerprint);
        if (!OperatingSystem.IsWindows()) Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite, File.GetUnixFileMode(Path.Combine(_folder.FullName, "cluster", "ca.key")));
        var folder = Path.Combine(_folder.FullName, "a");
        again.IssueInto(folder, "agent-1", PeerRole.Agent, "10.1.2.3").Dispose();
        using var identity = PeerIdentity.Load(folder);
        Assert.Equal(new Peer("agent-1", PeerRole.Agent), identity.Self);
        Assert.Equal(authority.Fingerprint, identity.Fingerprint);
    }

    [Fact]
    public void A_join_token_survives_its_text()
    {
        var token = JoinToken.Create(new string('a', 64));
        Assert.Equal(token, JoinToken.Parse(token.ToString()));
        Assert.Null(JoinToken.Parse("a.b"));
    }

    [Fact]
    public async Task Peers_of_one_authority_meet_and_learn_their_names()
    {
        using var authority = Create("cluster");
        using var node = authority.Issue("node-1", PeerRole.Node);
        using var agent = authority.Issue("agent-1", PeerRole.Agent);
        var (server, client) = await Handshake(node.ForServer(), agent.ForClient());
        using (server) using (client)
        {
            Assert.Equal(new Peer("agent-1", PeerRole.Agent), Peer.Of(server.RemoteCertificate));
            Assert.Equal(new Peer("node-1", PeerRole.Node), Peer.Of(client.RemoteCertificate));
            Assert.Equal(SslProtocols.Tls13, server.SslProtocol);
        }
    }

    [Fact]
    public async Task A_peer_of_another_authority_is_refused()
    {
        using var authority = Create("cluster");
        using var other = Create("other");
        using var node = authority.Issue("node-1", PeerRole.Node);
        using var stranger = other.Issue("agent-1", PeerRole.Agent);
        await Assert.ThrowsAsync<AuthenticationException>(() => Handshake(node.ForServer(), stranger.ForClient()));
    }

    [Fact]
    public async Task A_first_join_accepts_only_the_authority_of_its_fingerprint()
    {
        using var authority = Create("cluster");
        using var other = Create("other");
        using var node = authority.Issue("node-1", PeerRole.Node);
        var server = node.ForServer();
        server.ClientCertificateRequired = false;
        server.RemoteCertificateValidationCallback = null;
        SslClientAuthenticationOptions Join(string fingerprint) => new() { TargetHost = "x", RemoteCertificateValidationCallback = PeerTrust.WithFingerprint(fingerprint) };
        var (a, b) = await Handshake(server, Join(authority.Fingerprint));
        a.Dispose();
        b.Dispose();
        await Assert.ThrowsAsync<AuthenticationException>(() => Handshake(server, Join(other.Fingerprint)));
    }

    private static async Task<(SslStream Server, SslStream Client)> Handshake(SslServerAuthenticationOptions server, SslClientAuthenticationOptions client)
    {
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        using var connecting = new TcpClient();
        var accept = listener.AcceptSocketAsync();
        var socket = new Socket(SocketType.Stream, ProtocolType.Tcp);
        await socket.ConnectAsync(listener.LocalEndpoint);
        var (a, b) = (new SslStream(new NetworkStream(await accept, true)), new SslStream(new NetworkStream(socket, true)));
        await Task.WhenAll(a.AuthenticateAsServerAsync(server), b.AuthenticateAsClientAsync(client)).WaitAsync(TimeSpan.FromSeconds(10));
        return (a, b);
    }
}
