using System.Net;
using System.Net.Sockets;
using Akka.Actor;
using Akka.Cluster;
using Akka.Remote;
using SiteRecovery.DataPlane.Transport;
using SiteRecovery.Node.Hosting;
using SiteRecovery.Node.Settings;

namespace SiteRecovery.EndToEnd.InProcess;

/// <summary>A node's actor system ends when its side of a partition is taken down, not for less, and always comes back.</summary>
public sealed class ActorSystemLifeTests : IDisposable
{
    private static readonly TimeSpan Watched = TimeSpan.FromSeconds(3);
    private readonly DirectoryInfo _folder = Directory.CreateTempSubdirectory("sr-actors-");
    private readonly CancellationTokenSource _stop = new(TimeSpan.FromMinutes(2));

    /// <summary>A peer that dies, or a line that does: whoever was connecting to it stays up, and can still be stopped.</summary>
    [Fact]
    public async Task A_peer_that_hangs_up_in_the_TLS_handshake_does_not_end_it()
    {
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        var hanging = HangUpAsync(listener);
        await using (var node = await StartAsync())
        {
            using var http = ClientOf(node);
            await UntilAsync(http, HttpStatusCode.OK);
            var system = node.Actors;
            using var inbox = Inbox.Create(system);
            system.EventStream.Subscribe(inbox.Receiver, typeof(AssociationErrorEvent));
            system.ActorSelection($"{ClusterHosting.AddressOf("127.0.0.1", ((IPEndPoint)listener.LocalEndpoint).Port)}/user/nobody").Tell("anybody there?");
            Assert.IsType<AssociationErrorEvent>(await inbox.ReceiveAsync(Watched * 4));
            Assert.NotSame(system.WhenTerminated, await Task.WhenAny(system.WhenTerminated, Task.Delay(Watched, _stop.Token)));
            Assert.Same(system, node.Actors);
            // Being taken down still ends it, though only one shutdown of a system ever runs, and another one begins.
            Cluster.Get(system).Down(Cluster.Get(system).SelfAddress);
            await system.WhenTerminated.WaitAsync(Watched * 10, _stop.Token);
            await UntilAsync(http, HttpStatusCode.OK);
            Assert.NotSame(system, node.Actors);
        }
        listener.Stop();
        await hanging;
    }

    [Fact]
    public async Task It_comes_back_also_when_it_could_not_at_first()
    {
        await using var node = await StartAsync();
        using var http = ClientOf(node);
        await UntilAsync(http, HttpStatusCode.OK);
        await node.Actors.Terminate();
        using (var taken = new TcpListener(IPAddress.Loopback, node.Endpoints.Cluster))
        {
            taken.Start();
            await UntilAsync(http, HttpStatusCode.ServiceUnavailable);
            await Task.Delay(Watched, _stop.Token); // time for an attempt that fails, as its port is taken
        }
        await UntilAsync(http, HttpStatusCode.OK);
    }

    private HttpClient ClientOf(RunningNode node) =>
        new(PeerTrust.HttpHandler(PeerIdentity.Load(Path.Combine(_folder.FullName, "pki")).AuthorityCertificate)) { BaseAddress = new Uri(node.Endpoints.HttpUrl) };

    private async Task UntilAsync(HttpClient http, HttpStatusCode wanted)
    {
        using var timer = new PeriodicTimer(TimeSpan.FromMilliseconds(50));
        while (true)
        {
            using var answer = await http.GetAsync("/healthz/ready", _stop.Token);
            if (answer.StatusCode == wanted) return;
            await timer.WaitForNextTickAsync(_stop.Token);
        }
    }

    private async Task<RunningNode> StartAsync()
    {
        var settings = SettingsLoader.Installed().Load(null, new Dictionary<string, string>(), new Dictionary<string, string>
        {
            ["siterecovery.node.site"] = "lab", ["siterecovery.node.roles"] = "configuration-server",
            ["siterecovery.ports.http"] = "0", ["siterecovery.ports.cluster"] = "0", ["siterecovery.ports.data"] = "0", ["siterecovery.ports.agent"] = "0",
        });
        return await RunningNode.StartAsync(NodeSettings.Of(settings, _folder.FullName), settings, null, TimeProvider.System, _stop.Token);
    }

    private static async Task HangUpAsync(TcpListener listener)
    {
        try
        {
            while (true) (await listener.AcceptSocketAsync()).Close();
        }
        catch (Exception stopped) when (stopped is SocketException or ObjectDisposedException)
        {
            // The test is over.
        }
    }

    public void Dispose()
    {
        _stop.Dispose();
        _folder.Delete(recursive: true);
    }
}
