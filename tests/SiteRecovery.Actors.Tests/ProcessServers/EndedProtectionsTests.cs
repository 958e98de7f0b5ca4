using System.Diagnostics;
using System.Net;
using Akka.Actor;
using Akka.Configuration;
using Akka.TestKit;
using Akka.TestKit.Xunit2;
using SiteRecovery.Actors.ProcessServers;
using SiteRecovery.Actors.ProtectedMachines;
using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.DataPlane.ProcessServer;
using SiteRecovery.DataPlane.Storage;
using SiteRecovery.DataPlane.Transport;
using SiteRecovery.Domain.History;
using SiteRecovery.Domain.Policies;
using SiteRecovery.Domain.Results;
using SiteRecovery.Domain.Vaults;

namespace SiteRecovery.Actors.Tests.ProcessServers;

/// <summary>A process server that the agent has left, or that a replica streamed over, and a protection that ends.</summary>
public sealed class EndedProtectionsTests : TestKit
{
    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(10), Awhile = TimeSpan.FromMilliseconds(300);
    private static readonly MachineId Vm = new("vm1");
    private static readonly AgentName Agent = new("a1");
    private readonly string _folder = Directory.CreateTempSubdirectory("sr-ended").FullName;
    private readonly ProcessServerRoom _room;
    private readonly TestProbe _machine;

    public EndedProtectionsTests() : base(ConfigurationFactory.ParseString("akka.loglevel = WARNING\nakka.scheduler.implementation = \"Akka.TestKit.TestScheduler, Akka.TestKit\""))
    {
        using var authority = Authority.LoadOrCreate(Path.Combine(_folder, "pki"), "test", TimeProvider.System);
        _room = new ProcessServerRoom(_folder, new IPEndPoint(IPAddress.Loopback, 0), 1 << 20, authority.IssueInto(Path.Combine(_folder, "node"), "n1", PeerRole.Node), RealFileSystem.Instance, TimeProvider.System);
        _machine = CreateTestProbe();
    }

    [Fact]
    public async Task A_release_that_it_hears_of_lets_it_forget_what_the_agent_left()
    {
        await StreamedAsync(1);
        Start().Tell(new ReleaseAgent(Vm, new Epoch(1), Agent));
        await AnswerAsync(1);
        await UntilAsync(() => KeepsNothing);
    }

    [Fact]
    public async Task One_that_was_down_then_asks_by_itself()
    {
        await StreamedAsync(1);
        Start();
        await AnswerAsync(1);
        await UntilAsync(() => KeepsNothing);
    }

    [Fact]
    public async Task A_replicas_route_is_forgotten_too()
    {
        _room.Routes.Set(Vm, new MachineRoute("n2", "zstd", "127.0.0.1", 1, FromNode: true, Epoch: 2));
        Start();
        await AnswerAsync(2);
        await UntilAsync(() => KeepsNothing);
    }

    /// <summary>The order for the new protection's agent may not have come by here yet, or have come first.</summary>
    [Theory]
    [InlineData(1, 2)]
    [InlineData(2, 2)]
    public async Task What_a_new_protection_sent_stays(int routed, int streamed)
    {
        await StreamedAsync(streamed, routed);
        Start().Tell(new ReleaseAgent(Vm, new Epoch(1), Agent));
        await AnswerAsync(1);
        await UntilAsync(() => routed > 1 || _room.Routes.Find(Vm) is null);
        await Task.Delay(Awhile);
        Assert.Equal((new Epoch(2), routed > 1), (_room.Spool.EpochOf(Vm), _room.Routes.Find(Vm) is not null));
    }

    [Fact]
    public async Task Protected_anew_by_another_agent_only_the_former_protections_spool_goes()
    {
        await StreamedAsync(1);
        var server = Start();
        server.Tell(Replicate(new AgentName("a2"), epoch: 2, protection: 2));
        await UntilAsync(() => _room.Spool.Machines.Count == 0 && _room.Routes.Find(Vm) is { Agent: "a2", Epoch: 2 });
        // The former agent is out of reach, and its release repeated for ever.
        server.Tell(new ReleaseAgent(Vm, new Epoch(2), Agent));
        await AnswerAsync(1);
        await Task.Delay(Awhile);
        Assert.Equal("a2", _room.Routes.Find(Vm)?.Agent);
    }

    [Fact]
    public async Task A_failover_within_one_protection_ends_nothing()
    {
        await StreamedAsync(1);
        Start().Tell(Replicate(Agent, epoch: 3, protection: 1));
        await UntilAsync(() => _room.Routes.Find(Vm) is { Epoch: 3 });
        await Task.Delay(Awhile);
        Assert.Equal(new Epoch(1), _room.Spool.EpochOf(Vm));
    }

    private bool KeepsNothing => _room.Routes.Find(Vm) is null && _room.Spool.Machines.Count == 0 && !Directory.EnumerateFiles(Path.Combine(_folder, "spool")).Any();

    private IActorRef Start() => Sys.ActorOf(ProcessServerActor.Props(_room, _machine, ActorRefs.Nobody, TimeProvider.System));

    /// <summary>The machine's, once it is asked. Minutes pass in a moment, once timers have begun.</summary>
    private async Task AnswerAsync(int upTo)
    {
        for (var begun = Stopwatch.StartNew(); begun.Elapsed < Limit && !_machine.HasMessages; await Task.Delay(10)) ((TestScheduler)Sys.Scheduler).Advance(TimeSpan.FromSeconds(10));
        Assert.Equal(new GetEndedProtections(Vm), _machine.ReceiveOne(TimeSpan.Zero));
        _machine.Reply(new ProtectionsEnded(Vm, new Epoch(upTo)));
    }

    private static async Task UntilAsync(Func<bool> isSo)
    {
        for (var begun = Stopwatch.StartNew(); !isSo(); await Task.Delay(10)) Assert.InRange(begun.Elapsed, TimeSpan.Zero, Limit);
    }

    private async Task StreamedAsync(int epoch, int? routed = null)
    {
        _room.Routes.Set(Vm, new MachineRoute(Agent.Value, "zstd", "127.0.0.1", 1, Epoch: routed ?? epoch));
        await using var session = await _room.Spool.OpenAsync(new StreamOpening(Vm, new Epoch(epoch), [new DiskGeometry(0, "vda", 1 << 20)], 1), new Deaf(), default);
        Assert.Equal(new Epoch(epoch), _room.Spool.EpochOf(Vm));
    }

    private static ReplicateFrom Replicate(AgentName agent, int epoch, int protection) =>
        new(Vm, new Epoch(epoch), agent, [], new SiteName("lyon"), new SiteName("paris"), ReplicationPolicy.Default, Paused: false, Synchronize: false, Round: 1, Protection: new Epoch(protection));

    protected override void AfterAll()
    {
        base.AfterAll();
        Directory.Delete(_folder, recursive: true);
    }

    private sealed class Deaf : IPositionListener
    {
        public void Received(StreamPosition position)
        {
            // Nothing is sent.
        }

        public void Durable(StreamPosition position, Sequence sequence)
        {
            // As above.
        }
    }
}
