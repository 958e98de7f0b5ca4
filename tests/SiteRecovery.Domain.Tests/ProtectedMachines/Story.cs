using System.Collections.Immutable;
using SiteRecovery.Domain.History;
using SiteRecovery.Domain.Jobs;
using SiteRecovery.Domain.Policies;
using SiteRecovery.Domain.ProtectedMachines;
using SiteRecovery.Domain.Results;
using SiteRecovery.Domain.Vaults;

namespace SiteRecovery.Domain.Tests.ProtectedMachines;

/// <summary>Given/when/then over Decide and Apply: keeps the state, the last decision and all events.</summary>
internal sealed class Story
{
    public static readonly MachineId Vm1 = new("vm1");
    public static readonly DateTimeOffset T0 = new(2026, 1, 31, 3, 0, 0, TimeSpan.Zero);
    public static readonly AgentName Agent = new("host-a");
    public static readonly SiteName Source = new("paris");
    public static readonly SiteName Target = new("lyon");
    public static readonly RecoveryPoint Point = new(Epoch.First, new Sequence(42), T0, PointKind.CrashConsistent);
    public static readonly ImmutableArray<DiskSpec> Disks = [new(0, "root", "/disks/root", 1 << 20, "nbd"), new(1, "data", "/disks/data", 1 << 20, "nbd")];
    public static readonly ImmutableArray<DiskExport> Exports = [new(0, "nbd://lyon:1/vm1-0"), new(1, "nbd://lyon:1/vm1-1")];

    public static readonly DrainedSource Drain = new(new Sequence(42), new string('a', 64));

    private int _ids;

    public ProtectedMachine State { get; private set; } = ProtectedMachine.New(Vm1);
    public Decision Last { get; private set; } = Decision.Refuse(new Refused(Vm1, new("none"), "", "", "", "", []));
    public List<MachineEvent> Events { get; } = [];
    public DateTimeOffset Now { get; private set; } = T0;

    public CommandId NextId() => new($"c{++_ids}");

    public Story When(MachineCommand command)
    {
        Now += TimeSpan.FromSeconds(1);
        Last = ProtectedMachine.Decide(State, command, Now);
        foreach (var e in Last.Events) State = State.Apply(e);
        Events.AddRange(Last.Events);
        return this;
    }

    public static EnableProtection EnableWith(CommandId id, ReplicationPolicy? policy = null) =>
        new(Vm1, id, Agent, Source, Target, Disks, "gold", policy ?? ReplicationPolicy.Default);

    public Story Enabled(ReplicationPolicy? policy = null) => When(EnableWith(NextId(), policy));
    public Story Synchronized() => When(new SynchronizationCompleted(Vm1, NextId(), State.Epoch, State.Round, new Sequence(40)));
    public Story Protected(ReplicationPolicy? policy = null) => Enabled(policy).Synchronized();
    public Story PolicyChanged(ReplicationPolicy policy) => When(new ChangePolicy(Vm1, NextId(), "gold", policy));
    public Story Diverged() => When(new DivergenceReported(Vm1, NextId(), State.Epoch, State.Round, "the bitmap was lost"));
    public Story Paused() => When(new PauseReplication(Vm1, NextId()));
    public Story Resumed() => When(new ResumeReplication(Vm1, NextId()));
    public Story Resynchronized() => When(new Resynchronize(Vm1, NextId()));
    public Story FailedOverTo(RecoveryPoint point) => When(new UnplannedFailover(Vm1, NextId(), point));
    public Story EpochOpened() => When(new EpochOpened(Vm1, NextId(), State.Epoch));
    public Story Fenced() => When(new SourceFenced(Vm1, NextId(), State.Epoch));
    public Story Served() => When(new ReplicaServed(Vm1, NextId(), State.Epoch, Exports, Firsts: new(TimeSpan.Zero)));
    public Story Failed(string work, bool permanent, string reason = "no route") => When(new WorkFailed(Vm1, NextId(), State.Epoch, work, reason, permanent));
    public Story PlannedStarted(TimeSpan? patience = null) => When(new PlannedFailover(Vm1, NextId(), patience));
    public Story Drained() => When(new SourceDrained(Vm1, NextId(), State.Epoch, State.Round, Drain, "nobody has the disks open"));
    public Story Matched() => When(new TargetVerified(Vm1, NextId(), State.Epoch, Point, Drain.RootHash));
    public Story Held() => When(new SourceHeld(Vm1, NextId(), State.Epoch, State.Round, Drain));
    public Story Verified() => Matched().Held();
    public Story Cancelled() => When(new CancelFailover(Vm1, NextId()));
    public Story Reversed(bool full = false) => When(new ReverseReplicate(Vm1, NextId(), Full: full));
    public Story TailMarked() => When(new TailMarked(Vm1, NextId(), State.Epoch, new Sequence(50), 3, 3 << 16));
    public Story StoreContinued(RecoveryPoint? kept = null) => When(new StoreContinued(Vm1, NextId(), State.Epoch, kept));
    public Story After(TimeSpan passed)
    {
        Now += passed;
        return When(new TimePassed(Vm1, NextId()));
    }

