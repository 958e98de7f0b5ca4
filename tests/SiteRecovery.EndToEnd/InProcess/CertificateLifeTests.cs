using System.Net;
using System.Net.Http.Json;
using System.Net.Security;
using System.Net.Sockets;
using System.Security.Cryptography.X509Certificates;
using System.Text.Json.Nodes;
using SiteRecovery.Agent;
using SiteRecovery.DataPlane.Transport;
using SiteRecovery.Node.Hosting;
using SiteRecovery.Node.Settings;

namespace SiteRecovery.EndToEnd.InProcess;

/// <summary>What was installed on one day does not stop on one day a year later. TLS looks at the clock of the system, so what is old here was issued then.</summary>
public sealed class CertificateLifeTests : IDisposable
{
    private readonly DirectoryInfo _folder = Directory.CreateTempSubdirectory("sr-certs-");
    private readonly CancellationTokenSource _stop = new(TimeSpan.FromSeconds(90));

    private string At(string name) => Path.Combine(_folder.FullName, name);

    /// <summary>An authority that is 500 days old, as it signs so many days from now.</summary>
    private Authority AuthorityAt(int days)
    {
        if (!Authority.ExistsIn(At("first/pki"))) Authority.Create(At("first/pki"), "siterecovery", new ClockAt(-500)).Dispose();
        return Authority.Load(At("first/pki"), new ClockAt(days));
    }

    [Fact]
    public async Task All_that_runs_renews_its_certificate_and_shows_the_new_one()
    {
        var clock = new JumpingClock(TimeSpan.FromDays(-340)); // all certificates end 25 days from now
        var sites = new TwoSites { NodeClock = clock, AgentClock = clock };
        try
        {
            await sites.InitializeAsync();
            string[] folders = ["secondary/pki", "primary/pki", "agent/pki"];
            var former = folders.Select(f => CertificateIn(sites.At(f))).ToArray();
            var systems = sites.Nodes.Select(n => n.Actors).ToArray();
            Assert.All(former, certificate => Assert.True(certificate.NotAfter < TimeProvider.System.GetLocalNow().AddDays(26)));
            foreach (var node in sites.Nodes) Assert.Contains(await ShownAsync(node.Endpoints.Agent), former);

            clock.JumpTo(TimeSpan.Zero);
            await sites.UntilAsync(() => Task.FromResult(folders.Select(f => CertificateIn(sites.At(f))).Zip(former, (now, then) => !now.Equals(then)).All(isAnother => isAnother)));
            var renewed = folders.Select(f => CertificateIn(sites.At(f))).ToArray();
            Assert.Equal(former.Select(Peer.Of), renewed.Select(Peer.Of));
            Assert.All(renewed, certificate => Assert.True(certificate.NotAfter > TimeProvider.System.GetLocalNow().AddDays(360)));
            foreach (var (node, own) in sites.Nodes.Zip(renewed))
                foreach (var port in new[] { node.Endpoints.Http, node.Endpoints.Data, node.Endpoints.Agent })
                    Assert.Equal(own, await ShownAsync(port));
            Assert.Equal(renewed[2], await ShownAsync(sites.AgentNbd.Port, startTls: true));

            // The actor systems cannot take another one: they started anew, and found each other again.
            await sites.UntilAsync(() => Task.FromResult(systems.All(s => s.WhenTerminated.IsCompleted)));
            await sites.UntilAsync(async () =>
            {
                using var answer = await sites.Http.GetAsync("/api/v1/nodes", sites.Stop);
                return answer.IsSuccessStatusCode && JsonNode.Parse(await answer.Content.ReadAsStringAsync(sites.Stop))!["items"]!.AsArray().Count(n => (bool?)n!["reachable"] == true && n["name"] is not null) == 2;
            });
            foreach (var (node, own) in sites.Nodes.Zip(renewed)) Assert.Equal(own, await ShownAsync(node.Endpoints.Cluster));
            await sites.UntilAsync(async () =>
            {
                using var answer = await sites.Http.GetAsync("/api/v1/agents/host1", sites.Stop);
                return answer.IsSuccessStatusCode && (bool)JsonNode.Parse(await answer.Content.ReadAsStringAsync(sites.Stop))!["connected"]!;
            });
            var audit = (await sites.GetAsync("/api/v1/audit"))["items"]!.AsArray();
            Assert.Equal(["host1", Peer.Of(renewed[1])!.Name], audit.Where(e => (string)e!["action"]! == "renew-certificate").Select(e => (string)e!["by"]!).Order(StringComparer.Ordinal));
        }
        finally
        {
            await sites.DisposeAsync();
        }
    }

