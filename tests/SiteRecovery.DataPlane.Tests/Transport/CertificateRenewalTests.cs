using System.Net;
using System.Net.Security;
using System.Net.Sockets;
using System.Security.Authentication;
using System.Security.Cryptography.X509Certificates;
using SiteRecovery.DataPlane.Transport;

namespace SiteRecovery.DataPlane.Tests.Transport;

/// <summary>TLS looks at the clock of the system, so what is old here was issued then.</summary>
public sealed class CertificateRenewalTests : IDisposable
{
    private readonly DirectoryInfo _folder = Directory.CreateTempSubdirectory();
    private readonly CancellationTokenSource _stop = new(TimeSpan.FromSeconds(30));
    private readonly List<string> _said = [];

    public void Dispose()
    {
        _stop.Dispose();
        _folder.Delete(recursive: true);
    }

    private string At(string name) => Path.Combine(_folder.FullName, name);

    /// <summary>The cluster's authority, as it signs so many days from now.</summary>
    private Authority AuthorityAt(int days)
    {
        if (!Authority.ExistsIn(At("ca"))) Authority.Create(At("ca"), "cluster", new ClockAt(-500)).Dispose();
        return Authority.Load(At("ca"), new ClockAt(days));
    }

    [Fact]
    public async Task Connections_that_begin_after_a_renewal_show_the_new_certificate_at_both_ends()
    {
        using var authority = AuthorityAt(0);
        using var node = AuthorityAt(-250).IssueInto(At("node"), "node-1", PeerRole.Node, "192.0.2.7", "node-1.example");
        using var agent = AuthorityAt(-250).IssueInto(At("agent"), "agent-1", PeerRole.Agent);
        var former = (node.Certificate, agent.Certificate);
        var listens = node.ForServer(); // as a listener that was there before
        Assert.Equal(former, await ShownAsync(listens, agent.ForClient()));
        Assert.True(await RenewalOf(node, "node", authority, 0).TryAsync(_stop.Token));
        Assert.True(await RenewalOf(agent, "agent", authority, 0).TryAsync(_stop.Token));
        Assert.NotEqual(former.Item1, node.Certificate);
        Assert.NotEqual(former.Item2, agent.Certificate);
        Assert.Equal((node.Certificate, agent.Certificate), await ShownAsync(listens, agent.ForClient()));
        using var kept = PeerIdentity.Load(At("node"));
        Assert.Equal(node.Certificate, kept.Certificate);
        Assert.Equal(new Peer("node-1", PeerRole.Node), kept.Self);
        Assert.Equal(NamesIn(former.Item1), NamesIn(kept.Certificate));
        Assert.NotEqual(former.Item1.GetPublicKeyString(), kept.Certificate.GetPublicKeyString());
        Assert.All(_said, line => Assert.Contains("was renewed, and ends on ", line, StringComparison.Ordinal));
    }

    [Theory]
    [InlineData(250, -200)] // it has ended already, by the clock here
    [InlineData(250, 400)] // it has not begun
    [InlineData(300, -60)] // it ends before the present one
    public async Task What_a_wrong_clock_has_issued_is_not_taken(int today, int issuedAt)
    {
        using var identity = AuthorityAt(0).IssueInto(At("node"), "node-1", PeerRole.Node);
        var former = identity.Certificate;
        using var wrong = AuthorityAt(issuedAt);
        Assert.False(await RenewalOf(identity, "node", wrong, today).TryAsync(_stop.Token));
        Assert.Contains("set the clocks", Assert.Single(_said), StringComparison.Ordinal);
        using var kept = PeerIdentity.Load(At("node"));
        Assert.Equal((former, former), (identity.Certificate, kept.Certificate));
    }

    [Fact]
    public async Task What_was_issued_by_a_clock_that_was_ahead_is_renewed_once_that_is_right()
    {
        using var identity = AuthorityAt(900).IssueInto(At("node"), "node-1", PeerRole.Node);
        var former = identity.Certificate;
        using var right = AuthorityAt(0);
        Assert.True(await RenewalOf(identity, "node", right, 0).TryAsync(_stop.Token));
        Assert.NotEqual(former, identity.Certificate);
    }

