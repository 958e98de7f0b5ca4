using System.Net;
using Akka.Actor;
using Akka.TestKit;
using Akka.TestKit.Xunit2;
using SiteRecovery.Actors.Configuration;
using SiteRecovery.Actors.MasterTargets;
using SiteRecovery.Actors.ProcessServers;
using SiteRecovery.Actors.ProtectedMachines;
using SiteRecovery.Actors.Sites;
using SiteRecovery.DataPlane.ProcessServer;
using SiteRecovery.DataPlane.Storage;
using SiteRecovery.DataPlane.Transport;
using SiteRecovery.Domain.History;
using SiteRecovery.Domain.Policies;
using SiteRecovery.Domain.ProtectedMachines;
using SiteRecovery.Domain.Results;
using SiteRecovery.Domain.Vaults;

namespace SiteRecovery.Actors.Tests.ProcessServers;

/// <summary>Whatever a machine is told makes its actor, which stays for ever: what an agent says must not reach whom nobody protects, however it got there.</summary>
public sealed class ReportedMachinesTests : TestKit
{
    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(10);
    private static readonly MachineId Vm = new("vm1"), Other = new("vm2");
    private static readonly AgentName Agent = new("a1");
    private static readonly SiteName Lyon = new("lyon"), Paris = new("paris");
    private readonly string _folder = Directory.CreateTempSubdirectory("sr-reported").FullName;
    private readonly ProcessServerRoom _room;
    private readonly TestProbe _machines, _configuration;
    private readonly SteppedClock _clock = new();
    private readonly IActorRef _server;

    public ReportedMachinesTests() : base(TestSettings.Config)
    {
        using var authority = Authority.LoadOrCreate(Path.Combine(_folder, "pki"), "test", TimeProvider.System);
        _room = new ProcessServerRoom(_folder, new IPEndPoint(IPAddress.Loopback, 0), 1 << 20, authority.IssueInto(Path.Combine(_folder, "node"), "n1", PeerRole.Node), RealFileSystem.Instance, TimeProvider.System);
        (_machines, _configuration) = (CreateTestProbe(), CreateTestProbe());
        _server = Sys.ActorOf(ProcessServerActor.Props(_room, _machines, ActorRefs.Nobody, _clock, _configuration));
    }

    [Fact]
    public void Machines_that_an_agent_makes_up_are_told_to_nobody_and_the_others_go_on()
    {
        _room.Routes.Set(Vm, new MachineRoute(Agent.Value, "zstd", "127.0.0.1", 1, Epoch: 1)); // as after a restart, before any order
        Say([.. Enumerable.Range(0, 5000).Select(i => $"made-up-{i}"), Vm.Value]);
        Assert.Equal(Vm, Told());
        // Somebody may protect one of them; but for that no more is asked than helps.
        var asked = Enumerable.Range(0, 256).Select(_ => _configuration.ExpectMsg<FindListed>(Limit).Machine.Value).ToHashSet();
        Assert.Equal(256, asked.Count);
        Say([.. Enumerable.Range(0, 5000).Select(i => $"made-up-{i}"), Vm.Value]);
        Assert.Equal(Vm, Told());
        Assert.False(_configuration.HasMessages);
    }

    [Fact]
    public void An_order_makes_a_machine_known_until_the_agent_has_let_go_of_it()
    {
        var fence = new FenceSource(Vm, new Epoch(2), Agent, Lyon);
        _server.Tell(fence);
        Say([Vm.Value]);
        Assert.Equal(Vm, Told());
        // A source that was fenced is looked at for as long as it is there.
        _server.Tell(new WorkEnded(fence));
        Say([Vm.Value]);
        Assert.Equal(Vm, Told());

        _server.Tell(new ReleaseAgent(Vm, new Epoch(2), Agent));
        Say(new CommandDone($"{WorkKind.ReleaseAgent}|{Vm}|2", null));
        _machines.FishForMessage<AgentReleased>(_ => true, Limit);
        Say([Vm.Value]);
        Assert.Equal(Vm, _configuration.ExpectMsg<FindListed>(Limit).Machine);
        Assert.False(_machines.HasMessages);
    }

