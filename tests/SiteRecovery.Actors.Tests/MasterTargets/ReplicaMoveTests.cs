using System.Collections.Concurrent;
using System.Collections.Immutable;
using System.Net;
using System.Net.Sockets;
using System.Text;
using Akka.Actor;
using Akka.TestKit;
using Akka.TestKit.Xunit2;
using SiteRecovery.Actors.MasterTargets;
using SiteRecovery.Actors.ProtectedMachines;
using SiteRecovery.Actors.Sites;
using SiteRecovery.DataPlane.Hypervisors;
using SiteRecovery.DataPlane.Nbd;
using SiteRecovery.DataPlane.Storage;
using SiteRecovery.DataPlane.Transport;
using SiteRecovery.Domain.History;
using SiteRecovery.Domain.Policies;
using SiteRecovery.Domain.ProtectedMachines;
using SiteRecovery.Domain.Results;
using SiteRecovery.Domain.Vaults;
using MachineState = SiteRecovery.DataPlane.Hypervisors.MachineState;

namespace SiteRecovery.Actors.Tests.MasterTargets;

/// <summary>A replica is production, is to be moved back, and stays after all.</summary>
public sealed class ReplicaMoveTests : TestKit
{
    private static readonly MachineId Vm = new("vm1");
    private static readonly SiteName Site = new("lyon"), Home = new("paris");
    private static readonly NodeAnnouncement Own = new("n1", "", Site, [NodeRoles.MasterTarget], "", "127.0.0.1", 1, 2, [], StoresHeld.None);
    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(20);
    private readonly string _folder = Directory.CreateTempSubdirectory("sr-move").FullName;
    private readonly Host _host = new();
    private readonly PeerIdentity _identity;
    private readonly TestProbe _machine;
    private MasterTargetRoom _room = null!;
    private IActorRef _target = null!;
    private readonly RecoveryPoint _point;
    private readonly ImmutableArray<DiskSpec> _disks;

    public ReplicaMoveTests()
    {
        using var authority = Authority.LoadOrCreate(Path.Combine(_folder, "pki"), "test", TimeProvider.System);
        _identity = authority.IssueInto(Path.Combine(_folder, "node"), "n1", PeerRole.Node);
        _machine = CreateTestProbe();
        Begin();
        var disk = Path.Combine(_folder, "vda.raw");
        File.WriteAllBytes(disk, new byte[1 << 20]);
        _disks = [new DiskSpec(0, "vda", disk, 1 << 20, "nbd")];

        _target.Tell(new ContinueStore(Vm, new Epoch(2), new StoreContinuation(Epoch.First, FromDisks: true), new Sequence(5), _disks, Site));
        _point = Report<StoreContinued>().Kept!;
        _room.Machines.Keep(Vm, Encoding.UTF8.GetString(new MachineDefinition { Name = "vm1", MachineType = "pc", CpuCount = 1, MemoryBytes = 1 << 20, Disks = [new MachineDisk { Target = "vda", Bus = "virtio", Source = disk }] }.ToJson()));
        _target.Tell(new OpenEpoch(Vm, new Epoch(3), _point, Site));
        Report<EpochOpened>();
        Serve();
    }

    private void Begin()
    {
        _room = new MasterTargetRoom(_folder, new IPEndPoint(IPAddress.Loopback, 0), _identity, RealFileSystem.Instance, TimeProvider.System, new ReplicaHosting(_host, null));
        _room.Start();
        _target = Sys.ActorOf(MasterTargetActor.Props(_room, Own, _machine, CreateTestProbe()));
        _target.Tell(new Nodes([Own, Own with { Name = "n2", Site = Home }]));
    }

    private ReplicaMachine Replica => (ReplicaMachine)_room.Exports.Find(Vm.Value)!;

    /// <summary>A hypervisor starts no machine on disks that take no writes.</summary>
    [Fact]
    public async Task Its_disks_take_writes_again_before_it_is_started()
    {
        _target.Tell(Replicate(round: 1));
        _target.Tell(Replicate(round: 2, drain: true));
        await AwaitConditionAsync(() => Task.FromResult(_host.IsPressed), Limit);
        _host.Obey();
        await AwaitConditionAsync(() => Task.FromResult(Replica.IsFrozen), Limit);

        _target.Tell(Replicate(round: 3));
        await AwaitConditionAsync(() => Task.FromResult(_host.Runs), Limit);
        Assert.Equal((false, 0), (Replica.IsFrozen, _host.Refused));
    }

