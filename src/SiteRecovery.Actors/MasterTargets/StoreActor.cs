using System.Collections.Immutable;
using Akka.Actor;
using Akka.Event;
using SiteRecovery.Actors.ProtectedMachines;
using SiteRecovery.Actors.ProcessServers;
using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.DataPlane.Capture;
using SiteRecovery.DataPlane.Hypervisors;
using SiteRecovery.DataPlane.Keys;
using SiteRecovery.DataPlane.Retention;
using SiteRecovery.Domain.History;
using SiteRecovery.Domain.ProtectedMachines;
using SiteRecovery.Domain.Results;
using SiteRecovery.Domain.Vaults;

namespace SiteRecovery.Actors.MasterTargets;

/// <summary>One machine's store: does its work one piece at a time, says what came of it, and measures the store twice a second.</summary>
public sealed class StoreActor : ReceiveActor, IWithTimers
{
    private static readonly TimeSpan MeasureEvery = TimeSpan.FromMilliseconds(500), PointPatience = TimeSpan.FromSeconds(10), MaintainEvery = TimeSpan.FromSeconds(10), ServeAgainAfter = TimeSpan.FromSeconds(2);
    /// <summary>With the interval 8 MiB/s: a terabyte in a day and a half, and no disk notices.</summary>
    private const long ScrubbedAtOnceBytes = 80 << 20;
    /// <summary>With the interval 25 MiB/s, of what has just been written mostly: it is still in memory.</summary>
    private const long ProvenAtOnceBytes = 256 << 20;
    private readonly MachineId _machine;
    private readonly MasterTargetRoom _room;
    private readonly SiteName _site;
    private readonly IActorRef _machines;
    private readonly List<object> _waiting = [];
    private readonly CancellationTokenSource _stop = new();
    private (object Order, CancellationTokenSource Stop)? _underWay;
    private bool _measuring;
    private MarkTail? _tail;
    private int _tailParts;
    private RetentionLimits? _limits;
    private readonly SpaceForecast _forecast = new();
    private readonly UnreadableOrders _unreadable;
    private bool _maintaining, _isUnservable;
    private ImmutableHashSet<string> _verifying = []; // ids of points
    private Task _verification = Task.CompletedTask; // one after the other
    private string? _unmaintained, _notServed;

    public StoreActor(MachineId machine, MasterTargetRoom room, SiteName site, IActorRef machines)
    {
        (_machine, _room, _site, _machines, _unreadable) = (machine, room, site, machines, new UnreadableOrders(room.Time));
        Receive<Work>(Enqueue);
        Receive<ReplicateReplica>(Enqueue);
        Receive<TellTail>(Enqueue);
        Receive<ServeAgain>(Enqueue);
        Receive<NotServedAgain>(failed =>
        {
            if (failed.Reason != _notServed) Context.GetLogger().Warning("The replica of {0} that was served before cannot be served yet: {1}", _machine, _notServed = failed.Reason);
            Timers.StartSingleTimer(nameof(ServeAgain), ServeAgain.Instance, ServeAgainAfter);
            Done(new WorkDone(null));
        });
        Receive<TailFound>(Collect);
        Receive<WorkEnded>(ended =>
        {
            // A drain that was called off must not press the button of a machine that runs again.
            _waiting.RemoveAll(waiting => ended.Work.Equals(WorkOf(waiting)));
            // Nobody waits for hours until disks are hashed that nobody asks for any more. What its end wakes is not done on this thread.
            if (_underWay is { } now && ended.Work.Equals(WorkOf(now.Order))) _ = now.Stop.CancelAsync();
            // What could not be read has been waited for, also by the order that may go on without it.
            if (ended.Work is not ContinueStore) _unreadable.Forget(ended.Work);
            if (ended.Work is ServeReplica) Enqueue(ended);
        });
        Receive<WorkDone>(Done);
        Receive<VerifyPoint>(order =>
        {
            // A store that cannot be opened must not end the actor, and what waits for it.
            var (asker, room) = (Sender, _room);
            Task.Run(() => OpenedStore(room, order.Machine)).PipeTo(Self, asker, store => new ToVerify(store, order.Point), error => new StoreUnavailable(error.Message));
        });
        Receive<StoreUnavailable>(unavailable => Sender.Tell(unavailable));
        Receive<ToVerify>(StartVerifying);
        Receive<Verified>(verified => _verifying = _verifying.Remove(verified.Point));
        Receive<IForStore>(question =>
        {
            var (asker, room, verifying) = (Sender, _room, _verifying);
            Task.Run(() => AnswerAsync(room, question, verifying)).PipeTo(asker, failure: error => new StoreUnavailable(error.Message));
        });
        Receive<Measure>(_ =>
        {
            // Its machine stands still, and whoever would order it may be away.
            if (StoreWork.ReplicaOf(_room, _machine) is { HasFailed: true } && !Timers.IsTimerActive(nameof(ServeAgain))) Enqueue(ServeAgain.Instance);
            StartMeasuring();
        });
        Receive<Measured>(measured =>
        {
            _measuring = false;
            var store = _forecast.Of(measured.Store, _limits?.BytesMax, _room.Time.GetUtcNow());
            Context.Parent.Tell(store);
            foreach (var report in new object?[] { store, measured.Replica, measured.News, measured.Flattening })
                if (report is not null) _machines.Tell(report);
        });
        Receive<Unmeasured>(_ => _measuring = false);
        Receive<Maintain>(_ => StartMaintaining());
        Receive<Maintained>(maintained =>
        {
            if (maintained.Failure is { } failure && failure != _unmaintained) Context.GetLogger().Warning("The store of {0} could not be maintained in full: {1}", _machine, failure);
            (_maintaining, _unmaintained) = (false, maintained.Failure);
            if (maintained.Damaged is { } damaged) _machines.Tell(damaged);
        });
    }

