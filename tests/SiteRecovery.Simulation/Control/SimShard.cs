using Akka.Actor;

namespace SiteRecovery.Simulation.Control;

/// <summary>Where a machine's actor lives: one that its journal has stopped is started again after a while, as a shard does that remembers its entities.</summary>
internal sealed class SimShard : ReceiveActor, IWithTimers
{
    /// <summary>Akka's own, which the product leaves as it is.</summary>
    private static readonly TimeSpan RestartBackoff = TimeSpan.FromSeconds(10);
    private IActorRef? _machine;

    public ITimerScheduler Timers { get; set; } = null!;

    public SimShard(Props machine)
    {
        _machine = Context.Watch(Context.ActorOf(machine));
        Receive<Terminated>(_ =>
        {
            _machine = null;
            Timers.StartSingleTimer(nameof(Restart), Restart.Instance, RestartBackoff);
        });
        Receive<Restart>(_ => _machine ??= Context.Watch(Context.ActorOf(machine)));
        ReceiveAny(message => _machine?.Forward(message));
    }

    private sealed class Restart : INoSerializationVerificationNeeded
    {
        internal static Restart Instance { get; } = new();
    }
}