    [Fact]
    public async Task Who_was_off_until_its_certificate_had_expired_comes_back_as_who_it_was()
    {
        using (var old = AuthorityAt(-400))
        {
            old.IssueInto(At("first/pki"), "first-1", PeerRole.Node).Dispose();
            old.IssueInto(At("second/pki"), "second-1", PeerRole.Node).Dispose();
            old.IssueInto(At("agent/pki"), "agent-1", PeerRole.Agent).Dispose();
        }
        await File.WriteAllTextAsync(At("second/cluster.json"), """{"seedNodes":["akka.ssl.tcp://siterecovery@127.0.0.1:9"],"configurationServer":"https://127.0.0.1:9"}""", _stop.Token);
        await File.WriteAllTextAsync(At("agent/agent.json"), """{"name":"agent-1","site":"lab","processServers":[{"host":"127.0.0.1","port":9}],"configurationServers":["https://127.0.0.1:9"]}""", _stop.Token);

        // The first node is believed as soon as it answers.
        await using var first = await StartAsync("first", "first-1", "configuration-server,process-server", null);
        Assert.Equal(new Peer("first-1", PeerRole.Node), Peer.Of(CertificateIn(At("first/pki"))));
        using var http = new HttpClient(PeerTrust.HttpHandler(CertificateIn(At("first/pki"), "ca.crt"))) { BaseAddress = new Uri(first.Endpoints.HttpUrl) };
        http.DefaultRequestHeaders.Authorization = new("Bearer", (await File.ReadAllTextAsync(At("first/admin.token"), _stop.Token)).Trim());
        await UntilAsync(async () => (await http.GetAsync("/healthz/ready", _stop.Token)).IsSuccessStatusCode);

        // The others join anew, with a token; what they were told to join with before does nothing any more.
        await File.WriteAllTextAsync(At("token"), JoinToken.Create(PeerIdentity.Load(At("first/pki")).Fingerprint).ToString(), _stop.Token);
        var (join, agentOptions) = (new JoinOrder(first.Endpoints.HttpUrl, At("token")), new AgentOptions(At("agent"), first.Endpoints.HttpUrl, At("token"), "another-name"));
        await (await StartAsync("second", "second-1", "process-server", join)).DisposeAsync(); // it serves what it has all the same
        var refused = await Assert.ThrowsAsync<AgentProblem>(() => AgentService.StartAsync(agentOptions, TimeProvider.System, _stop.Token));
        Assert.Matches("^the certificate of agent 'agent-1' expired on .*, and joining anew failed: .*joinTokenInvalid", refused.Message);
        using (var untold = new Membership(agentOptions with { JoinUrl = null }, TimeProvider.System))
        {
            await untold.LoadAsync(_stop.Token);
            Assert.Contains("expired on ", untold.Problem, StringComparison.Ordinal);
            Assert.Contains("start the agent with --join URL and --token-file FILE", untold.Problem, StringComparison.Ordinal);
        }

        await File.WriteAllTextAsync(At("token"), await TokenAsync(http, "nodes"), _stop.Token);
        await using var second = await StartAsync("second", "second-1", "process-server", join);
        await UntilAsync(async () => (await ItemsAsync(http, "/api/v1/nodes")).Any(n => (string?)n!["name"] == "second-1" && (bool)n["reachable"]!));
        await File.WriteAllTextAsync(At("token"), await TokenAsync(http, "agents"), _stop.Token);
        await using var agent = await AgentService.StartAsync(agentOptions, TimeProvider.System, _stop.Token);
        using var over = new CancellationTokenSource();
        var running = agent.RunAsync(over.Token);
        await UntilAsync(async () => (await ItemsAsync(http, "/api/v1/agents")).Any(a => (string?)a!["name"] == "agent-1" && (bool)a["connected"]!));
        await over.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => running);
        await RefusesAsync(first);
        // Whoever asks in a loop must not push everything else out of the audit log.
        Assert.Single(await ItemsAsync(http, "/api/v1/audit"), e => (string?)e!["action"] == "renew-certificate" && (string?)e["by"] == "agent-1");
    }

    /// <summary>Nobody gets a certificate who does not show a good one, and none that is older than the peer's newest joining: whose key was stolen joins anew, and what the thief has ends.</summary>
    private async Task RefusesAsync(RunningNode first)
    {
        var (ca, good) = (CertificateIn(At("first/pki"), "ca.crt"), JoinRequest.Create("agent-1").RequestPem);
        using var ended = AuthorityAt(-400).Issue("agent-1", PeerRole.Agent);
        using var unknown = AuthorityAt(0).Issue("agent-2", PeerRole.Agent);
        using var known = PeerIdentity.Load(At("agent/pki"));
        using var superseded = AuthorityAt(-300).Issue("agent-1", PeerRole.Agent);
        using var renewedSince = AuthorityAt(1).Issue("agent-1", PeerRole.Agent); // a certificate holds from the day before it is signed
        foreach (var (own, csr, status, code) in new[] { (null, good, 401, "notAuthenticated"), (ended.Certificate, good, 401, "notAuthenticated"), (unknown.Certificate, good, 404, "notFound"), (known.Certificate, "nothing", 400, "invalid"), (superseded.Certificate, good, 403, "certificateSuperseded") })
        {
            using var client = new HttpClient(PeerTrust.HttpHandler(ca, own)) { BaseAddress = new Uri(first.Endpoints.HttpUrl) };
            var problem = await TwoSites.ProblemAsync(await client.PostAsJsonAsync("/api/v1/certificates", new RenewalAsk(csr), _stop.Token), status, code);
            if (status == 403) Assert.Contains("srctl agent join-token", (string)problem["remedy"]!, StringComparison.Ordinal);
        }
        foreach (var own in (X509Certificate2[])[known.Certificate, known.Certificate, renewedSince.Certificate])
        {
            using var client = new HttpClient(PeerTrust.HttpHandler(ca, own)) { BaseAddress = new Uri(first.Endpoints.HttpUrl) };
            using var answer = await client.PostAsJsonAsync("/api/v1/certificates", new RenewalAsk(good), _stop.Token);
            Assert.True(answer.IsSuccessStatusCode, await answer.Content.ReadAsStringAsync(_stop.Token));
        }
    }

    private async Task<RunningNode> StartAsync(string folder, string name, string roles, JoinOrder? join)
    {
        var config = SettingsLoader.Installed().Load(null, new Dictionary<string, string>(), new Dictionary<string, string>
        {
            ["siterecovery.node.site"] = "lab", ["siterecovery.node.name"] = name, ["siterecovery.node.roles"] = roles, ["siterecovery.log.level"] = "warning",
            ["siterecovery.ports.http"] = "0", ["siterecovery.ports.cluster"] = "0", ["siterecovery.ports.data"] = "0", ["siterecovery.ports.agent"] = "0",
        });
        return await RunningNode.StartAsync(NodeSettings.Of(config, At(folder)), config, join, TimeProvider.System, _stop.Token);
    }

    private async Task<string> TokenAsync(HttpClient http, string kind)
    {
        using var answer = await http.PostAsJsonAsync($"/api/v1/{kind}/join-tokens", new { site = "lab" }, _stop.Token);
        return (string)(await answer.Content.ReadFromJsonAsync<JsonNode>(_stop.Token))!["token"]!;
    }

    private async Task<JsonArray> ItemsAsync(HttpClient http, string path) => JsonNode.Parse(await http.GetStringAsync(path, _stop.Token))!["items"]!.AsArray();

    private async Task UntilAsync(Func<Task<bool>> holds)
    {
        using var timer = new PeriodicTimer(TimeSpan.FromMilliseconds(100));
        while (!await holds()) await timer.WaitForNextTickAsync(_stop.Token);
    }

    private static X509Certificate2 CertificateIn(string pki, string file = "node.crt") => X509CertificateLoader.LoadCertificateFromFile(Path.Combine(pki, file));

    /// <summary>What a port shows to whoever connects now.</summary>
    private async Task<X509Certificate2> ShownAsync(int port, bool startTls = false)
    {
        using var client = new TcpClient();
        await client.ConnectAsync(IPAddress.Loopback, port, _stop.Token);
        if (startTls) await StartTlsAsync(client.GetStream());
        X509Certificate2? shown = null;
        await using var stream = new SslStream(client.GetStream());
        // Without a certificate of one's own the other end goes away, but not before it has shown its own.
        await stream.AuthenticateAsClientAsync(new SslClientAuthenticationOptions
        {
            TargetHost = "siterecovery",
            RemoteCertificateValidationCallback = (_, certificate, _, _) => (shown = X509CertificateLoader.LoadCertificate(certificate!.GetRawCertData())) is not null,
        }, _stop.Token).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        return shown!;
    }

    /// <summary>NBD's greeting, client flags and NBD_OPT_STARTTLS.</summary>
    private async Task StartTlsAsync(NetworkStream stream)
    {
        await stream.ReadExactlyAsync(new byte[18], _stop.Token);
        await stream.WriteAsync(new byte[] { 0, 0, 0, 3, 0x49, 0x48, 0x41, 0x56, 0x45, 0x4F, 0x50, 0x54, 0, 0, 0, 5, 0, 0, 0, 0 }, _stop.Token);
        await stream.ReadExactlyAsync(new byte[20], _stop.Token);
    }

    public void Dispose()
    {
        _stop.Dispose();
        _folder.Delete(recursive: true);
    }

    /// <summary>Off by so much. A wait of an hour or more ends with the jump, all others as they would.</summary>
    private sealed class JumpingClock(TimeSpan off) : TimeProvider
    {
        private readonly List<LongWait> _waits = [];
        private TimeSpan _off = off;

        public override DateTimeOffset GetUtcNow()
        {
            lock (_waits) return System.GetUtcNow() + _off;
        }

        internal void JumpTo(TimeSpan off)
        {
            LongWait[] over;
            lock (_waits) (_off, over) = (off, [.. _waits]);
            foreach (var wait in over) wait.End();
        }

        public override ITimer CreateTimer(TimerCallback callback, object? state, TimeSpan dueTime, TimeSpan period)
        {
            if (dueTime < TimeSpan.FromHours(1) || dueTime == Timeout.InfiniteTimeSpan) return System.CreateTimer(callback, state, dueTime, period);
            var wait = new LongWait(() => callback(state));
            lock (_waits) _waits.Add(wait);
            return wait;
        }

        private sealed class LongWait(Action end) : ITimer
        {
            private Action? _end = end;

            internal void End() => Interlocked.Exchange(ref _end, null)?.Invoke();
            public bool Change(TimeSpan dueTime, TimeSpan period) => throw new NotSupportedException("long waits here are of one kind only");
            public void Dispose() => _end = null;

            public ValueTask DisposeAsync()
            {
                Dispose();
                return default;
            }
        }
    }
}