    /// <summary>Failed over, committed, reversed: the machine runs at the target and is protected towards its old source.</summary>
    public Story Turned() => FailedOverTo(Point).EpochOpened().Served().Fenced().Committed().Reversed().TailMarked().StoreContinued().Synchronized();

    public Story Flattened() => When(new ReplicaFlattened(Vm1, NextId(), State.Epoch, Pending.OfType<FlattenReplica>().Single().Layer));
    public Story Released() => When(new ReplicaReleased(Vm1, NextId(), State.Epoch, State.Releasing!.Layer, "/released/vm1"));
    public Story TestStarted() => When(new TestFailover(Vm1, NextId(), Point));
    public Story TestServed() => When(new TestServed(Vm1, NextId(), State.Tests[^1].Id, Exports, Firsts: new(TimeSpan.Zero)));
    public Story TestCleanedUp(string? notes = null) => When(new TestFailoverCleanup(Vm1, NextId(), null, notes));
    public Story TestGone() => When(new TestRemoved(Vm1, NextId(), State.Tests[^1].Id));
    public Story PointChanged() => When(new ChangeRecoveryPoint(Vm1, NextId(), Point with { Sequence = new Sequence(30) }));
    public Story Committed() => When(new CommitFailover(Vm1, NextId()));
    public Story Disabled() => When(new DisableProtection(Vm1, NextId()));
    public Story StoreGone() => When(new StoreRemoved(Vm1, NextId(), State.Epoch));
    public Story AgentGone() => When(new AgentReleased(Vm1, NextId(), State.Epoch, Agent));

    public static ReplicationPolicy ManualPolicy => ReplicationPolicy.Default with { ResynchronizationWindow = ResynchronizationWindow.Manual };

    public string Phase => State.Phase.Name;
    public Job LastJob => State.Jobs.NewestFirst.First();
    public Job JobOf(string action) => State.Jobs.NewestFirst.First(j => j.Action == action);
    public ImmutableArray<Work> Pending => ProtectedMachine.Pending(State);
    public IEnumerable<string> PendingKinds => Pending.Select(w => w.Kind);
    public Refused Refusal => Assert.IsType<Refused>(Last.Reply);

