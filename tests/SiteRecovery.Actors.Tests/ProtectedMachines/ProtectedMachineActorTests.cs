using Akka.Actor;
using Akka.Persistence;
using Akka.Persistence.TestKit;
using Akka.TestKit.Xunit2;
using SiteRecovery.Actors.Configuration;
using SiteRecovery.Actors.ProtectedMachines;
using SiteRecovery.Domain.History;
using SiteRecovery.Domain.Policies;
using SiteRecovery.Domain.ProtectedMachines;
using SiteRecovery.Domain.Results;
using SiteRecovery.Domain.Vaults;
using Xunit;

namespace SiteRecovery.Actors.Tests.ProtectedMachines;

public sealed class ProtectedMachineActorTests() : TestKit(TestSettings.Config)
{
    private static readonly MachineId Vm = Examples.Vm;
    private int _ids;

    [Fact]
    public async Task A_failover_goes_on_in_a_new_incarnation_after_a_crash_in_the_middle()
    {
        var machine = Start();
        machine.Tell(Examples.Enable);
        var work = ReceiveWorkAndReply<Accepted>();
        Assert.Contains(work, w => w is ReplicateFrom { Synchronize: true, Round: 1 });

        machine.Tell(new SynchronizationCompleted(Vm, new CommandId("s"), Epoch.First, 1, new Sequence(10)));
        ReceiveWorkAndReply<Accepted>();
        var point = new RecoveryPoint(Epoch.First, new Sequence(9), DateTimeOffset.UnixEpoch, PointKind.CrashConsistent);
        machine.Tell(new UnplannedFailover(Vm, new CommandId("fo"), point));
        work = ReceiveWorkAndReply<Accepted>();
        Assert.Contains(work, w => w is OpenEpoch { Epoch.Value: 2 });

        await machine.GracefulStop(TimeSpan.FromSeconds(5));
        machine = Start();
        var state = await machine.Ask<MachineState>(new GetMachine(Vm), TimeSpan.FromSeconds(5));
        Assert.IsType<Phase.UnplannedFailoverInProgress>(state.State.Phase);
        FishForMessage(m => m is OpenEpoch, TimeSpan.FromSeconds(5));
    }

    [Fact]
    public void A_refused_command_is_answered_and_changes_nothing()
    {
        Start().Tell(new CommitFailover(Vm, new CommandId("c")));
        Assert.Equal(RefusalCode.NotAllowedInState, ExpectMsg<Refused>(TimeSpan.FromSeconds(5)).Code);
    }

    [Fact]
    public async Task Nothing_is_answered_when_the_journal_fails_and_the_actor_stops()
    {
        var machine = Start();
        await machine.Ask<MachineState>(new GetMachine(Vm), TimeSpan.FromSeconds(5));
        Watch(machine);
        var journal = TestJournal.FromRef(Persistence.Instance.Apply(Sys).JournalFor(null));
        await journal.OnWrite.Fail();
        machine.Tell(Examples.Enable);
        Assert.IsType<Terminated>(ReceiveOne(TimeSpan.FromSeconds(5)));
        await journal.OnWrite.Pass();

        var state = await Start().Ask<MachineState>(new GetMachine(Vm), TimeSpan.FromSeconds(5));
        Assert.IsType<Phase.Unprotected>(state.State.Phase);
    }

    [Fact]
    public async Task A_measurement_is_unknown_until_the_store_reports()
    {
        var machine = Start();
        machine.Tell(Examples.Enable);
        ReceiveWorkAndReply<Accepted>();
        Assert.Null((await machine.Ask<MeasuredMachine>(new GetMeasuredMachine(Vm), TimeSpan.FromSeconds(5))).StoreMeasuredAt);
        machine.Tell(Stored);
        var measured = await machine.Ask<MeasuredMachine>(new GetMeasuredMachine(Vm), TimeSpan.FromSeconds(5));
        Assert.Equal(new Sequence(3), measured.Store?.Durable);
        Assert.NotNull(measured.StoreMeasuredAt);
    }