    public ITimerScheduler Timers { get; set; } = null!;

    public static Props Props(MachineId machine, MasterTargetRoom room, SiteName site, IActorRef machines) =>
        Akka.Actor.Props.Create(() => new StoreActor(machine, room, site, machines));

    protected override void PreStart()
    {
        Timers.StartPeriodicTimer(nameof(Measure), Measure.Instance, TimeSpan.Zero, MeasureEvery);
        Timers.StartPeriodicTimer(nameof(Maintain), Maintain.Instance, MaintainEvery, MaintainEvery);
    }

    protected override void PostStop() => _stop.Cancel();

    private void Enqueue(object work)
    {
        if (work is HoldStore hold) _limits = hold.MayForget ? new RetentionLimits(hold.Policy.RetentionWindow, hold.Policy.RetentionBytesMax, hold.Policy.RetentionTiers) : null;
        // What is under way is told again every few seconds; hashing a large disk takes longer, and must not be done twice.
        if (!_waiting.Contains(work) && !(_underWay is { Stop.IsCancellationRequested: false } now && work.Equals(now.Order))) _waiting.Add(work);
        StartNext();
    }

    private void StartNext()
    {
        if (_underWay is not null || _waiting.Count == 0) return;
        var next = _waiting[0];
        _waiting.RemoveAt(0);
        var own = CancellationTokenSource.CreateLinkedTokenSource(_stop.Token);
        _underWay = (next, own);
        var (room, machine, unservable, givesUp, stop) = (_room, _machine, _isUnservable, WorkOf(next) is { } work && _unreadable.IsOverdue(work), own.Token);
        // What the actor before this one had under way ends first.
        Task.Run(() => room.Turns.TakeAsync(machine, () => StoreWork.PerformAsync(room, machine, next, unservable, givesUp, stop), stop), stop).PipeTo(Self, success: report => new WorkDone(report), failure: error => next is ServeAgain ? new NotServedAgain(error.Message) : new WorkDone(null, error));
    }

    private void Done(WorkDone done)
    {
        // What was ended tells nothing: whoever wants it after all asks again.
        var result = _underWay is not { Stop.IsCancellationRequested: false } now ? null : done.Failure is { } failure ? FailureOf(now.Order, failure) : done.Result;
        if (_underWay?.Order is ServeReplica) _isUnservable = result is WorkFailed { Permanent: true };
        if (done.Failure is null && WorkOf(_underWay?.Order) is { } did) _unreadable.Forget(did);
        _underWay?.Stop.Dispose();
        _underWay = null;
        if (result is TailTold told)
            foreach (var part in told.Parts) Context.ActorSelection(told.To).Tell(part);
        else if (result is not null) _machines.Tell(result);
        StartNext();
    }

