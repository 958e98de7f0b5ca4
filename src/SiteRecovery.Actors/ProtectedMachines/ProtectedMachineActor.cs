using Akka.Actor;
using Akka.Persistence;
using SiteRecovery.Actors.Configuration;
using SiteRecovery.Domain.History;
using SiteRecovery.Domain.Jobs;
using SiteRecovery.Domain.ProtectedMachines;
using SiteRecovery.Domain.Results;
using SiteRecovery.Domain.Vaults;

namespace SiteRecovery.Actors.ProtectedMachines;

/// <summary>
/// One protected machine: answers when its events are durable, and keeps told whoever does the work its state wants.
/// A failed journal stops it; the shard starts it again and it recovers.
/// </summary>
public sealed class ProtectedMachineActor : ReceivePersistentActor, IWithTimers
{
    /// <summary>Work is told again this often, so that a lost message or a new receiver repairs itself.</summary>
    public static TimeSpan RepeatEvery { get; } = TimeSpan.FromSeconds(5);

    /// <summary>Of so many repeats: a change of the policy that was not heard of, for a crash or a lost message, is asked for this often. The first time soon after a start.</summary>
    private const int RepeatsPerPolicy = 12;

    private readonly IActorRef _work;
    private readonly TimeProvider _clock;
    private (DateTimeOffset At, TimeSpan Given, long? SeenAt, TimeSpan Left)? _deadline;
    private ProtectedMachine _machine;
    private HashSet<Work> _underWay = [];
    private (StoreReport Report, DateTimeOffset At)? _store;
    private (AgentReport Report, DateTimeOffset? HeardAt)? _agent;
    private ((AgentName? Agent, ReplicaSource? Replica) Source, DateTimeOffset Since)? _listening;
    private FlatteningReport? _flattening;
    private int _repeats;

    public ProtectedMachineActor(MachineId id, IActorRef work, TimeProvider clock)
    {
        _machine = ProtectedMachine.New(id);
        (_work, _clock) = (work, clock);
        PersistenceId = $"machine-{id}";

        Recover<MachineEvent>(Apply);
        Recover<RecoveryCompleted>(_ => Reconcile());

        Command<MachineCommand>(c => Carry(ProtectedMachine.Decide(_machine, c, clock.GetUtcNow())));
        // Either side of a machine that was failed over measures on; what counts is the target's store and the source's capture.
        Command<StoreReport>(r =>
        {
            if (IsProtected && IsOfTarget(r)) _store = (r, clock.GetUtcNow());
        });
        Command<AgentReport>(r =>
        {
            if (!IsProtected || r.Source != (_machine.Protection!.Replica is null ? _machine.Protection.Agent.Value : null)) return;
            _agent = (r, r.Connected ? clock.GetUtcNow() : _agent?.HeardAt); // that it has gone is another's word
        });
        Command<FlatteningReport>(r => _flattening = r);
        Command<GetMachine>(_ => Sender.Tell(new MachineState(_machine)));
        Command<GetMeasuredMachine>(_ => Sender.Tell(new MeasuredMachine(_machine, _store?.Report, _store?.At, _agent?.Report, _agent?.HeardAt, IsFlattening ? _flattening : null)));
        Command<GetListening>(_ => Sender.Tell(new Listening(_listening?.Since)));
        Command<GetEndedProtections>(_ => Sender.Tell(new ProtectionsEnded(id, _machine.EndedUpTo)));
        Command<GetJobs>(q => Sender.Tell(new MachineJobs(id, [.. _machine.Jobs.NewestFirst.Where(j => q.Only is null || j.Id == q.Only)])));
        Command<RepeatWork>(_ =>
        {
            if (PassedDeadline() is { } passed) Self.Tell(new TimePassed(id, new CommandId("time"), passed), ActorRefs.NoSender);
            Repeat();
        });
    }

    public override string PersistenceId { get; }

    public ITimerScheduler Timers { get; set; } = null!;

