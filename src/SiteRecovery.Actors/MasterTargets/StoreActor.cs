using System.Collections.Immutable;
using Akka.Actor;
using SiteRecovery.Actors.ProtectedMachines;
using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.Domain.History;
using SiteRecovery.Domain.ProtectedMachines;
using SiteRecovery.Domain.Results;

namespace SiteRecovery.Actors.MasterTargets;

/// <summary>One machine's store: does its work one piece at a time, says what came of it, and measures the store twice a second.</summary>
public sealed class StoreActor : ReceiveActor, IWithTimers
{
    private static readonly TimeSpan MeasureEvery = TimeSpan.FromMilliseconds(500);
    private readonly MachineId _machine;
    private readonly MasterTargetRoom _room;
    private readonly IActorRef _machines;
    private readonly List<object> _waiting = [];
    private readonly CancellationTokenSource _stop = new();
    private bool _busy, _measuring;

    public StoreActor(MachineId machine, MasterTargetRoom room, IActorRef machines)
    {
        (_machine, _room, _machines) = (machine, room, machines);
        Receive<Work>(Enqueue);
        Receive<WorkEnded>(ended =>
        {
            _waiting.Remove(ended.Work);
            if (ended.Work is ServeReplica) Enqueue(ended);
        });
        Receive<WorkDone>(Done);
        Receive<IForStore>(question =>
        {
            var (asker, room) = (Sender, _room);
            Task.Run(() => Answer(room, question)).PipeTo(asker, failure: error => new StoreUnavailable(error.Message));
        });
        Receive<Measure>(_ => StartMeasuring());
        Receive<StoreReport>(report =>
        {
            _measuring = false;
            _machines.Tell(report);
            Context.Parent.Tell(report);
        });
        Receive<Unmeasured>(_ => _measuring = false);
    }

    public ITimerScheduler Timers { get; set; } = null!;

    public static Props Props(MachineId machine, MasterTargetRoom room, IActorRef machines) => Akka.Actor.Props.Create(() => new StoreActor(machine, room, machines));

    protected override void PreStart() => Timers.StartPeriodicTimer(nameof(Measure), Measure.Instance, TimeSpan.Zero, MeasureEvery);

    protected override void PostStop() => _stop.Cancel();

    private void Enqueue(object work)
    {
        if (!_waiting.Contains(work)) _waiting.Add(work);
        StartNext();
    }

    private void StartNext()
    {
        if (_busy || _waiting.Count == 0) return;
        var next = _waiting[0];
        _waiting.RemoveAt(0);
        _busy = true;
        var (room, stop) = (_room, _stop.Token);
        Task.Run(() => PerformAsync(room, next, stop), stop).PipeTo(Self, failure: error => new WorkDone(Failure(next, error)));
    }

    private void Done(WorkDone done)
    {
        _busy = false;
        if (done.Report is not null) _machines.Tell(done.Report);
        StartNext();
    }

    private void StartMeasuring()
    {
        if (_measuring) return;
        _measuring = true;
        var (room, machine) = (_room, _machine);
        Task.Run<object>(() => MeasureStore(room, machine)).PipeTo(Self, failure: _ => Unmeasured.Instance);
    }

