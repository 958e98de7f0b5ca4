using System.Net;
using System.Net.Sockets;
using Akka.Actor;
using Akka.Cluster;
using Akka.Configuration;
using SiteRecovery.Actors.Serialization;
using SiteRecovery.Actors.Sites;
using SiteRecovery.Domain.Vaults;
using SiteRecovery.Node.Hosting;

namespace SiteRecovery.EndToEnd.InProcess;

/// <summary>A member that misses the configuration server gives its cluster up for one that has another cluster with one, or for a node that answers, and not for one that was heard once.</summary>
public sealed class ClusterWatchTests : IAsyncLifetime
{
    private static readonly TimeSpan Soon = TimeSpan.FromMilliseconds(300), Never = TimeSpan.FromHours(1), Bound = TimeSpan.FromSeconds(30);
    private readonly ActorSystem _system = SystemOf(NodeRoles.ProcessServer), _elsewhere = SystemOf(NodeRoles.ConfigurationServer);
    private readonly TcpListener _other = new(IPAddress.Loopback, 0);

    [Fact]
    public async Task A_node_that_is_no_member_answers_twice_before_a_cluster_is_given_up()
    {
        _other.Start();
        var begun = new TaskCompletionSource();
        var watch = Watch(begun, Soon, Never, $"akka.tcp://watched@127.0.0.1:{((IPEndPoint)_other.LocalEndpoint).Port}");
        for (var answer = 1; answer <= 2; answer++)
        {
            Assert.False(begun.Task.IsCompleted);
            using var heard = await _other.AcceptSocketAsync().WaitAsync(Bound);
        }
        await begun.Task.WaitAsync(Bound);
        await watch.GracefulStop(Bound);
    }

    [Fact]
    public async Task A_configuration_server_that_says_it_has_a_cluster_of_its_own_is_followed_at_once()
    {
        var begun = new TaskCompletionSource();
        var watch = Watch(begun, Never, Soon, AddressOf(_elsewhere));
        // It only listens yet: it may be about to join here.
        var probe = _system.ActorSelection(AddressOf(_elsewhere) + "/user/" + SiteActor.Name);
        Assert.Empty((await probe.Ask<Membership>(new GetMembership(), Bound)).Members);
        Assert.False(begun.Task.IsCompleted);

        Cluster.Get(_elsewhere).Join(Cluster.Get(_elsewhere).SelfAddress);
        await begun.Task.WaitAsync(Bound);
        await watch.GracefulStop(Bound);
    }

    private IActorRef Watch(TaskCompletionSource begun, TimeSpan patience, TimeSpan askEvery, string known)
    {
        Cluster.Get(_system).Join(Cluster.Get(_system).SelfAddress);
        return _system.ActorOf(Props.Create(() => new ClusterWatch(patience, askEvery, new[] { known }, () => begun.TrySetResult())));
    }

    private static string AddressOf(ActorSystem system) => Cluster.Get(system).SelfAddress.ToString();

    private static ActorSystem SystemOf(string role)
    {
        var system = ActorSystem.Create("watched", ConfigurationFactory.ParseString($$"""
            akka.loglevel = OFF
            akka.stdout-loglevel = OFF
            akka.actor.provider = cluster
            akka.remote.dot-netty.tcp { hostname = "127.0.0.1", port = 0 }
            akka.cluster.roles = ["{{role}}"]
            """).WithFallback(ConfigurationFactory.ParseString(SerializationSettings.Hocon)));
        system.ActorOf(SiteActor.Props(new NodeAnnouncement(role, AddressOf(system), new SiteName("secondary"), [role], "127.0.0.1", "https://127.0.0.1:1", 1, 1, [], StoresHeld.None)), SiteActor.Name);
        return system;
    }

    public Task InitializeAsync() => Task.CompletedTask;

    public async Task DisposeAsync()
    {
        _other.Dispose();
        await _system.Terminate();
        await _elsewhere.Terminate();
    }
}