    [Fact]
    public async Task A_drain_that_was_called_off_while_it_waited_presses_no_button()
    {
        var underWay = new TaskCompletionSource<bool>();
        var former = _room.Turns.TakeAsync(Vm, () => underWay.Task, default);
        var (drain, after) = (Replicate(round: 2, drain: true), Replicate(round: 3));
        _target.Tell(Replicate(round: 1)); // under way: it waits for its turn
        foreach (var told in (object[])[drain, new WorkEnded(drain), after]) _target.Tell(told);
        underWay.SetResult(true);
        await former;
        await AwaitConditionAsync(() => Task.FromResult(Replica.Work == after), Limit);
        Serve(); // and what was told before is done before
        Assert.Equal(0, _host.Presses);
    }

    /// <summary>As one that was on its way through another node.</summary>
    [Fact]
    public async Task Orders_of_before_change_nothing()
    {
        var (before, drain, after) = (Replicate(round: 1), Replicate(round: 2, drain: true), Replicate(round: 3));
        _target.Tell(after);
        _target.Tell(drain);
        await AwaitConditionAsync(() => Task.FromResult(Replica.Work == drain), Limit);
        Serve();
        Assert.Equal(0, _host.Presses);

        _target.Tell(Replicate(round: 4, drain: true));
        await AwaitConditionAsync(() => Task.FromResult(_host.IsPressed), Limit);
        _target.Tell(before);
        await AwaitConditionAsync(() => Task.FromResult(Replica.Work == before), Limit);
        Serve();
        Assert.True(_host.IsPressed);
    }

    /// <summary>As where a failover away from it is cancelled before it was begun.</summary>
    [Fact]
    public void A_machine_runs_on_when_its_replica_is_served_in_a_later_epoch()
    {
        var before = Replica;
        _target.Tell(new ServeReplica(Vm, new Epoch(5), _point, Site, null, new Epoch(3), ReplicationPolicy.Default));
        Assert.Equal(new Epoch(5), Report<ReplicaServed>().Epoch);
        Assert.NotSame(before, Replica);
        Assert.False(Replica.Capture.IsFenced);
        Assert.Equal((true, 0, 1), (_host.Runs, _host.Destroyed, _host.Started));
    }

    /// <summary>Its owner has shut it down for that, and its node starts anew.</summary>
    [Fact]
    public async Task A_machine_that_is_to_be_released_is_not_started_by_a_process_that_has_not_seen_it_run()
    {
        _host.Obey();
        await _target.GracefulStop(Limit);
        await _room.DisposeAsync();
        Begin();
        var release = new ReleaseReplica(Vm, new Epoch(3), new Epoch(3), _disks, Site);
        _target.Tell(release);
        Serve();
        Assert.Equal((false, 1), (_host.Runs, _host.Started));
        for (var released = false; !released;)
        {
            _target.Tell(release); // it is told again until its disks are flat
            released = _machine.FishForMessage(m => m is ReplicaReleased or WorkFailed, Limit) is ReplicaReleased;
        }
        Assert.True(File.Exists(Path.Combine(_room.ReleasedFolderOf(Vm, "epoch-3"), "disk-0.raw")));
    }

    [Fact]
    public async Task A_machine_that_is_served_in_a_later_epoch_than_one_that_was_released_is_started()
    {
        _target.Tell(new ReleaseReplica(Vm, new Epoch(2), new Epoch(2), _disks, Site)); // late
        _host.Obey();
        await _host.UndefineAsync("vm1", default);
        Serve();
        Assert.True(_host.Runs);
    }

    /// <summary>Ids are as whoever began the tests gave them, by date for one.</summary>
    [Fact]
    public void Tests_whose_ids_end_alike_have_machines_of_their_own()
    {
        Test("app-20261130");
        Test("db-20261130");
        Assert.Equal(3, _host.Names.Count);
        Remove("app-20261130");
        Assert.Equal(2, _host.Names.Count);
        Test("db-20261130");
        Remove("db-20261130");
        Assert.Equal(["vm1"], _host.Names);
    }

    /// <summary>Nobody would remove it again.</summary>
    [Fact]
    public void An_order_to_serve_a_test_that_comes_behind_its_removal_serves_nothing()
    {
        Test("t1");
        Remove("t1");
        _target.Tell(new ServeTest(Vm, "t1", _point, Site));
        Test("t2");
        Assert.Equal(2, _host.Names.Count);
        Assert.False(Directory.Exists(_room.LayerFolderOf(Vm, "test-t1")));
        Remove("t2");
    }

