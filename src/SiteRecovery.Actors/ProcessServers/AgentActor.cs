using Akka.Actor;
using Akka.Event;
using SiteRecovery.Actors.Configuration;
using SiteRecovery.Actors.MasterTargets;
using SiteRecovery.Actors.ProtectedMachines;
using SiteRecovery.Actors.Sites;
using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.DataPlane.ProcessServer;
using SiteRecovery.DataPlane.Transport;
using SiteRecovery.Domain.History;
using SiteRecovery.Domain.ProtectedMachines;
using SiteRecovery.Domain.Results;
using SiteRecovery.Domain.Vaults;

namespace SiteRecovery.Actors.ProcessServers;

/// <summary>One agent as a process server knows it: what is wanted of it, told whenever it is connected, and what it says of its machines.</summary>
public sealed class AgentActor : ReceiveActor
{
    /// <summary>Work is repeated far more often; what is older belongs to a machine that has changed its mind unheard.</summary>
    private static readonly TimeSpan WorkAgeMax = TimeSpan.FromSeconds(30);

    /// <summary>An order that waited for a disk for longer than for a network says nothing any more of what is wanted now; its repeat does.</summary>
    private static readonly TimeSpan FreshFor = TimeSpan.FromSeconds(1);

    private static readonly TimeSpan ConflictShown = TimeSpan.FromSeconds(30);

    /// <summary>An agent tells its status twice a second; one that tells it without a pause is not passed on so.</summary>
    private static readonly TimeSpan BetweenReports = TimeSpan.FromMilliseconds(100);

    /// <summary>More were never told and not answered, but for a session that was lost.</summary>
    private const int DueMax = 8;

    /// <summary>Of a tail, in messages of <see cref="TailFound.NumbersMax"/>: four million ranges.</summary>
    private const int TailPartsMax = 4000;

    private readonly AgentName _agent;
    private readonly ProcessServerRoom _room;
    private readonly IActorRef _machines;
    private readonly TimeProvider _clock;
    private readonly Dictionary<(MachineId Machine, string Kind), (Work Work, DateTimeOffset At)> _wanted = [];
    private readonly HashSet<MachineId> _routing = [];
    private readonly Dictionary<string, Work> _told = [];
    private readonly Dictionary<string, IActorRef> _asked = [];
    private readonly Dictionary<MachineId, (AgentReport Report, long At)> _reports = [];
    private readonly KnownMachines _known;
    private readonly Dictionary<string, int> _tailParts = [];
    /// <summary>How many answers are awaited to an order: what nobody asked for is passed on to nobody.</summary>
    private readonly Dictionary<string, int> _due = [];
    private (string Reason, DateTimeOffset At)? _conflict;
    private readonly ClockDifference _clocks = new();
    private Nodes _nodes = Nodes.None;
    private int _questions;

    public AgentActor(AgentName agent, ProcessServerRoom room, IActorRef machines, IActorRef configuration, TimeProvider clock)
    {
        (_agent, _room, _machines, _clock) = (agent, room, machines, clock);
        var self = Self;
        _known = new KnownMachines(agent, room.Routes, unknown => configuration.Tell(new FindListed(unknown), self), clock);
        Receive<Nodes>(nodes => _nodes = nodes);
        Receive<Work>(Want);
        Receive<WorkEnded>(ended =>
        {
            if (_wanted.TryGetValue((ended.Work.Machine, ended.Work.Kind), out var now) && now.Work.Equals(ended.Work)) _wanted.Remove((ended.Work.Machine, ended.Work.Kind));
        });
        Receive<Routed>(Hear);
        Receive<AgentConnected>(_ =>
        {
            // What a session before was asked is answered in none.
            _due.Clear();
            TellAll();
        });
        Receive<AgentSaid>(said =>
        {
            try
            {
                Hear(said.Message);
            }
            finally
            {
                said.Heard();
            }
        });
        Receive<ListedFound>(_known.Hear);
        Receive<AgentGone>(_ => Gone());
        Receive<AgentRefused>(Hear);
        Receive<InspectAgentDisk>(q => AskAgent(id => new InspectDisk(id, q.Path)));
        Receive<ListHostMachines>(q => AskAgent(id => new ListMachines(id, q.Only, q.Skip, q.Limit)));
        Receive<TakeRecoveryPoint>(q => AskAgent(id => new TakePoint(id, q.Machine.Value, q.Label, q.Kind == PointKind.ApplicationConsistent ? "application-consistent" : "crash-consistent")));
    }

