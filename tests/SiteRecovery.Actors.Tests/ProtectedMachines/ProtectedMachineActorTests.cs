using Akka.Actor;
using Akka.Persistence;
using Akka.Persistence.TestKit;
using Akka.TestKit.Xunit2;
using SiteRecovery.Actors.ProtectedMachines;
using SiteRecovery.Domain.History;
using SiteRecovery.Domain.ProtectedMachines;
using SiteRecovery.Domain.Results;
using SiteRecovery.Domain.Vaults;
using Xunit;

namespace SiteRecovery.Actors.Tests.ProtectedMachines;

public sealed class ProtectedMachineActorTests() : TestKit(TestSettings.Config)
{
    private static readonly MachineId Vm = Examples.Vm;

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
        Assert.Null((await machine.Ask<MeasuredMachine>(new GetMeasuredMachine(Vm), TimeSpan.FromSeconds(5))).StoreMeasuredAt);
        machine.Tell(new StoreReport(Vm, Epoch.First, new Sequence(3), true, null, null, 1, 4096, 1 << 30, null, new SiteName("lyon")));
        var measured = await machine.Ask<MeasuredMachine>(new GetMeasuredMachine(Vm), TimeSpan.FromSeconds(5));
        Assert.Equal(new Sequence(3), measured.Store?.Durable);
        Assert.NotNull(measured.StoreMeasuredAt);
    }

    private IActorRef Start() => Sys.ActorOf(ProtectedMachineActor.Props(Vm, TestActor, TimeProvider.System));

    /// <summary>Asker and worker are one here: the reply, and the work told with it.</summary>
    private List<object> ReceiveWorkAndReply<TReply>()
    {
        ExpectMsg<TReply>(TimeSpan.FromSeconds(5));
        var work = new List<object>();
        while (ReceiveOne(TimeSpan.FromMilliseconds(300)) is { } message) work.Add(message);
        return work;
    }
}