    /// <summary>The target measures on until it has removed the store, and the agent speaks until it has released the disks.</summary>
    [Fact]
    public async Task Nothing_is_measured_of_a_machine_whose_protection_has_ended_until_it_is_protected_anew()
    {
        var machine = Start();
        var said = AgentReport.Gone(Vm, "a1", null);
        machine.Tell(Examples.Enable);
        ReceiveWorkAndReply<Accepted>();
        Assert.Equal((Stored, said), await MeasuredAsync());
        machine.Tell(new DisableProtection(Vm, new CommandId("d")));
        ReceiveWorkAndReply<Accepted>();
        Assert.Equal((null, null), await MeasuredAsync(tell: false));
        Assert.Equal((null, null), await MeasuredAsync());
        machine.Tell(new StoreRemoved(Vm, new CommandId("r"), Epoch.First));
        ReceiveWorkAndReply<Accepted>();
        Assert.Equal((null, null), await MeasuredAsync());

        async Task<(StoreReport?, AgentReport?)> MeasuredAsync(bool tell = true)
        {
            if (tell) machine.Tell(Stored);
            if (tell) machine.Tell(said);
            var measured = await machine.Ask<MeasuredMachine>(new GetMeasuredMachine(Vm), TimeSpan.FromSeconds(5));
            return (measured.Store, measured.Agent);
        }
    }

    [Fact]
    public async Task It_says_when_the_source_was_heard_last_and_since_when_it_listens_for_it()
    {
        var clock = new SetClock();
        var began = clock.GetUtcNow();
        var machine = Start(clock);
        Assert.Equal((null, began), await ListeningAsync(machine));
        clock.Pass(TimeSpan.FromSeconds(10));
        machine.Tell(Examples.Enable);
        ReceiveWorkAndReply<Accepted>();
        Assert.Equal((null, began.AddSeconds(10)), await ListeningAsync(machine)); // for this one since now
        clock.Pass(TimeSpan.FromSeconds(10));
        machine.Tell(AgentReport.Gone(Vm, "a1", null) with { Connected = true });
        Assert.Equal((began.AddSeconds(20), began.AddSeconds(10)), await ListeningAsync(machine));
        clock.Pass(TimeSpan.FromSeconds(10));
        machine.Tell(AgentReport.Gone(Vm, "a1", null)); // says another
        Assert.Equal((began.AddSeconds(20), began.AddSeconds(10)), await ListeningAsync(machine));

        await machine.GracefulStop(TimeSpan.FromSeconds(5));
        Assert.Equal((null, began.AddSeconds(30)), await ListeningAsync(Start(clock)));
    }

    private static async Task<(DateTimeOffset? HeardAt, DateTimeOffset? Since)> ListeningAsync(IActorRef machine)
    {
        var measured = await machine.Ask<MeasuredMachine>(new GetMeasuredMachine(Vm), TimeSpan.FromSeconds(5));
        return (measured.AgentHeardAt, (await machine.Ask<Listening>(new GetListening(Vm), TimeSpan.FromSeconds(5))).Since);
    }

    [Fact]
    public async Task It_says_which_epochs_have_ended()
    {
        var machine = Start();
        machine.Tell(Examples.Enable);
        ReceiveWorkAndReply<Accepted>();
        Assert.Equal(new ProtectionsEnded(Vm, new Epoch(0)), await machine.Ask<ProtectionsEnded>(new GetEndedProtections(Vm), TimeSpan.FromSeconds(5)));
        machine.Tell(new DisableProtection(Vm, new CommandId("d")));
        ReceiveWorkAndReply<Accepted>();
        Assert.Equal(new ProtectionsEnded(Vm, Epoch.First), await machine.Ask<ProtectionsEnded>(new GetEndedProtections(Vm), TimeSpan.FromSeconds(5)));
    }