    public static Props Props(AgentName agent, ProcessServerRoom room, IActorRef machines, IActorRef configuration, TimeProvider clock) =>
        Akka.Actor.Props.Create(() => new AgentActor(agent, room, machines, configuration, clock));

    private void Want(Work work)
    {
        _known.Add(work.Machine);
        _wanted[(work.Machine, work.Kind)] = (work, _clock.GetUtcNow());
        var replicate = work as ReplicateFrom;
        if (replicate is null || IsLetIn(replicate)) TellAgent(work, fresh: true);
        if (replicate is not null && !IsRouted(replicate)) Route(replicate);
    }

    private MachineRoute RouteOf(ReplicateFrom work)
    {
        var target = _nodes.MasterTarget(work.TargetSite, work.TargetNode);
        return new MachineRoute(_agent.Value, work.Policy.Compression, target?.Host, target?.DataPort ?? 0, Epoch: work.Epoch.Value);
    }

    private bool IsRouted(ReplicateFrom work) => _room.Routes.Holds(work.Machine, RouteOf(work));

    /// <summary>Its stream is, also after a restart: of the same protection only the epoch is not kept yet, and a fenced source must not wait for that.</summary>
    private bool IsLetIn(ReplicateFrom work) =>
        _room.Routes.Find(work.Machine) is { } kept && kept.Epoch >= work.Protection.Value && _room.Routes.Holds(work.Machine, RouteOf(work) with { Epoch = kept.Epoch });

    /// <summary>The agent is told when its stream is let in, also after a restart. What comes meanwhile is told then.</summary>
    private void Route(ReplicateFrom work)
    {
        if (_routing.Add(work.Machine)) _room.RouteAsync(work, RouteOf(work)).PipeTo(Self, success: failed => new Routed(work, failed));
    }

    private void Hear(Routed routed)
    {
        var machine = routed.Work.Machine;
        _routing.Remove(machine);
        if (routed.Failed is not null) _machines.Tell(routed.Failed);
        // Whatever has been told since then may be about to call it off.
        else if (Wanted<ReplicateFrom>(machine, WorkKind.Replicate) is { } now && !IsOver(now))
        {
            if (IsLetIn(now)) TellAgent(now, fresh: _clock.GetUtcNow() - _wanted[(machine, now.Kind)].At < FreshFor);
            if (!IsRouted(now)) Route(now);
        }
    }

    private bool IsOver(ReplicateFrom work) =>
        Wanted<ReleaseAgent>(work.Machine, WorkKind.ReleaseAgent)?.Epoch >= work.Epoch || Wanted<FenceSource>(work.Machine, WorkKind.FenceSource)?.Epoch > work.Epoch;

    private void TellAll()
    {
        var now = _clock.GetUtcNow();
        foreach (var (key, wanted) in _wanted.ToArray())
        {
            if (now - wanted.At > WorkAgeMax) _wanted.Remove(key);
            else if (wanted.Work is not ReplicateFrom replicate || IsLetIn(replicate)) TellAgent(wanted.Work, fresh: false);
        }
    }

    private void TellAgent(Work work, bool fresh)
    {
        var id = IdOf(work);
        _told[id] = work;
        _due[id] = Math.Min(DueMax, _due.GetValueOrDefault(id) + 1);
        _room.Sessions.TrySend(_agent.Value, work switch
        {
            ReplicateFrom w => AgentReports.OrderOf(w, id) with { Fresh = fresh },
            FenceSource w => new FenceMachine(id, w.Machine.Value, w.Epoch.Value, w.StopMachine),
            ReleaseAgent w => new ReleaseMachine(id, w.Machine.Value, w.Epoch.Value, w.Fence),
            TakeBackTail w => new ReportTail(id, w.Machine.Value),
            _ => throw new InvalidOperationException($"an agent cannot do {work.Kind}"),
        });
    }