    [Fact]
    public async Task A_test_that_an_earlier_version_began_keeps_its_machine_and_is_cleaned_up()
    {
        const string former = "vm1-test-20261130";
        Test("app-20261130");
        var machine = (await _host.FindAsync(_host.Names.Single(n => n != "vm1"), default))!.Definition;
        await _host.UndefineAsync(machine.Name, default);
        await _host.DefineAsync(machine with { Name = former }, default);
        Test("app-20261130");
        Assert.Equal(["vm1", former], _host.Names);
        Test("db-20261130");
        Remove("db-20261130");
        Assert.Equal(["vm1", former], _host.Names);
        Remove("app-20261130");
        Assert.Equal(["vm1"], _host.Names);
    }

    /// <summary>Its guest remembers what it read before, and would write that over the disks of the other point: they are served under the same names.</summary>
    [Theory]
    [InlineData(false, false)]
    [InlineData(true, false)]
    [InlineData(false, true)]
    public async Task One_that_could_not_be_ended_does_not_run_on_on_the_disks_of_another_point(bool orderIsLost, bool nodeBeginsAnew)
    {
        _host.IsAway = true;
        _target.Tell(new WorkEnded(new ServeReplica(Vm, new Epoch(3), _point, Site, null, new Epoch(3), ReplicationPolicy.Default)));
        _target.Tell(new OpenEpoch(Vm, new Epoch(4), _point, Site)); // behind it
        Report<EpochOpened>();
        if (orderIsLost) File.WriteAllText(Path.Combine(_folder, "served", "vm1.json"), "damaged");
        if (nodeBeginsAnew)
        {
            await _target.GracefulStop(Limit);
            await _room.DisposeAsync();
            Begin();
        }
        var serve = new ServeReplica(Vm, new Epoch(4), _point, Site, null, new Epoch(4), ReplicationPolicy.Default);
        _target.Tell(serve);
        Assert.True(Report<WorkFailed>() is { Work: WorkKind.ServeReplica, Permanent: false });
        _host.IsAway = false;
        _target.Tell(serve);
        Report<ReplicaServed>();
        Assert.Equal((2, true), (_host.Starts, _host.Runs));
    }

    /// <summary>As the old source's own that was left on its host and starts with it: the failover would have ended with a stopped source, and a machine on stale disks.</summary>
    [Fact]
    public async Task Another_machine_of_its_name_ends_a_failover_to_it_for_good_before_the_epoch_or_behind_it()
    {
        await _host.UndefineAsync("vm1", default);
        await _host.DefineAsync(new MachineDefinition { Name = "vm1", MachineType = "pc", CpuCount = 1, MemoryBytes = 1 << 20 }, default);
        _target.Tell(new VerifyTarget(Vm, new Epoch(3), new DrainedSource(_point.Sequence, "hash"), Site));
        Refused(WorkKind.VerifyTarget);
        _target.Tell(new ServeReplica(Vm, new Epoch(3), _point, Site, null, new Epoch(3), ReplicationPolicy.Default));
        Refused(WorkKind.ServeReplica);
        Assert.True(_host.Runs);

        await _host.UndefineAsync("vm1", default);
        Serve();

        void Refused(string work)
        {
            var failed = Report<WorkFailed>();
            Assert.Equal((work, true), (failed.Work, failed.Permanent));
            Assert.Contains("another machine vm1", failed.Reason, StringComparison.Ordinal);
        }
    }

    /// <summary>Whoever has stopped it, or paused it, wants that, and it goes on by itself when he wants it no more.</summary>
    [Fact]
    public void One_that_a_person_has_paused_ends_no_failover()
    {
        _host.IsPaused = true;
        _target.Tell(new ServeReplica(Vm, new Epoch(3), _point, Site, null, new Epoch(3), ReplicationPolicy.Default));
        Assert.True(Report<WorkFailed>() is { Work: WorkKind.ServeReplica, Permanent: false });
        _host.IsPaused = false;
        Serve();
    }

    private void Test(string id)
    {
        _target.Tell(new ServeTest(Vm, id, _point, Site));
        Report<TestServed>();
    }

    private void Remove(string id)
    {
        _target.Tell(new RemoveTest(Vm, id, _point, Site));
        Report<TestRemoved>();
    }

    private void Serve()
    {
        _target.Tell(new ServeReplica(Vm, new Epoch(3), _point, Site, null, new Epoch(3), ReplicationPolicy.Default));
        Report<ReplicaServed>();
    }