    [Fact]
    public async Task It_is_asked_for_when_a_third_of_its_life_is_left_and_again_until_it_is_there()
    {
        using var identity = AuthorityAt(0).IssueInto(At("node"), "node-1", PeerRole.Node);
        var asked = 0;
        CertificateRenewal At8(int days) => new(At("node"), identity, (_, _) => throw new IOException($"nobody answers, {++asked}"), new ClockAt(days), _said.Add);
        Assert.True(await At8(242).TryAsync(_stop.Token));
        Assert.Equal(0, asked);
        Assert.False(await At8(245).TryAsync(_stop.Token));
        Assert.Equal(1, asked);

        // Each pause is over at once here; the third try succeeds.
        using var over = CancellationTokenSource.CreateLinkedTokenSource(_stop.Token);
        var (clock, looks) = (new ClockAt(250), 0);
        var renewal = new CertificateRenewal(At("node"), identity, (request, _) =>
            ++asked < 4 ? throw new IOException("nobody answers") : Task.FromResult(AuthorityAt(250).Renew(request, identity.Certificate)), clock, _said.Add);
        await renewal.RunAsync(() =>
        {
            if (++looks == 4) over.Cancel();
        }, over.Token);
        Assert.Equal(4, asked); // the look after the renewal asked nothing
        Assert.Equal([CertificateRenewal.TryAgainAfter, CertificateRenewal.TryAgainAfter, CertificateRenewal.LookEvery], clock.Pauses.Take(3));
        Assert.Contains(_said, line => line.Contains("cannot be renewed: nobody answers; tried again in 6 h", StringComparison.Ordinal));
        Assert.True(identity.EndsAt > TimeProvider.System.GetUtcNow().AddDays(600));
    }

    [Fact]
    public async Task A_folder_that_takes_nothing_keeps_no_certificate_from_being_used_and_is_tried_again()
    {
        using var authority = AuthorityAt(0);
        using var node = AuthorityAt(-250).IssueInto(At("node"), "node-1", PeerRole.Node);
        var (former, blocked) = (node.Certificate, Directory.CreateDirectory(At("node/node.crt.tmp")));
        var renewal = RenewalOf(node, "node", authority, 0);
        Assert.False(await renewal.TryAsync(_stop.Token));
        Assert.NotEqual(former, node.Certificate);
        using (var kept = PeerIdentity.Load(At("node"))) Assert.Equal(former, kept.Certificate);
        blocked.Delete();
        Assert.True(await renewal.TryAsync(_stop.Token));
        using var after = PeerIdentity.Load(At("node"));
        Assert.Equal(node.Certificate, after.Certificate);
    }

    [Fact]
    public void A_save_that_is_cut_short_after_any_step_leaves_a_certificate_and_its_key()
    {
        using var authority = AuthorityAt(0);
        for (var steps = 0; steps <= 5; steps++)
        {
            var folder = At($"cut-{steps}");
            using var former = authority.IssueInto(folder, "node-1", PeerRole.Node);
            var ask = JoinRequest.Create("node-1");
            var renewed = authority.Sign(ask.RequestPem, "node-1", PeerRole.Node);
            var written = PeerIdentity.Saving(folder, renewed, ask.KeyPem, authority.CertificatePem).Take(steps).ToArray();
            using (var found = PeerIdentity.Load(folder)) Assert.Equal(written.Contains("node.crt") ? renewed : former.Certificate.ExportCertificatePem(), found.Certificate.ExportCertificatePem());

            // The next one begins on what that left, and is cut short as well.
            using var before = PeerIdentity.Load(folder);
            var again = JoinRequest.Create("node-1");
            foreach (var _ in PeerIdentity.Saving(folder, authority.Sign(again.RequestPem, "node-1", PeerRole.Node), again.KeyPem, authority.CertificatePem).TakeWhile(name => name != "ca.crt"))
            {
                using var there = PeerIdentity.Load(folder);
                Assert.Equal(before.Certificate, there.Certificate);
            }
        }
    }

    [Fact]
    public async Task A_certificate_of_another_peer_or_authority_is_not_taken()
    {
        using var authority = AuthorityAt(0);
        using var other = Authority.Create(At("other"), "cluster", TimeProvider.System);
        using var node = AuthorityAt(-250).IssueInto(At("node"), "node-1", PeerRole.Node);
        var former = node.Certificate;
        foreach (var sign in new Func<string, string>[] { r => authority.Sign(r, "node-2", PeerRole.Node), r => authority.Sign(r, "node-1", PeerRole.Agent), r => other.Sign(r, "node-1", PeerRole.Node) })
            Assert.False(await new CertificateRenewal(At("node"), node, (request, _) => Task.FromResult(sign(request)), TimeProvider.System, _said.Add).TryAsync(_stop.Token));
        Assert.Same(former, node.Certificate);
        Assert.Equal(3, _said.Count);
    }