    /// <summary>The machine stands still meanwhile. Also after a restart, which knows only what it was given at first.</summary>
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task A_planned_failover_ends_in_its_time_though_the_time_of_day_was_set_back(bool restarts)
    {
        var clock = new SetClock();
        var machine = Start(clock);
        machine.Tell(Examples.Enable);
        ReceiveWorkAndReply<Accepted>();
        machine.Tell(new SynchronizationCompleted(Vm, new CommandId("s"), Epoch.First, 1, new Sequence(10)));
        ReceiveWorkAndReply<Accepted>();
        machine.Tell(new PlannedFailover(Vm, new CommandId("pf"), TimeSpan.FromSeconds(30)));
        ReceiveWorkAndReply<Accepted>();
        clock.Set(TimeSpan.FromHours(-1));
        if (restarts)
        {
            await machine.GracefulStop(TimeSpan.FromSeconds(5));
            machine = Start(clock);
        }
        var state = await machine.Ask<MachineState>(new GetMachine(Vm), TimeSpan.FromSeconds(5));
        Assert.IsType<Phase.PlannedFailoverInProgress>(state.State.Phase);
        clock.Pass(TimeSpan.FromSeconds(31));
        await AwaitConditionAsync(async () => (await machine.Ask<MachineState>(new GetMachine(Vm), TimeSpan.FromSeconds(5))).State.Phase is not Phase.PlannedFailoverInProgress, TimeSpan.FromSeconds(20));
    }

    /// <summary>Whoever is told the end of an order to serve destroys the machine that runs on it.</summary>
    [Fact]
    public void A_failover_that_the_target_does_not_begin_ends_no_order_to_serve_the_replica_that_it_leads_away_from()
    {
        var machine = Start();
        var point = Point;
        Commit(machine);
        foreach (var told in (MachineCommand[])[new ReverseReplicate(Vm, Next(), Full: true), new StoreContinued(Vm, Next(), new Epoch(2), null), new SynchronizationCompleted(Vm, Next(), new Epoch(2), 2, new Sequence(20))])
        {
            machine.Tell(told);
            ReceiveWorkAndReply<Accepted>();
        }
        var ended = new List<object>();
        foreach (var told in (MachineCommand[])[new UnplannedFailover(Vm, Next(), point with { Epoch = new Epoch(2) }), new CancelFailover(Vm, Next()), new StoreContinued(Vm, Next(), new Epoch(4), null)])
        {
            machine.Tell(told);
            ended.AddRange(ReceiveWorkAndReply<Accepted>().Where(m => m is WorkEnded { Work: ServeReplica }));
            Assert.Empty(ended);
        }
        machine.Tell(new UnplannedFailover(Vm, Next(), point with { Epoch = new Epoch(4) }));
        ReceiveWorkAndReply<Accepted>();
        machine.Tell(new EpochOpened(Vm, Next(), new Epoch(5)));
        Assert.Single(ReceiveWorkAndReply<Accepted>(), m => m is WorkEnded { Work: ServeReplica { Epoch.Value: 4, Layer.Value: 2 } });
    }

    /// <summary>Its node has come back since the way was sent elsewhere, and measures what it still has.</summary>
    [Fact]
    public async Task A_store_that_was_left_behind_within_the_site_is_not_taken_for_the_targets()
    {
        var machine = Start();
        Commit(machine);
        machine.Tell(new ReverseReplicate(Vm, Next(), "mt-a", Full: true));
        ReceiveWorkAndReply<Accepted>();
        var left = Stored with { Site = new SiteName("primary"), FailedReason = "its disk fails" };
        Assert.Equal(left, await MeasuredAsync(left)); // nothing else is there yet
        machine.Tell(new ReverseReplicate(Vm, Next(), "mt-b", Full: true));
        ReceiveWorkAndReply<Accepted>();
        machine.Tell(new StoreContinued(Vm, Next(), new Epoch(2), null));
        ReceiveWorkAndReply<Accepted>();
        var own = Stored with { Site = new SiteName("primary"), Epoch = new Epoch(2) };
        Assert.Equal(own, await MeasuredAsync(own));
        Assert.Equal(own, await MeasuredAsync(left));

        async Task<StoreReport?> MeasuredAsync(StoreReport told)
        {
            machine.Tell(told);
            return (await machine.Ask<MeasuredMachine>(new GetMeasuredMachine(Vm), TimeSpan.FromSeconds(5))).Store;
        }
    }