    public static Props Props(MachineId id, IActorRef work, TimeProvider clock) =>
        Akka.Actor.Props.Create(() => new ProtectedMachineActor(id, work, clock));

    protected override void PreStart()
    {
        base.PreStart();
        Timers.StartPeriodicTimer(nameof(RepeatWork), RepeatWork.Instance, RepeatEvery);
    }

    /// <summary>Nothing is answered for an event that the journal does not take: the actor fails, and recovers what is durable.</summary>
    protected override void OnPersistRejected(Exception cause, object @event, long sequenceNr)
    {
        base.OnPersistRejected(cause, @event, sequenceNr);
        throw new InvalidOperationException($"the journal does not take {@event.GetType().Name}", cause);
    }

    private void Carry(Decision decision)
    {
        var asker = Sender;
        PersistAll(decision.Events, Apply);
        DeferAsync(decision.Reply, reply =>      // only now is it durable
        {
            asker.Tell(reply);
            Reconcile();
        });
    }

    private void Apply(MachineEvent e)
    {
        _machine = _machine.Apply(e);
        if (_machine.Deadline is { } at && at != _deadline?.At) _deadline = (at, at - e.At, null, default);
    }

    /// <summary>What another source said before says nothing of this one.</summary>
    private void Listen()
    {
        var source = (_machine.Protection?.Agent, _machine.Protection?.Replica);
        if (_listening is { } listening && listening.Source == source) return;
        if (_listening is not null) _agent = null;
        _listening = (source, _clock.GetUtcNow());
    }

    /// <summary>Of a machine that is not nothing is measured: what is still heard of it is what goes.</summary>
    private bool IsProtected => _machine is { Protection: not null, Phase: not Phase.Unprotected };

    /// <summary>A node that the store has moved away from, within the site, may hold one of an epoch before. Until the store has gone on it stands in one itself.</summary>
    private bool IsOfTarget(StoreReport report) => report.Site == _machine.Protection!.TargetSite && (_machine.Continuation is not null || report.Epoch >= _machine.StoreEpoch);

    private bool IsFlattening => _underWay.Any(w => w is FlattenReplica);

    private void Reconcile()
    {
        var wanted = ProtectedMachine.Pending(_machine).ToHashSet();
        foreach (var ended in _underWay.Except(wanted))
            if (ended is not ServeReplica served || !wanted.OfType<ServeReplica>().Any(served.GoesOnAs)) _work.Tell(new WorkEnded(ended), Self);
        foreach (var work in wanted.Except(_underWay)) _work.Tell(work, Self);
        _underWay = wanted;
        Listen();
        _ = PassedDeadline(); // from here on it is measured
        if (!IsFlattening) _flattening = null;
        if (!IsProtected) (_store, _agent) = (null, null);
        if (_store?.Report.Site != _machine.Protection?.TargetSite) _store = null; // the other side's says nothing of this one
    }

    /// <summary>A time of day that is set back while the machine stands still for a planned failover must not leave it so.</summary>
    private DateTimeOffset? PassedDeadline()
    {
        if (_machine.Deadline is null || _deadline is not { } deadline) return null;
        var left = deadline.At - _clock.GetUtcNow();
        // Never longer than it was given at first, which is also all that is known after a restart.
        if (deadline.SeenAt is null) _deadline = deadline = deadline with { SeenAt = _clock.GetTimestamp(), Left = left < deadline.Given ? left : deadline.Given };
        return left <= TimeSpan.Zero || _clock.GetElapsedTime(deadline.SeenAt!.Value) >= deadline.Left ? deadline.At : null;
    }

    private void Repeat()
    {
        foreach (var work in _underWay) _work.Tell(work, Self);
        if (_repeats++ % RepeatsPerPolicy == 0 && _machine.Protection is { } protection) _work.Tell(new GetPolicy(_machine.Id, protection.PolicyName, protection.Policy), Self);
    }

    private sealed class RepeatWork
    {
        public static RepeatWork Instance { get; } = new();
    }
}