    private void Collect(TailFound found)
    {
        if (found.Part == 0) _tail = new MarkTail(found.Machine, found.Epoch, found.Replica, found.Newest, found.Told, new ToldRanges());
        if (_tail is not { } tail || tail.Epoch != found.Epoch || _tailParts != found.Part)
        {
            if (found.Part != 0) return; // one was lost on the way: it is told again
            tail = _tail!;
        }
        tail.Ranges.Add(found.Numbers);
        _tailParts = found.Part + 1;
        if (!found.Last) return;
        Enqueue(tail);
        (_tail, _tailParts) = (null, 0);
    }

    private void StartMeasuring()
    {
        if (_measuring) return;
        _measuring = true;
        var (room, machine, site) = (_room, _machine, _site);
        Task.Run(() => MeasureStore(room, machine, site)).PipeTo(Self, failure: _ => Unmeasured.Instance);
    }

    private static Work? WorkOf(object? order) => order switch
    {
        Work own => own,
        TellTail tail => tail.Work,
        ReplicateReplica replicate => replicate.Work,
        _ => null,
    };

    // What is wrong with the order itself stays wrong, and what is lost stays lost; what else is wrong with disk or network may be mended.
    private WorkFailed? FailureOf(object order, Exception error)
    {
        var work = WorkOf(order);
        if (order is MarkTail mark) return new WorkFailed(mark.Machine, new CommandId($"{WorkKind.TakeBackTail}:{mark.Epoch}"), mark.Epoch, WorkKind.TakeBackTail, error.Message, Permanent: false);
        return work is null ? null : new WorkFailed(work.Machine, StoreWork.IdOf(work), work.Epoch, work.Kind, error.Message,
            Permanent: _unreadable.IsLost(work, error) || IsNeverRun(work, error) || error is InvalidDataException or StaleEpochException && work is not (HoldStore or ContinueStore or TakeBackTail or ReplicateFrom or FlattenReplica or ReleaseReplica));
    }

    /// <summary>Somebody has to change something on the host first: what was planned goes back, and else another way can be chosen.</summary>
    private static bool IsNeverRun(Work work, Exception error) =>
        work is VerifyTarget or ServeReplica or ServeTest && error is HypervisorException { Problem: HypervisorProblem.Conflict or HypervisorProblem.Unfit };

    private static RetentionStore OpenedStore(MasterTargetRoom room, MachineId machine) =>
        room.Stores.Has(machine) ? room.Stores.StoreOf(machine) : throw new IOException($"this master target holds no store of {machine}");

    private void StartVerifying(ToVerify order)
    {
        var (store, point, asker, turn, stop) = (order.Store, order.Point, Sender, _verification, _stop.Token);
        if (!_verifying.Contains(point.Id))
            (_verification = Task.Run(async () =>
            {
                await turn.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
                return store.Verify(point, stop);
            }, stop)).PipeTo(Self, success: () => new Verified(point.Id), failure: _ => new Verified(point.Id));
        _verifying = _verifying.Add(point.Id);
        var verifying = _verifying;
        Task.Run(() => Noted(store, point, verifying)).PipeTo(asker, failure: error => new StoreUnavailable(error.Message));
    }

    private static NotedPoint Noted(RetentionStore store, RecoveryPoint point, ImmutableHashSet<string> verifying)
    {
        var note = store.NoteOf(point);
        return new NotedPoint(point, note.Protected, verifying.Contains(point.Id), note.VerifiedAt, note.Damage, note.Root, store.SignalsOf(point));
    }

    private void StartMaintaining()
    {
        if (_maintaining) return;
        _maintaining = true;
        var (room, machine, limits, stop) = (_room, _machine, _limits, _stop.Token);
        Task.Run(() =>
        {
            if (!room.Stores.Has(machine)) return new Maintained(null);
            var store = room.Stores.StoreOf(machine);
            string? failure = null;
            // A small store is read as a whole each time; a clock that jumped back must not stop it for long.
            if (!store.IsBetweenScrubs || (room.Time.GetUtcNow() - store.ScrubbedAt!.Value).Duration() >= room.ScrubPause) Try(() => store.Scrub(ScrubbedAtOnceBytes, stop));
            Try(() => store.Maintain(limits, stop));
            Try(() => store.ProveNewest(ProvenAtOnceBytes, stop));
            ImmutableArray<StaleRange> lost = [.. store.DamageOfNewest().Take(StaleRange.AtOnceMax).Select(r => new StaleRange(r.Disk, r.Offset, r.Length))];
            return new Maintained(failure, lost.IsEmpty ? null : new StoreDamaged(machine, new CommandId("damaged"), store.CurrentEpoch, lost));

            // What one of them cannot read must not keep the others for ever.
            void Try(Action step)
            {
                try
                {
                    step();
                }
                catch (Exception failed) when (failed is IOException or StoreLockedException)
                {
                    failure ??= failed.Message;
                }
            }
        }, stop).PipeTo(Self, failure: error => new Maintained(error.Message));
    }