    private static async Task<WorkDone> PerformAsync(MasterTargetRoom room, object order, CancellationToken stop)
    {
        switch (order)
        {
            case HoldStore hold:
                room.Stores.Hold(hold.Machine, [.. hold.Disks.Select(d => new DiskGeometry((ushort)d.Index, d.Name, d.SizeBytes))], hold.Epoch);
                return new WorkDone(null);
            case OpenEpoch open:
                await room.Stores.OpenEpochAsync(open.Machine, open.Epoch, open.Point, stop);
                return new WorkDone(new EpochOpened(open.Machine, IdOf(open), open.Epoch));
            case ServeReplica serve:
                var served = await ServeAsync(room, serve.Machine, serve.Machine.Value, serve.Point, $"epoch-{serve.Epoch}", stop);
                // What was written to a replica at another point went with that point.
                for (var epoch = 2; epoch < serve.Epoch.Value; epoch++) room.DeleteLayer(serve.Machine, $"epoch-{epoch}");
                return new WorkDone(new ReplicaServed(serve.Machine, IdOf(serve), serve.Epoch, served));
            case ServeTest test:
                return new WorkDone(new TestServed(test.Machine, IdOf(test), test.Test, await ServeAsync(room, test.Machine, NameOf(test.Machine, test.Test), test.Point, $"test-{test.Test}", stop)));
            case RemoveTest test:
                await room.Exports.StopAsync(NameOf(test.Machine, test.Test), stop);
                room.DeleteLayer(test.Machine, $"test-{test.Test}");
                return new WorkDone(new TestRemoved(test.Machine, IdOf(test), test.Test));
            case RemoveStore remove:
                await room.Exports.StopAsync(remove.Machine.Value, stop);
                await room.Stores.RemoveAsync(remove.Machine, stop);
                return new WorkDone(new StoreRemoved(remove.Machine, IdOf(remove), remove.Epoch));
            case WorkEnded { Work: ServeReplica ended }:
                await room.Exports.StopAsync(ended.Machine.Value, stop);
                return new WorkDone(null);
            default:
                throw new InvalidOperationException($"a master target cannot do {order.GetType().Name}");
        }
    }

    private static async Task<ImmutableArray<DiskExport>> ServeAsync(
        MasterTargetRoom room, MachineId machine, string name, RecoveryPoint point, string layer, CancellationToken stop) =>
        [.. (await room.Exports.ServeAsync(room.Stores.StoreOf(machine), name, point, room.LayerFolderOf(machine, layer), stop)).Select(s => new DiskExport(s.Disk, s.Uri))];

    // A machine's name has no '~'.
    private static string NameOf(MachineId machine, string test) => $"{machine}~{test}";

    // What is wrong with the order itself stays wrong; what is wrong with disk or network may be mended.
    private static WorkFailed? Failure(object order, Exception error) => order is not Work work ? null
        : new WorkFailed(work.Machine, IdOf(work), work.Epoch, work.Kind, error.Message, Permanent: error is InvalidDataException or StaleEpochException && work is not HoldStore);

    private static CommandId IdOf(Work work) => new($"{work.Kind}:{work.Epoch}");

    private static object MeasureStore(MasterTargetRoom room, MachineId machine)
    {
        if (!room.Stores.Has(machine)) return Unmeasured.Instance;
        var store = room.Stores.StoreOf(machine);
        var (points, newest) = (store.Points, store.ConsistentUpTo);
        return new StoreReport(machine, store.CurrentEpoch, store.DurableSequence, store.Consistent, newest, points.Count > 0 ? points[0] : newest,
            points.Count, store.Bytes, room.FreeBytes, store.FailedReason);
    }

    private static object Answer(MasterTargetRoom room, IForStore question)
    {
        if (!room.Stores.Has(question.Machine)) return new StoreUnavailable($"this master target holds no store of {question.Machine}");
        var store = room.Stores.StoreOf(question.Machine);
        switch (question)
        {
            case ResolvePoint resolve: return new PointResolved(store.ResolvePoint(resolve.Selector));
            case GetRecoveryPoints get:
                var found = store.Points.Reverse().Where(p => (get.Kind is null || p.Kind == get.Kind) && !(p.At < get.From) && !(p.At > get.To))
                    .Skip(get.Skip).Take(get.Limit + 1).ToImmutableArray();
                return found.Length > get.Limit ? new RecoveryPoints(found[..get.Limit], true) : new RecoveryPoints(found, false);
            default: throw new InvalidOperationException($"a store cannot answer {question.GetType().Name}");
        }
    }

    /// <param name="Report">Null: there is nothing to tell the machine.</param>
    private sealed record WorkDone(DataPlaneReport? Report);

    private sealed class Measure
    {
        public static Measure Instance { get; } = new();
    }

    private sealed class Unmeasured
    {
        public static Unmeasured Instance { get; } = new();
    }
}