    [Fact]
    public async Task What_was_measured_at_the_former_target_says_nothing_of_the_new_one()
    {
        var machine = Start();
        Commit(machine);
        machine.Tell(Stored with { Epoch = new Epoch(2) });
        Assert.NotNull((await machine.Ask<MeasuredMachine>(new GetMeasuredMachine(Vm), TimeSpan.FromSeconds(5))).Store);
        machine.Tell(new ReverseReplicate(Vm, Next(), Full: true));
        ReceiveWorkAndReply<Accepted>();
        Assert.Null((await machine.Ask<MeasuredMachine>(new GetMeasuredMachine(Vm), TimeSpan.FromSeconds(5))).StoreMeasuredAt);
    }

    private static RecoveryPoint Point => new(Epoch.First, new Sequence(9), DateTimeOffset.UnixEpoch, PointKind.CrashConsistent);

    private CommandId Next() => new($"n{++_ids}");

    /// <summary>Protected, failed over, and committed in epoch 2.</summary>
    private void Commit(IActorRef machine)
    {
        foreach (var told in (MachineCommand[])[Examples.Enable, new SynchronizationCompleted(Vm, Next(), Epoch.First, 1, new Sequence(10)), new UnplannedFailover(Vm, Next(), Point), new EpochOpened(Vm, Next(), new Epoch(2)),
            new ReplicaServed(Vm, Next(), new Epoch(2), [new(0, "nbd://a")]), new CommitFailover(Vm, Next())])
        {
            machine.Tell(told);
            ReceiveWorkAndReply<Accepted>();
        }
    }

    /// <summary>Whoever should have told it may have died between saving the policy and telling it.</summary>
    [Fact]
    public async Task A_policy_that_was_changed_unheard_is_asked_for_and_followed()
    {
        var configuration = Sys.ActorOf(ConfigurationActor.Props(TimeProvider.System));
        var longer = ReplicationPolicy.Default with { RetentionWindow = TimeSpan.FromDays(9) };
        Assert.IsType<ConfigurationAccepted>(await configuration.Ask<ConfigurationReply>(new SavePolicy("admin", "default", longer), TimeSpan.FromSeconds(5)));
        var machine = Start();
        machine.Tell(Examples.Enable);
        ReceiveWorkAndReply<Accepted>();
        var question = FishForMessage(m => m is GetPolicy, ProtectedMachineActor.RepeatEvery * 2);
        configuration.Tell(question, machine);
        Assert.Equal(longer, ((HoldStore)FishForMessage(m => m is HoldStore { Policy: var now } && now == longer, TimeSpan.FromSeconds(5))).Policy);
        await machine.GracefulStop(TimeSpan.FromSeconds(5));
        Assert.Equal(longer, (await Start().Ask<MachineState>(new GetMachine(Vm), TimeSpan.FromSeconds(5))).State.Protection?.Policy);
    }

    private static StoreReport Stored { get; } = new(Vm, Epoch.First, new Sequence(3), true, null, null, 1, 4096, 1 << 30, null, new SiteName("secondary"));

    private IActorRef Start(TimeProvider? clock = null) => Sys.ActorOf(ProtectedMachineActor.Props(Vm, TestActor, clock ?? TimeProvider.System));

    /// <summary>It stands still; its time of day can be set apart from what passes.</summary>
    private sealed class SetClock : TimeProvider
    {
        private DateTimeOffset _now = DateTimeOffset.UnixEpoch.AddYears(60);
        private long _passed;

        public override long TimestampFrequency => TimeSpan.TicksPerSecond;
        public override DateTimeOffset GetUtcNow() => _now;
        public override long GetTimestamp() => Volatile.Read(ref _passed);
        internal void Set(TimeSpan by) => _now += by;

        internal void Pass(TimeSpan time)
        {
            _now += time;
            Interlocked.Add(ref _passed, time.Ticks);
        }
    }

    /// <summary>Asker and worker are one here: the reply, and the work told with it.</summary>
    private List<object> ReceiveWorkAndReply<TReply>()
    {
        ExpectMsg<TReply>(TimeSpan.FromSeconds(5));
        var work = new List<object>();
        while (ReceiveOne(TimeSpan.FromMilliseconds(300)) is { } message) work.Add(message);
        return work;
    }
}