    private static object MeasureStore(MasterTargetRoom room, MachineId machine, SiteName site)
    {
        if (!room.Stores.Has(machine)) return Unmeasured.Instance;
        var store = room.Stores.StoreOf(machine);
        var newest = store.ConsistentUpTo;
        var report = new StoreReport(machine, store.CurrentEpoch, store.DurableSequence, store.Consistent, newest, store.OldestPoint ?? newest,
            store.PointCount, store.Bytes, room.FreeBytes, room.Stores.FailureOf(machine), site,
            store.Rot is { Count: > 0 } rot ? $"{rot.Count} damaged places, the first: {rot[0].Reason}" : null);
        var replica = StoreWork.ReplicaOf(room, machine);
        if (replica is not { Work: { } work }) return new Measured(report, null, null, replica?.Flattening);
        var status = replica.Status([]);
        return new Measured(report, AgentReports.MeasurementOf(status with { Machine = machine.Value }, null, source: null), AgentReports.Of(work, status), replica.Flattening);
    }

    private static async Task<object> AnswerAsync(MasterTargetRoom room, IForStore question, ImmutableHashSet<string> verifying)
    {
        if (!room.Stores.Has(question.Machine)) return new StoreUnavailable($"this master target holds no store of {question.Machine}");
        var store = room.Stores.StoreOf(question.Machine);
        switch (question)
        {
            case ResolvePoint resolve:
                var point = store.ResolvePoint(resolve.Selector);
                var around = point is null && resolve.Selector is PointSelector.ById(var id) && RecoveryPoint.TryParseId(id, out var epoch, out var sequence) ? store.ThinnedAround(epoch, sequence) : null;
                return new PointResolved(point, around?.Before, around?.After);
            case GetRecoveryPoints get:
                var jumps = store.Jumps();
                var found = store.Points.Reverse().Where(p => (get.Kind is null || p.Kind == get.Kind) && !(p.At < get.From) && !(p.At > get.To))
                    .Skip(get.Skip).Take(get.Limit + 1).Select(p => Noted(store, p, verifying) with { Jump = jumps.Contains(p) }).ToImmutableArray();
                return found.Length > get.Limit ? new RecoveryPoints(found[..get.Limit], true) : new RecoveryPoints(found, false);
            case ProtectPoint protect:
                store.Protect(protect.Point, protect.Keep);
                return Noted(store, protect.Point, verifying);
            case TakeReplicaPoint take when StoreWork.ReplicaOf(room, take.Machine) is { } replica:
                var taken = await replica.TakePointAsync(take.Label ?? "", take.Kind).WaitAsync(PointPatience, room.Time);
                return new ReplicaPointTaken(RecoveryPoint.IdOf(replica.Work?.Epoch ?? store.CurrentEpoch, taken));
            case TakeReplicaPoint take: return new StoreUnavailable($"this master target serves no replica of {take.Machine}");
            default: throw new InvalidOperationException($"a store cannot answer {question.GetType().Name}");
        }
    }

    /// <param name="Result">A report to the machine, or a tail to tell; null: nothing.</param>
    private sealed record WorkDone(object? Result, Exception? Failure = null);

    private sealed record NotServedAgain(string Reason);

    private sealed record Measured(StoreReport Store, AgentReport? Replica, DataPlaneReport? News, FlatteningReport? Flattening);

    private sealed class Measure
    {
        public static Measure Instance { get; } = new();
    }

    private sealed class Maintain
    {
        public static Maintain Instance { get; } = new();
    }

    private sealed record Maintained(string? Failure, StoreDamaged? Damaged = null);

    private sealed record ToVerify(RetentionStore Store, RecoveryPoint Point);

    private sealed record Verified(string Point);

    private sealed class Unmeasured
    {
        public static Unmeasured Instance { get; } = new();
    }
}