    /// <summary>Fenced while another process server had the agent: nothing names it here, and its clients are shown all the same.</summary>
    [Fact]
    public void A_machine_that_somebody_protects_is_heard_of_though_nothing_here_names_it()
    {
        Say([Vm.Value, Other.Value]);
        Assert.Equal(Vm, _configuration.ExpectMsg<FindListed>(Limit).Machine);
        AgentRef().Tell(new ListedFound(Vm));
        Say([Vm.Value, Other.Value]);
        Assert.Equal(Vm, Told());
        Say(new CommandDone("nothing", null));
        Assert.False(_machines.HasMessages);
    }

    [Fact]
    public void What_was_not_asked_for_and_what_is_said_again_at_once_is_not_passed_on()
    {
        _server.Tell(new FenceSource(Vm, new Epoch(2), Agent, Lyon));
        var id = $"{WorkKind.FenceSource}|{Vm}|2";
        for (var i = 0; i < 100; i++) Say(new CommandDone(id, "I cannot"));
        _machines.ExpectMsg<WorkFailed>(Limit);
        Assert.False(_machines.HasMessages);
        for (var i = 0; i < 100; i++) _server.Tell(new AgentSaid(Agent.Value, Status([Vm.Value, Vm.Value])));
        Assert.Equal(Vm, Told());
        Say([Vm.Value]); // later
        Assert.Equal(Vm, Told());
        Assert.False(_machines.HasMessages);
    }

    [Fact]
    public void A_tail_that_has_no_end_is_not_passed_on_without_end()
    {
        var target = CreateTestProbe();
        var address = Sys.ActorOf(Props.Create(() => new Relay(target)), "master-target");
        _server.Tell(new Nodes([new NodeAnnouncement("n2", $"{address.Path.Root}".TrimEnd('/'), Paris, ["master-target"], "127.0.0.1", "", 1, 2, [], StoresHeld.None)]));
        var work = new TakeBackTail(Vm, new Epoch(4), Agent, null, Lyon, new ReplicaSource("n2", new Epoch(3), new RecoveryPoint(new Epoch(1), new Sequence(5), default, PointKind.CrashConsistent)), Paris);
        _server.Tell(work);
        var id = $"{WorkKind.TakeBackTail}|{Vm}|4";
        var part = new TailRanges(id, Vm.Value, 1, 9, [0, 0, 65536]);
        for (var i = 0; i < 4100; i++) _server.Tell(new AgentSaid(Agent.Value, part));
        Say(new CommandDone(id, null));
        Assert.Contains("full", _machines.ExpectMsg<WorkFailed>(Limit).Reason, StringComparison.Ordinal);
        Assert.All(target.ReceiveN(4000, Limit), m => Assert.False(((TailFound)m).Last));
        Assert.False(target.HasMessages);

        // Not asked for, and then asked for.
        Say(part);
        _server.Tell(work);
        Say(part);
        Say(new CommandDone(id, null));
        Assert.Equal([(0, false), (1, true)], target.ReceiveN(2, Limit).Cast<TailFound>().Select(f => (f.Part, f.Last)));
    }

    private IActorRef AgentRef() => Sys.ActorSelection(_server.Path / $"agent-{Agent}").ResolveOne(Limit).GetAwaiter().GetResult();

    private MachineId Told() => _machines.ExpectMsg<AgentReport>(Limit).Machine;

    private void Say(params string[] machines) => Say(Status(machines));

    private AgentStatus Status(string[] machines) => new(_clock.GetUtcNow(), [.. machines.Select(m => new MachineStatus { Machine = m, Epoch = 1, Mode = "Streaming" })]);

    private void Say(AgentMessage message)
    {
        _clock.Step(TimeSpan.FromMilliseconds(500));
        _server.Tell(new AgentSaid(Agent.Value, message));
        // Heard before the clock goes on.
        _ = _server.Ask<AgentAnswer>(new InspectAgentDisk(Agent, "/x"), Limit).GetAwaiter().GetResult();
    }

    protected override void AfterAll()
    {
        base.AfterAll();
        Directory.Delete(_folder, recursive: true);
    }

    private sealed class Relay : ReceiveActor
    {
        public Relay(IActorRef to) => ReceiveAny(to.Forward);
    }

    private sealed class SteppedClock : TimeProvider
    {
        private long _ticks;

        public override long TimestampFrequency => TimeSpan.TicksPerSecond;
        public override long GetTimestamp() => Volatile.Read(ref _ticks);
        public override DateTimeOffset GetUtcNow() => DateTimeOffset.UnixEpoch.AddTicks(GetTimestamp());
        public void Step(TimeSpan by) => Interlocked.Add(ref _ticks, by.Ticks);
    }
}