    private ReplicateFrom Replicate(int round, bool drain = false) => new(
        Vm, new Epoch(3), new AgentName("a1"), _disks, Site, Home, ReplicationPolicy.Default, false, false, round, TargetNode: "n2", Drain: drain, Replica: new ReplicaSource(null, new Epoch(3), _point));

    /// <summary>Nobody takes what is sent: that is another report.</summary>
    private T Report<T>() where T : DataPlaneReport => _machine.FishForMessage<T>(_ => true, Limit);

    protected override void AfterAll()
    {
        base.AfterAll();
        _room.DisposeAsync().AsTask().GetAwaiter().GetResult();
        Directory.Delete(_folder, recursive: true);
    }

    /// <summary>Machines that open their disks as QEMU does: for writing, or not at all. They run, and are pressed, as one.</summary>
    private sealed class Host : IHypervisor
    {
        private readonly Lock _gate = new();
        private readonly List<NbdClient> _open = [];
        private readonly ConcurrentDictionary<string, MachineDefinition> _machines = new();
        private volatile bool _runs, _isPressed;
        private volatile int _refused, _presses, _destroyed, _started;

        internal IReadOnlyList<string> Names => [.. _machines.Keys.Order(StringComparer.Ordinal)];
        internal bool Runs => _runs;
        internal bool IsPaused { get; set; }
        /// <summary>It does not answer.</summary>
        internal bool IsAway { get; set; }
        internal int Starts { get; private set; }
        /// <summary>Now.</summary>
        internal bool IsPressed => _isPressed;
        internal int Presses => _presses;
        internal int Refused => _refused;
        internal int Destroyed => _destroyed;
        internal int Started => _started;

        internal void Obey()
        {
            _runs = false;
            lock (_gate)
            {
                foreach (var disk in _open) disk.DisposeAsync().AsTask().GetAwaiter().GetResult();
                _open.Clear();
            }
        }

        public Task<HypervisorMachine?> FindAsync(string name, CancellationToken stop) => IsAway ? throw new HypervisorException(HypervisorProblem.Unavailable, "it does not answer")
            : Task.FromResult(_machines.GetValueOrDefault(name) is not { } machine ? null : new HypervisorMachine(machine, IsPaused ? MachineState.Paused : _runs ? MachineState.Running : MachineState.Stopped));

        public Task DefineAsync(MachineDefinition machine, CancellationToken stop)
        {
            _machines[machine.Name] = machine;
            return Task.CompletedTask;
        }

        public async Task StartAsync(string name, CancellationToken stop)
        {
            foreach (var uri in _machines[name].Disks.Select(d => new Uri(d.Source!)))
            {
                var disk = await NbdClient.ConnectAsync(new UnixDomainSocketEndPoint(Uri.UnescapeDataString(uri.Query["?socket=".Length..])), Uri.UnescapeDataString(uri.AbsolutePath[1..]), stop);
                if (disk.ReadOnly)
                {
                    Interlocked.Increment(ref _refused);
                    await disk.DisposeAsync();
                    throw new HypervisorException(HypervisorProblem.Refused, "a disk is read-only");
                }
                lock (_gate) _open.Add(disk);
            }
            Interlocked.Increment(ref _started);
            _runs = true;
            Starts++;
        }

        public async Task<StopOutcome> ShutDownAsync(string name, TimeSpan patience, CancellationToken stop)
        {
            Interlocked.Increment(ref _presses);
            _isPressed = true;
            try
            {
                while (_runs) await Task.Delay(20, stop);
                return StopOutcome.Stopped;
            }
            finally
            {
                _isPressed = false;
            }
        }

        public Task<bool> ContinueAsync(string name, CancellationToken stop) => Task.FromResult(_runs && !IsPaused);

        public Task DestroyAsync(string name, CancellationToken stop)
        {
            Interlocked.Increment(ref _destroyed);
            Obey();
            return Task.CompletedTask;
        }

        public Task UndefineAsync(string name, CancellationToken stop)
        {
            _machines.TryRemove(name, out _);
            return Task.CompletedTask;
        }

        public Task<IReadOnlyList<HypervisorMachine>> ListAsync(CancellationToken stop) => throw new NotSupportedException();
        public Task<IReadOnlyList<MachineConsole>> ConsolesAsync(string name, CancellationToken stop) => Task.FromResult<IReadOnlyList<MachineConsole>>([]);
        public ValueTask DisposeAsync() => default;
    }
}
