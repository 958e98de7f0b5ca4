using System.Net;
using System.Net.Sockets;
using SiteRecovery.DataPlane.Transport;
using SiteRecovery.EndToEnd.Guests;
using SiteRecovery.Node.Hosting;
using SiteRecovery.Node.Identity;
using SiteRecovery.Node.Settings;

namespace SiteRecovery.EndToEnd.InProcess;

/// <summary>What a node is started with: where it listens, and what is refused in a sentence.</summary>
public sealed class NodeStartTests : IDisposable
{
    private readonly DirectoryInfo _folder = Directory.CreateTempSubdirectory("sr-start-");
    private readonly CancellationTokenSource _stop = new(TimeSpan.FromMinutes(2));

    private string Data => Path.Combine(_folder.FullName, "data");

    [Fact]
    public async Task Without_a_configuration_server_no_cluster_is_begun_and_nothing_is_written()
    {
        var refused = await Assert.ThrowsAsync<SettingsException>(() => StartAsync("127.0.0.1", "process-server,master-target"));
        Assert.Contains("give --join URL and --token-file FILE to join one, or the role configuration-server", refused.Message, StringComparison.Ordinal);
        Assert.False(Directory.Exists(Data));
    }

    /// <summary>Its configuration server may be another one's by now, with a shared journal.</summary>
    [Fact]
    public async Task A_node_that_has_begun_one_starts_without_the_role()
    {
        using (var folder = new DataFolder(Data)) NodeIdentity.First(folder, SettingsOf("127.0.0.1", "console").Settings, TimeProvider.System);
        await using var node = await StartAsync("127.0.0.1", "console");
        Assert.Equal("127.0.0.1", node.Endpoints.Address);
    }

    [Fact]
    public async Task A_name_is_bound_where_it_leads_and_told_as_it_is()
    {
        await using var node = await StartAsync("localhost", "configuration-server,process-server,master-target");
        var (told, at) = (node.Endpoints.HttpUrl, node.Endpoints);
        Assert.Equal($"https://localhost:{at.Http}", told);
        await ReadyAsync(node);
        foreach (var port in new[] { at.Http, at.Cluster, at.Data, at.Agent })
        {
            using var here = new TcpClient();
            await here.ConnectAsync(IPAddress.Loopback, port, _stop.Token);
            using var elsewhere = new TcpClient();
            Assert.Equal(SocketError.ConnectionRefused, (await Assert.ThrowsAsync<SocketException>(async () => await elsewhere.ConnectAsync(IPAddress.Parse("127.0.0.2"), port, _stop.Token))).SocketErrorCode);
        }
        NobodyListensBeside(at.Cluster);
    }

    /// <summary>Where whoever listens allows it, Linux gives every other connection to whoever listens beside.</summary>
    private static void NobodyListensBeside(int port)
    {
        using var beside = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        beside.SetSocketOption(SocketOptionLevel.Socket, SocketOptionName.ReuseAddress, true);
        Assert.Equal(SocketError.AddressAlreadyInUse, Assert.Throws<SocketException>(() =>
        {
            beside.Bind(new IPEndPoint(IPAddress.Loopback, port));
            beside.Listen();
        }).SocketErrorCode);
    }

    [Fact]
    public async Task An_address_of_version_6_needs_no_brackets()
    {
        await using var node = await StartAsync("::1", "configuration-server,process-server,master-target");
        Assert.Equal($"https://[::1]:{node.Endpoints.Http}", node.Endpoints.HttpUrl);
        await ReadyAsync(node);
    }

    [Fact]
    public async Task What_cannot_be_is_said_in_a_line()
    {
        using var other = new TcpListener(IPAddress.Loopback, 0);
        other.Start();
        var port = $"{((IPEndPoint)other.LocalEndpoint).Port}";
        foreach (var (option, value, code, why) in new[]
        {
            ("--address", "nowhere.invalid", 2, "'nowhere.invalid', and this host does not know that name"), ("--address", "0.0.0.0", 2, "cannot reach this one there"),
            ("--data-port", port, 1, $"the node cannot start: port {port} of 127.0.0.1 is in use by another process"),
        })
        {
            var said = await HostProgram.RunAsync("dotnet", [Path.Combine(AppContext.BaseDirectory, "siterecovery.dll"), "node", "--site", "lab", "--roles", "configuration-server,master-target", "--data", Data,
                "--http-port", "0", "--cluster-port", "0", "--agent-port", "0", .. option == "--data-port" ? Array.Empty<string>() : ["--data-port", "0"], option, value], null, code);
            Assert.Contains(why, said, StringComparison.Ordinal);
            Assert.Single(said.TrimEnd().Split('\n'));
        }
    }

    private async Task ReadyAsync(RunningNode node)
    {
        using var http = new HttpClient(PeerTrust.HttpHandler(PeerIdentity.Load(Path.Combine(Data, "pki")).AuthorityCertificate));
        using var timer = new PeriodicTimer(TimeSpan.FromMilliseconds(100));
        while (true)
        {
            using var answer = await http.GetAsync($"{node.Endpoints.HttpUrl}/healthz/ready", _stop.Token);
            if (answer.IsSuccessStatusCode) return;
            await timer.WaitForNextTickAsync(_stop.Token);
        }
    }

    private async Task<RunningNode> StartAsync(string address, string roles)
    {
        var (settings, config) = SettingsOf(address, roles);
        return await RunningNode.StartAsync(settings, config, null, TimeProvider.System, _stop.Token);
    }

    private (NodeSettings Settings, Akka.Configuration.Config Config) SettingsOf(string address, string roles)
    {
        var config = SettingsLoader.Installed().Load(null, new Dictionary<string, string>(), new Dictionary<string, string>
        {
            ["siterecovery.node.site"] = "lab", ["siterecovery.node.roles"] = roles, ["siterecovery.node.address"] = address, ["siterecovery.log.level"] = "warning",
            ["siterecovery.ports.http"] = "0", ["siterecovery.ports.cluster"] = "0", ["siterecovery.ports.data"] = "0", ["siterecovery.ports.agent"] = "0",
        });
        return (NodeSettings.Of(config, Data), config);
    }

    public void Dispose()
    {
        _stop.Dispose();
        _folder.Delete(recursive: true);
    }
}
