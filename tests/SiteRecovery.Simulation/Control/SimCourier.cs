using Akka.Actor;
using SiteRecovery.Simulation.World;

namespace SiteRecovery.Simulation.Control;

/// <summary>Brings the cluster's messages to an actor of another node: in order, late, or not at all; or, where the network mixes them, in any order and twice.</summary>
internal sealed class SimCourier : ReceiveActor
{
    private readonly SimClock _clock;
    private readonly Func<bool> _mixes;
    private TimeSpan _lastArrival;

    /// <param name="to">Whom a message is for; null while nobody is there.</param>
    /// <param name="lag">Null: the network does not get there.</param>
    /// <param name="wire">What a message is written and read by on its way; null: it comes as it is.</param>
    public SimCourier(Func<object, IActorRef?> to, Func<TimeSpan?> lag, Func<bool> mixes, SimClock clock, Func<object, object>? wire)
    {
        (_clock, _mixes) = (clock, mixes);
        Receive<Arrived>(a =>
        {
            if (lag() is not null) to(a.Message)?.Tell(a.Message, a.Sender);
        });
        ReceiveAny(message =>
        {
            if (lag() is not { } late) return;
            if (wire is not null) message = wire(message);
            Bring(new Arrived(message, Sender), late);
            if (mixes() && lag() is { Microseconds: var dice } later && dice % 4 == 0) Bring(new Arrived(message, Sender), later);
        });
    }

    private void Bring(Arrived message, TimeSpan late)
    {
        var at = _clock.Elapsed + late;
        if (!_mixes()) at = _lastArrival = at > _lastArrival ? at : _lastArrival;
        var self = Self;
        _clock.CreateTimer(_ => self.Tell(message, ActorRefs.NoSender), null, at - _clock.Elapsed, Timeout.InfiniteTimeSpan);
    }

    private sealed record Arrived(object Message, IActorRef Sender) : INoSerializationVerificationNeeded;
}

/// <summary>A node's place in the tree of paths: work is addressed to "{node}/user/{role}".</summary>
internal sealed class SimFolder : UntypedActor
{
    public SimFolder(IReadOnlyDictionary<string, Props> children)
    {
        foreach (var (name, props) in children) Context.ActorOf(props, name);
    }

    protected override void OnReceive(object message) => Unhandled(message);
}
