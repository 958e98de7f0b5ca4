using Akka.Actor;
using SiteRecovery.Actors.ProtectedMachines;
using SiteRecovery.Actors.Sites;
using SiteRecovery.Domain.History;
using SiteRecovery.Domain.Results;

namespace SiteRecovery.Actors.MasterTargets;

/// <summary>On every node of the role, at "/user/master-target": hands work and questions to the machine's store actor.</summary>
public sealed class MasterTargetActor : ReceiveActor, IWithTimers
{
    private static readonly TimeSpan LoadEvery = TimeSpan.FromSeconds(2);
    private readonly MasterTargetRoom _room;
    private readonly IActorRef _machines;
    private readonly Dictionary<MachineId, StoreReport> _reports = [];

    /// <param name="machines">The machines' shard region or its proxy.</param>
    public MasterTargetActor(MasterTargetRoom room, IActorRef machines, IActorRef site)
    {
        (_room, _machines) = (room, machines);
        Receive<Work>(work => StoreOf(work.Machine).Forward(work));
        Receive<WorkEnded>(ended => StoreOf(ended.Work.Machine).Forward(ended));
        Receive<IForStore>(question => StoreOf(question.Machine).Forward(question));
        Receive<StoreReport>(report => _reports[report.Machine] = report);
        Receive<TellLoad>(_ => site.Tell(new StoresHeld(_reports.Count, _reports.Values.Sum(r => r.Bytes), _room.FreeBytes)));
    }

    public ITimerScheduler Timers { get; set; } = null!;

    public static Props Props(MasterTargetRoom room, IActorRef machines, IActorRef site) =>
        Akka.Actor.Props.Create(() => new MasterTargetActor(room, machines, site));

    protected override void PreStart() => Timers.StartPeriodicTimer(nameof(TellLoad), TellLoad.Instance, TimeSpan.Zero, LoadEvery);

    private IActorRef StoreOf(MachineId machine) =>
        Context.Child($"store-{machine}") is { } child && !child.IsNobody() ? child : Context.ActorOf(StoreActor.Props(machine, _room, _machines), $"store-{machine}");

    private sealed class TellLoad
    {
        public static TellLoad Instance { get; } = new();
    }
}
