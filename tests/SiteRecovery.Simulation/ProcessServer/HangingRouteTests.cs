using System.Net;
using System.Net.Sockets;
using Akka.Actor;
using SiteRecovery.Actors.ProcessServers;
using SiteRecovery.Actors.Sites;
using SiteRecovery.DataPlane.ProcessServer;
using SiteRecovery.DataPlane.Transport;
using SiteRecovery.Domain.History;
using SiteRecovery.Domain.Policies;
using SiteRecovery.Domain.ProtectedMachines;
using SiteRecovery.Domain.Results;
using SiteRecovery.Domain.Vaults;
using SiteRecovery.Simulation.World;

namespace SiteRecovery.Simulation.ProcessServer;

/// <summary>A process server's disk hangs while it is to keep a machine's route.</summary>
public sealed class HangingRouteTests : IAsyncLifetime
{
    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(10), Awhile = TimeSpan.FromMilliseconds(300);
    private static readonly SiteName Lyon = new("lyon"), Paris = new("paris");
    private static readonly AgentName Agent = new("a1");
    private static readonly MachineId Machine = new("db1");
    private readonly SimDisk _disk = new();
    private readonly ManualResetEventSlim _goesOn = new(), _hangs = new();
    private readonly CancellationTokenSource _over = new();
    private readonly ActorSystem _system = ActorSystem.Create("hanging", "akka.loglevel = OFF\nakka.stdout-loglevel = OFF");
    private ProcessServerRoom _room = null!;
    private IActorRef _server = null!;

    public Task InitializeAsync()
    {
        _room = new ProcessServerRoom("/relay", 1 << 20, routes => new Upstreams(routes, (_, _) => throw new IOException("nobody is there")), _disk, TimeProvider.System);
        _server = _system.ActorOf(ProcessServerActor.Props(_room, ActorRefs.Nobody, ActorRefs.Nobody, TimeProvider.System));
        _server.Tell(new Nodes([new NodeAnnouncement("n1", "", Lyon, [NodeRoles.MasterTarget], "", "", 1, 2, [], StoresHeld.None)]));
        _disk.After = io =>
        {
            if (io.Kind != IoKind.Rename || !io.Path.Contains("routes.json", StringComparison.Ordinal)) return;
            _hangs.Set();
            _goesOn.Wait(TimeSpan.FromSeconds(60));
        };
        return Task.CompletedTask;
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Whatever_else_the_process_server_is_asked_is_answered(bool ofReplica)
    {
        _server.Tell(Replicate() with { Replica = ofReplica ? new ReplicaSource("n1", new Epoch(1), new RecoveryPoint(Epoch.First, new Sequence(1), DateTimeOffset.UnixEpoch, PointKind.CrashConsistent)) : null });
        await UntilAsync(() => _hangs.IsSet);
        var answer = await _server.Ask<AgentAnswer>(new InspectAgentDisk(Agent, "/disks/a.img"), Limit);
        Assert.Contains("is not connected", answer.Error, StringComparison.Ordinal);
        Assert.Null(_room.Routes.Find(Machine));
        _goesOn.Set();
        await UntilAsync(() => _room.Routes.Find(Machine)?.FromNode == ofReplica);
    }

    /// <summary>Its stream would not be let in by the next process, and nobody would tell it the route.</summary>
    [Fact]
    public async Task The_agent_is_told_when_the_route_is_kept()
    {
        await using var agent = await ConnectAsync();
        _server.Tell(Replicate());
        await UntilAsync(() => _hangs.IsSet);
        _server.Tell(Replicate() with { Round = 2 });
        var told = agent.ReceiveMessageAsync(_over.Token).AsTask();
        // Nor when it connects anew, or for another reason.
        _server.Tell(new AgentConnected(Agent.Value, "1", []));
        await Task.Delay(Awhile);
        Assert.False(told.IsCompleted);
        _goesOn.Set();
        Assert.Equal(2, Assert.IsType<ProtectMachine>(await told.WaitAsync(Limit)).Round);
    }

    /// <summary>After a failover that was called off its guest waits for nothing but this.</summary>
    [Fact]
    public async Task An_agent_that_is_let_in_already_is_told_of_the_next_epoch_at_once()
    {
        await using var agent = await ConnectAsync();
        var hanging = _disk.After;
        _disk.After = null;
        _room.Routes.Set(Machine, new MachineRoute(Agent.Value, ReplicationPolicy.Default.Compression, null, 0, Epoch: 1));
        _disk.After = hanging;
        _server.Tell(Replicate() with { Epoch = new Epoch(3) });
        Assert.Equal(3, Assert.IsType<ProtectMachine>(await agent.ReceiveMessageAsync(_over.Token).AsTask().WaitAsync(Limit)).Epoch);
        await UntilAsync(() => _hangs.IsSet);
        Assert.Equal(1, _room.Routes.Find(Machine)!.Epoch);
        _goesOn.Set();
        await UntilAsync(() => _room.Routes.Find(Machine)!.Epoch == 3);
    }

    [Fact]
    public async Task What_was_released_meanwhile_is_not_told_to_begin()
    {
        await using var agent = await ConnectAsync();
        _server.Tell(Replicate());
        await UntilAsync(() => _hangs.IsSet);
        _server.Tell(new ReleaseAgent(Machine, Epoch.First, Agent));
        Assert.IsType<ReleaseMachine>(await agent.ReceiveMessageAsync(_over.Token).AsTask().WaitAsync(Limit));
        _goesOn.Set();
        var told = agent.ReceiveMessageAsync(_over.Token).AsTask();
        await UntilAsync(() => _room.Routes.Find(Machine) is not null);
        await Task.Delay(Awhile);
        Assert.False(told.IsCompleted);
    }

    private async Task<ControlChannel> ConnectAsync()
    {
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        var near = new TcpClient();
        await near.ConnectAsync((IPEndPoint)listener.LocalEndpoint);
        var far = await listener.AcceptTcpClientAsync();
        _ = _room.Sessions.RunAsync(new ControlChannel(far.GetStream(), new Peer(Agent.Value, PeerRole.Agent)), _over.Token);
        var agent = new ControlChannel(near.GetStream());
        await agent.SendAsync(new AgentHello(Agent.Value, "1", []), _over.Token);
        await UntilAsync(() => _room.Sessions.Connected.Count > 0);
        return agent;
    }

    private static ReplicateFrom Replicate() =>
        new(Machine, Epoch.First, Agent, [], Lyon, Paris, ReplicationPolicy.Default, Paused: false, Synchronize: true, Round: 1, Protection: Epoch.First);

    private static async Task UntilAsync(Func<bool> isSo)
    {
        for (var waited = TimeSpan.Zero; !isSo(); waited += TimeSpan.FromMilliseconds(10), await Task.Delay(10)) Assert.InRange(waited, TimeSpan.Zero, Limit);
    }

    public async Task DisposeAsync()
    {
        _goesOn.Set();
        await _over.CancelAsync();
        await _system.Terminate();
        await _room.DisposeAsync();
        _goesOn.Dispose();
        _hangs.Dispose();
        _over.Dispose();
    }
}