    [Fact]
    public async Task A_node_whose_certificate_has_expired_is_told_from_one_that_is_not_trusted()
    {
        using var ended = AuthorityAt(-400).Issue("node-1", PeerRole.Node);
        using var agent = AuthorityAt(0).Issue("agent-1", PeerRole.Agent);
        var listens = ended.ForServer();
        var told = await Assert.ThrowsAsync<CertificateOutOfTimeException>(() => ShownAsync(listens, agent.ForClient()));
        Assert.Contains($"the certificate of node 'node-1' expired on {CertificateOutOfTimeException.Day(ended.EndsAt)}: start that node again", told.Message, StringComparison.Ordinal);

        using var http = new HttpClient(PeerTrust.HttpHandler(agent.AuthorityCertificate, agent.Certificate));
        using var joining = new HttpClient(PeerTrust.JoinHandler(agent.Fingerprint));
        foreach (var client in new[] { http, joining })
        {
            using var listener = new TcpListener(IPAddress.Loopback, 0);
            listener.Start();
            var served = ServeAsync(listener, listens);
            var failed = await Assert.ThrowsAsync<HttpRequestException>(() => client.GetAsync(new Uri($"https://127.0.0.1:{((IPEndPoint)listener.LocalEndpoint).Port}/"), _stop.Token));
            Assert.IsType<CertificateOutOfTimeException>(failed.InnerException);
            await served;
        }
    }

    private CertificateRenewal RenewalOf(PeerIdentity identity, string folder, Authority authority, int days) =>
        new(At(folder), identity, (request, _) => Task.FromResult(authority.Renew(request, identity.Certificate)), new ClockAt(days), _said.Add);

    private static string[] NamesIn(X509Certificate2 certificate) =>
        [.. certificate.Extensions.OfType<X509SubjectAlternativeNameExtension>().SelectMany(n => n.EnumerateDnsNames().Concat(n.EnumerateIPAddresses().Select(a => a.ToString())))];

    /// <summary>What the two ends of a connection see of each other.</summary>
    private async Task<(X509Certificate2 Server, X509Certificate2 Client)> ShownAsync(SslServerAuthenticationOptions server, SslClientAuthenticationOptions client)
    {
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        using var socket = new Socket(SocketType.Stream, ProtocolType.Tcp);
        await socket.ConnectAsync(listener.LocalEndpoint, _stop.Token);
        await using var a = new SslStream(new NetworkStream(await listener.AcceptSocketAsync(_stop.Token), true));
        await using var b = new SslStream(new NetworkStream(socket, true));
        var serving = a.AuthenticateAsServerAsync(server, _stop.Token);
        try
        {
            await b.AuthenticateAsClientAsync(client, _stop.Token);
        }
        catch (AuthenticationException)
        {
            socket.Close();
            await serving.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            throw;
        }
        await serving;
        return (X509CertificateLoader.LoadCertificate(b.RemoteCertificate!.GetRawCertData()), X509CertificateLoader.LoadCertificate(a.RemoteCertificate!.GetRawCertData()));
    }

    private async Task ServeAsync(TcpListener listener, SslServerAuthenticationOptions tls)
    {
        using var client = await listener.AcceptTcpClientAsync(_stop.Token);
        await using var stream = new SslStream(client.GetStream());
        await ((Task)stream.AuthenticateAsServerAsync(tls, _stop.Token)).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
    }

    /// <summary>So many days from now; what waits waits for nothing.</summary>
    private sealed class ClockAt(int days) : TimeProvider
    {
        public List<TimeSpan> Pauses { get; } = [];

        public override DateTimeOffset GetUtcNow() => System.GetUtcNow().AddDays(days);

        public override ITimer CreateTimer(TimerCallback callback, object? state, TimeSpan dueTime, TimeSpan period)
        {
            Pauses.Add(dueTime);
            return System.CreateTimer(callback, state, TimeSpan.Zero, period);
        }
    }
}