    private void AskAgent(Func<string, AgentMessage> question)
    {
        var id = $"ask|{++_questions}";
        if (_room.Sessions.TrySend(_agent.Value, question(id))) _asked[id] = Sender;
        else Sender.Tell(new AgentAnswer($"agent '{_agent}' is not connected to this process server"));
    }

    private void Hear(AgentMessage message)
    {
        switch (message)
        {
            case AgentStatus status:
                _clocks.Add(_clock.GetUtcNow() - status.Time);
                foreach (var machine in status.Machines) HearOf(machine);
                break;
            case TailRanges part when _due.GetValueOrDefault(part.Id) > 0 && _told.TryGetValue(part.Id, out var work) && work is TakeBackTail tail: HearTail(tail, part); break;
            case DiskInspected d: Reply(d.Id, new AgentAnswer(d.Error, d.SizeBytes)); break;
            case MachineList l: Reply(l.Id, new AgentAnswer(l.Error, Remedy: l.Remedy, Machines: l.Page?.ToJson())); break;
            case CommandDone done when _asked.ContainsKey(done.Id): Reply(done.Id, new AgentAnswer(done.Error, PointId: done.Result)); break;
            case CommandDone done when _due.GetValueOrDefault(done.Id) > 0 && _told.TryGetValue(done.Id, out var work):
                _due[done.Id]--;
                HearDone(work, done.Error);
                break;
        }
    }

    /// <summary>The refused one tries again every second: told once, and shown for as long as it does.</summary>
    private void Hear(AgentRefused refused)
    {
        var now = _clock.GetUtcNow();
        if (!(now - _conflict?.At < ConflictShown)) Context.GetLogger().Warning("{0}", refused.Reason);
        _conflict = (refused.Reason, now);
    }

    private void Reply(string id, AgentAnswer answer)
    {
        if (_asked.Remove(id, out var asker)) asker.Tell(answer);
    }

    private void HearOf(MachineStatus status)
    {
        if (!MachineId.IsValid(status.Machine)) return;
        var machine = new MachineId(status.Machine);
        if (!_known.Contains(machine)) return;
        if (_reports.TryGetValue(machine, out var before) && _clock.GetElapsedTime(before.At) < BetweenReports) return;
        var conflict = _conflict is { } c && _clock.GetUtcNow() - c.At < ConflictShown ? c.Reason : null;
        var report = AgentReports.MeasurementOf(status, _room.SpoolReportOf(machine), _agent.Value);
        if (conflict is not null) report = report with { Error = conflict };
        if (report.Spool is { } spool) report = report with { Spool = spool with { ClockOffset = _clocks.Offset + (spool.ClockOffset ?? TimeSpan.Zero) } };
        Tell(machine, report);
        if (Wanted<ReplicateFrom>(machine, WorkKind.Replicate) is { } replicate && AgentReports.Of(replicate, status) is { } news) _machines.Tell(news);
        if (Wanted<FenceSource>(machine, WorkKind.FenceSource) is { } fence && status.Fenced && status.Epoch >= fence.Epoch.Value) HearFenced(fence, new Sequence(status.NewestSequence));
    }

    private void Tell(MachineId machine, AgentReport report)
    {
        _reports[machine] = (report, _clock.GetTimestamp());
        _machines.Tell(report);
    }

    private T? Wanted<T>(MachineId machine, string kind) where T : Work => _wanted.TryGetValue((machine, kind), out var wanted) ? wanted.Work as T : null;

