using Akka.Actor;
using Akka.Event;
using SiteRecovery.Actors.ProtectedMachines;
using SiteRecovery.Domain.History;
using SiteRecovery.Domain.Results;

namespace SiteRecovery.Actors.ProcessServers;

/// <summary>
/// Lets go of what a process server keeps of protections that have ended: it may have been left by the agent, or was down, when the agent was released, and a replica is no agent at all. A machine of
/// which it keeps something while no order for it comes is asked what has ended of it. Whatever comes late does no harm: what has ended is told by its epochs, and ended for ever.
/// </summary>
public sealed class EndedProtectionsActor : ReceiveActor, IWithTimers
{
    /// <summary>Orders are repeated every five seconds for as long as they are wanted.</summary>
    private static readonly TimeSpan SilenceMax = TimeSpan.FromSeconds(30), LookEvery = TimeSpan.FromSeconds(30);

    /// <summary>After a site's failover no order comes for any of its machines, for long: ten thousand are asked within twenty minutes.</summary>
    private const int AskedAtOnceMax = 250;

    private readonly ProcessServerRoom _room;
    private readonly IActorRef _machines;
    private readonly TimeProvider _clock;
    private readonly Dictionary<MachineId, long> _heard = [];
    private readonly HashSet<MachineId> _forgetting = [], _unforgotten = [];
    private string _lastAsked = "";

    /// <param name="machines">The machines' shard region or its proxy.</param>
    public EndedProtectionsActor(ProcessServerRoom room, IActorRef machines, TimeProvider clock)
    {
        (_room, _machines, _clock) = (room, machines, clock);
        Receive<ReplicateFrom>(Hear);
        Receive<ReleaseAgent>(w =>
        {
            // Where the agent is, its answer comes first, and what is kept goes with it.
            if (!room.Sessions.Connected.Contains(w.Agent.Value) && room.Keeps(w.Machine)) Ask(w.Machine);
        });
        Receive<ProtectionsEnded>(ended => Forget(ended.Machine, ended.UpTo));
        Receive<Forgotten>(Hear);
        Receive<Look>(_ => AskSilent());
    }

    public ITimerScheduler Timers { get; set; } = null!;

    public static Props Props(ProcessServerRoom room, IActorRef machines, TimeProvider clock) => Akka.Actor.Props.Create(() => new EndedProtectionsActor(room, machines, clock));

    protected override void PreStart() => Timers.StartPeriodicTimer(nameof(Look), Look.Instance, LookEvery);

    /// <summary>Whoever protects a machine anew says with it that what was before has ended. Of its own stream nothing may have come by here.</summary>
    private void Hear(ReplicateFrom work)
    {
        _heard[work.Machine] = _clock.GetTimestamp();
        if (_room.Spool.EpochOf(work.Machine) is { Value: > 0 } kept && kept < work.Protection) Forget(work.Machine, new Epoch(work.Protection.Value - 1));
    }

    private void AskSilent()
    {
        foreach (var (machine, at) in _heard.ToArray())
            if (_clock.GetElapsedTime(at) > SilenceMax) _heard.Remove(machine);
        var silent = _room.Machines.Union(_unforgotten).Where(m => !_heard.ContainsKey(m)).OrderBy(m => m.Value, StringComparer.Ordinal).ToArray();
        foreach (var machine in silent.Where(m => string.CompareOrdinal(m.Value, _lastAsked) > 0).Union(silent).Take(AskedAtOnceMax)) Ask(machine);
    }

    private void Ask(MachineId machine)
    {
        _lastAsked = machine.Value;
        _machines.Tell(new GetEndedProtections(machine), Self);
    }

    private void Forget(MachineId machine, Epoch upTo)
    {
        if (upTo.Value <= 0 || !_forgetting.Add(machine)) return;
        _room.ForgetAsync(machine, upTo).PipeTo(Self, success: () => new Forgotten(machine, null), failure: failed => new Forgotten(machine, failed.Message));
    }

    /// <summary>What its disk did not let go of is asked for again: nothing else knows of it by then.</summary>
    private void Hear(Forgotten forgotten)
    {
        _forgetting.Remove(forgotten.Machine);
        if (forgotten.Failure is null) _unforgotten.Remove(forgotten.Machine);
        else if (_unforgotten.Add(forgotten.Machine)) Context.GetLogger().Warning("What is kept of {0} could not be removed: {1}", forgotten.Machine, forgotten.Failure);
    }

    private sealed record Forgotten(MachineId Machine, string? Failure) : INoSerializationVerificationNeeded;

    private sealed class Look : INoSerializationVerificationNeeded
    {
        public static Look Instance { get; } = new();
    }
}