    /// <summary>One story for each state and sub-state that can be reached.</summary>
    public static IReadOnlyList<(string Name, Func<Story> Tell)> EveryState { get; } =
    [
        ("Unprotected", () => new Story()),
        ("Unprotected (store removal pending)", () => new Story().Protected().Disabled()),
        ("InitialReplication", () => new Story().Enabled()),
        ("Protected", () => new Story().Protected()),
        ("Paused (initial replication)", () => new Story().Enabled().Paused()),
        ("Paused (delta)", () => new Story().Protected().Paused()),
        ("Paused (must resynchronize)", () => new Story().Protected().Paused().Diverged()),
        ("ResynchronizationRequired", () => new Story().Protected(ManualPolicy).Diverged()),
        ("Resynchronizing", () => new Story().Protected().Diverged()),
        ("UnplannedFailoverInProgress", () => new Story().Protected().FailedOverTo(Point)),
        ("UnplannedFailoverInProgress (failed)", () => new Story().Protected().FailedOverTo(Point).Failed(WorkKind.OpenEpoch, permanent: true)),
        ("UnplannedFailoverInProgress (starting)", () => new Story().Protected().FailedOverTo(Point).EpochOpened()),
        ("UnplannedFailoverInProgress (another point)", () => new Story().Protected().FailedOverTo(Point).EpochOpened().Served().PointChanged()),
        ("UnplannedFailoverInProgress (from a replica)", () => new Story().Protected().Turned().FailedOverTo(Point with { Epoch = new Epoch(2) })),
        ("FailoverCommitPending", () => new Story().Protected().FailedOverTo(Point).EpochOpened().Served()),
        ("Protected (test failover runs)", () => new Story().Protected().TestStarted()),
        ("PlannedFailoverInProgress (draining)", () => new Story().Protected().PlannedStarted()),
        ("PlannedFailoverInProgress (verifying)", () => new Story().Protected().PlannedStarted().Drained()),
        ("PlannedFailoverInProgress (holding)", () => new Story().Protected().PlannedStarted().Drained().Matched()),
        ("PlannedFailoverInProgress (opening)", () => new Story().Protected().PlannedStarted().Drained().Verified()),
        ("PlannedFailoverInProgress (starting)", () => new Story().Protected().PlannedStarted().Drained().Verified().EpochOpened()),
        ("Resynchronizing (after a cancel)", () => new Story().Protected().FailedOverTo(Point).EpochOpened().Served().Cancelled()),
        ("ReverseReplicating", () => new Story().Protected().FailedOverTo(Point).EpochOpened().Served().Committed().Reversed()),
        ("ReverseReplicating (synchronizing)", () => new Story().Protected().FailedOverTo(Point).EpochOpened().Served().Fenced().Committed().Reversed().TailMarked().StoreContinued()),
        ("ReverseReplicating (full)", () => new Story().Protected().FailedOverTo(Point).EpochOpened().Served().Fenced().Committed().Reversed(full: true)),
        ("ReverseReplicating (full, synchronizing)", () => new Story().Protected().FailedOverTo(Point).EpochOpened().Served().Fenced().Committed().Reversed(full: true).StoreContinued()),
        ("Protected (from a replica)", () => new Story().Protected().Turned()),
        ("FailedOver (test failover runs)", () => new Story().Protected().FailedOverTo(Point).EpochOpened().Served().Committed().TestStarted()),
        ("FailedOver (flattened)", () => new Story().Protected().FailedOverTo(Point).EpochOpened().Served().Committed().Flattened()),
        ("FailedOver (cannot be served)", () => new Story().Protected().FailedOverTo(Point).EpochOpened().Served().Committed().Failed(WorkKind.ServeReplica, permanent: true)),
        ("Protected (from a flattened replica)", () => new Story().Protected().Turned().Flattened()),
        ("Unprotected (replica being released)", () => new Story().Protected().Turned().Flattened().Disabled()),
        ("FailedOver", () => new Story().Protected().FailedOverTo(Point).EpochOpened().Served().Committed()),
    ];

    public static OperatorCommand CommandFor(string action, CommandId id) => action switch
    {
        MachineActions.Enable => EnableWith(id),
        MachineActions.Disable => new DisableProtection(Vm1, id),
        MachineActions.Pause => new PauseReplication(Vm1, id),
        MachineActions.Resume => new ResumeReplication(Vm1, id),
        MachineActions.Resynchronize => new Resynchronize(Vm1, id),
        MachineActions.TestFailover => new TestFailover(Vm1, id, Point),
        MachineActions.TestFailoverCleanup => new TestFailoverCleanup(Vm1, id),
        MachineActions.PlannedFailover => new PlannedFailover(Vm1, id),
        MachineActions.UnplannedFailover => new UnplannedFailover(Vm1, id, Point),
        MachineActions.ChangeRecoveryPoint => new ChangeRecoveryPoint(Vm1, id, Point),
        MachineActions.Commit => new CommitFailover(Vm1, id),
        MachineActions.CancelFailover => new CancelFailover(Vm1, id),
        MachineActions.ReverseReplicate => new ReverseReplicate(Vm1, id, Full: true),
        _ => throw new ArgumentOutOfRangeException(nameof(action), action, null),
    };
}
