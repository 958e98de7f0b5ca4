using System.Net;
using System.Net.Security;
using System.Net.Sockets;
using SiteRecovery.DataPlane.Transport;
using SiteRecovery.Node.Hosting;

namespace SiteRecovery.EndToEnd.InProcess;

/// <summary>A certificate that has expired, or soon does, is called that, with what to do about it.</summary>
public sealed class ExpiredCertificateTests : IDisposable
{
    private readonly DirectoryInfo _folder = Directory.CreateTempSubdirectory("sr-certs-");
    private readonly CancellationTokenSource _stop = new(TimeSpan.FromMinutes(1));

    private string At(string name) => Path.Combine(_folder.FullName, name);

    private Authority AuthorityAt(int days)
    {
        Authority.Create(At("first/pki"), "siterecovery", new ClockAt(-500)).Dispose();
        return Authority.Load(At("first/pki"), new ClockAt(days));
    }

    [Fact]
    public async Task Srctl_says_that_a_certificate_has_expired_and_what_to_do()
    {
        using var ended = AuthorityAt(-400).Issue("first-1", PeerRole.Node);
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        var (tls, served) = (ended.ForServer(), Task.CompletedTask);
        tls.ClientCertificateRequired = false;
        served = ServeAsync();
        await File.WriteAllTextAsync(At("token"), "token", _stop.Token);
        var run = await new Srctl(At("config"), _stop.Token).RefusedAsync(14, "vault", "list", "--server", $"https://127.0.0.1:{((IPEndPoint)listener.LocalEndpoint).Port}", "--token-file", At("token"), "--ca-file", At("first/pki/ca.crt"));
        Assert.Contains($"the certificate of node 'first-1' expired on {CertificateOutOfTimeException.Day(ended.EndsAt)}", run.People, StringComparison.Ordinal);
        Assert.Contains("Start that node again: ", run.People, StringComparison.Ordinal);
        Assert.DoesNotContain("is not trusted", run.People, StringComparison.Ordinal);
        await served;

        async Task ServeAsync()
        {
            using var client = await listener.AcceptTcpClientAsync(_stop.Token);
            await using var stream = new SslStream(client.GetStream());
            await stream.AuthenticateAsServerAsync(tls, _stop.Token).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }
    }

    [Theory]
    [InlineData(0, true, "ok       the certificate of node 'first-1' ends on ")]
    [InlineData(-310, true, "warning  the certificate of node 'first-1' ends on ")]
    [InlineData(-400, false, "broken   the certificate of node 'first-1' expired on ")]
    public void Doctor_tells_how_long_a_certificate_lasts(int issued, bool good, string line)
    {
        using (var authority = AuthorityAt(issued)) authority.IssueInto(At("first/pki"), "first-1", PeerRole.Node).Dispose();
        var told = CertificateCheck.Of(At("first"), TimeProvider.System).ToArray();
        Assert.Equal(good, told[0].Good);
        Assert.StartsWith(line, told[0].Line, StringComparison.Ordinal);
        if (!good) Assert.EndsWith("start the node: it makes itself a new one", told[0].Line, StringComparison.Ordinal);
        Assert.StartsWith("ok       the cluster's authority ends on ", told[1].Line, StringComparison.Ordinal);
        Assert.StartsWith("warning  the cluster's authority ends on ", CertificateCheck.Of(At("first"), new ClockAt(3000)).Last().Line, StringComparison.Ordinal);
        Assert.Empty(CertificateCheck.Of(At("nothing"), TimeProvider.System));
    }

    public void Dispose()
    {
        _stop.Dispose();
        _folder.Delete(recursive: true);
    }
}