    private void HearDone(Work work, string? error)
    {
        var cause = new CommandId($"{work.Kind}:{work.Epoch}");
        if (error is not null)
        {
            // The agent says nothing of a machine that it could not open; what is wrong must be seen all the same.
            if (work is ReplicateFrom) Tell(work.Machine, AgentReport.Gone(work.Machine, _agent.Value, _reports.GetValueOrDefault(work.Machine).Report) with { Connected = true, Error = error, Failed = true });
            _machines.Tell(new WorkFailed(work.Machine, cause, work.Epoch, work.Kind, error, Permanent: false));
            return;
        }
        if (work is TakeBackTail tail && EndsTail(tail)) Pass(tail, new TailFound(tail.Machine, tail.Epoch, tail.Replica, PartOf(IdOf(work), end: true), [], Sequence.None, default, Last: true));
        if (work is not ReleaseAgent) return;
        _reports.Remove(work.Machine);
        _known.Remove(work.Machine);
        // The machine may be protected anew already: then route and spool are the new protection's.
        if ((Wanted<ReplicateFrom>(work.Machine, WorkKind.Replicate) is { } newer && newer.Epoch > work.Epoch)
            || (_room.Routes.Find(work.Machine) is { } route && (route.FromNode || route.Agent != _agent.Value))) // or by another host's agent, or a replica
        {
            _machines.Tell(new AgentReleased(work.Machine, cause, work.Epoch, _agent));
            return;
        }
        _room.ForgetAsync(work.Machine, work.Epoch).PipeTo(_machines, success: () => new AgentReleased(work.Machine, cause, work.Epoch, _agent),
            failure: failed => new WorkFailed(work.Machine, cause, work.Epoch, work.Kind, failed.Message, Permanent: false));
    }

    private void HearFenced(FenceSource fence, Sequence newest) =>
        _machines.Tell(new SourceFenced(fence.Machine, new CommandId($"{fence.Kind}:{fence.Epoch}"), fence.Epoch, newest));

    private static string IdOf(Work work) => $"{work.Kind}|{work.Machine}|{work.Epoch}";

    /// <summary>The replica's master target keeps the parts until the last one is there: they have a limit here, where one agent's come by.</summary>
    private void HearTail(TakeBackTail tail, TailRanges part)
    {
        if (_tailParts.GetValueOrDefault(part.Id) >= TailPartsMax || part.Numbers.Count > TailFound.NumbersMax) _tailParts[part.Id] = TailPartsMax + 1;
        else Pass(tail, new TailFound(tail.Machine, tail.Epoch, tail.Replica, PartOf(part.Id), [.. part.Numbers], new Sequence(part.Newest), new StreamPosition(part.Incarnation, part.Ordinal), Last: false));
    }

    private bool EndsTail(TakeBackTail tail)
    {
        if (_tailParts.GetValueOrDefault(IdOf(tail)) <= TailPartsMax) return true;
        _tailParts[IdOf(tail)] = 0;
        _machines.Tell(new WorkFailed(tail.Machine, new CommandId($"{tail.Kind}:{tail.Epoch}"), tail.Epoch, tail.Kind,
            $"agent '{_agent}' tells of more ranges than a tail may have: reverse the replication with full", Permanent: false));
        return false;
    }

    private int PartOf(string order, bool end = false)
    {
        var part = _tailParts.GetValueOrDefault(order);
        _tailParts[order] = end ? 0 : part + 1;
        return part;
    }

    private void Pass(TakeBackTail tail, TailFound found)
    {
        if (_nodes.MasterTarget(tail.ReplicaSite, tail.Replica.Node) is { } node) Context.ActorSelection($"{node.Address}/user/{NodeRoles.MasterTarget}").Tell(found);
    }

    private void Gone()
    {
        foreach (var asker in _asked.Values) asker.Tell(new AgentAnswer($"agent '{_agent}' went away before it answered"));
        _asked.Clear();
        foreach (var (machine, last) in _reports.ToArray())
        {
            _machines.Tell(AgentReport.Gone(machine, _agent.Value, last.Report));
            // The first that it says when it is here again is news.
            _reports[machine] = (last.Report, _clock.GetTimestamp() - (long)(BetweenReports.TotalSeconds * _clock.TimestampFrequency));
        }
    }

    private sealed record Routed(ReplicateFrom Work, WorkFailed? Failed) : INoSerializationVerificationNeeded;
}
