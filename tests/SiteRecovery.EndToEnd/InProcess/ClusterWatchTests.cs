using System.Net;
using System.Net.Sockets;
using Akka.Actor;
using Akka.Cluster;
using Akka.Configuration;
using SiteRecovery.Actors.Sites;
using SiteRecovery.Node.Hosting;

namespace SiteRecovery.EndToEnd.InProcess;

/// <summary>A member that misses the configuration server gives its cluster up for a node that answers, and not for one that was heard once.</summary>
public sealed class ClusterWatchTests : IAsyncLifetime
{
    private static readonly TimeSpan Patience = TimeSpan.FromMilliseconds(300), Bound = TimeSpan.FromSeconds(30);
    private readonly ActorSystem _system = ActorSystem.Create("watched", ConfigurationFactory.ParseString($$"""
        akka.loglevel = OFF
        akka.stdout-loglevel = OFF
        akka.actor.provider = cluster
        akka.remote.dot-netty.tcp { hostname = "127.0.0.1", port = 0 }
        akka.cluster.roles = ["{{NodeRoles.ProcessServer}}"]
        """));
    private readonly TcpListener _other = new(IPAddress.Loopback, 0);

    [Fact]
    public async Task A_node_that_is_no_member_answers_twice_before_a_cluster_is_given_up()
    {
        _other.Start();
        var begun = new TaskCompletionSource();
        var watch = Watch(begun);
        for (var answer = 1; answer <= 2; answer++)
        {
            Assert.False(begun.Task.IsCompleted);
            using var heard = await _other.AcceptSocketAsync().WaitAsync(Bound);
        }
        await begun.Task.WaitAsync(Bound);
        await watch.GracefulStop(Bound);
    }

    private IActorRef Watch(TaskCompletionSource begun)
    {
        Cluster.Get(_system).Join(Cluster.Get(_system).SelfAddress);
        var known = $"akka.tcp://watched@127.0.0.1:{((IPEndPoint)_other.LocalEndpoint).Port}";
        return _system.ActorOf(Props.Create(() => new ClusterWatch(Patience, new[] { known }, () => begun.TrySetResult())));
    }

    public Task InitializeAsync() => Task.CompletedTask;

    public async Task DisposeAsync()
    {
        _other.Dispose();
        await _system.Terminate();
    }
}
