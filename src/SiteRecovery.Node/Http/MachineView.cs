using SiteRecovery.Actors.MasterTargets;
using System.Collections.Immutable;
using SiteRecovery.Actors.ProtectedMachines;
using SiteRecovery.Domain.History;
using SiteRecovery.Domain.ProtectedMachines;
using SiteRecovery.Domain.Vaults;

namespace SiteRecovery.Node.Http;

public sealed record HealthView(HealthStatus Status, ImmutableArray<HealthReason> Reasons);

/// <param name="CaptureUri">Where the hypervisor opens the disk; null while the agent does not serve it, and while nobody knows for not hearing it.</param>
public sealed record DiskView(int Index, string Id, string Path, long SizeBytes, string Capture, string? CaptureUri, string? Error);

/// <param name="Bytes">What the target lacks: blocks to send, and what waits at the process server.</param>
/// <param name="Time">Age of what waits longest; null while nothing waits.</param>
public sealed record LagView(long Bytes, TimeSpan? Time);

/// <param name="Eta">Null while it is being estimated.</param>
public sealed record ProgressView(long BytesDone, long BytesTotal, long BytesPerSecond, TimeSpan? Eta);

public sealed record PointView(string Id, DateTimeOffset At, PointKind Kind, string? Label, int Epoch, long Sequence)
{
    public static PointView Of(RecoveryPoint point) => new(point.Id, point.At, point.Kind, point.Label, point.Epoch.Value, point.Sequence.Value);
}

/// <summary>What was written between a point and the one before it.</summary>
/// <param name="Entropy">Bits per byte, 0 to 8: what is compressed or encrypted has nearly 8; null: nothing was written, or it is not known.</param>
/// <param name="OverwriteRate">Bytes per second.</param>
/// <param name="Jump">Much was written that looks encrypted where what was written before did not: the point before the first such one is the last of before.</param>
public sealed record PointSignalsView(double? Entropy, long WrittenBytes, long OverwriteRate, bool Jump);

/// <param name="Protected">Kept beyond the retention, with all that follows it.</param>
/// <param name="Verification">"unverified", "running", "verified" or "damaged".</param>
/// <param name="Damage">What the last verification found.</param>
/// <param name="RootHash">Over all disks; null while it has not been computed: ask for it with a verification.</param>
public sealed record NotedPointView(string Id, DateTimeOffset At, PointKind Kind, string? Label, int Epoch, long Sequence,
    bool Protected, string Verification, DateTimeOffset? VerifiedAt, string? Damage, string? RootHash, PointSignalsView? Signals)
{
    public static NotedPointView Of(NotedPoint noted) => new(noted.Point.Id, noted.Point.At, noted.Point.Kind, noted.Point.Label, noted.Point.Epoch.Value, noted.Point.Sequence.Value,
        noted.Protected, noted switch
        {
            { Verifying: true } => "running",
            { Damage: not null } => "damaged",
            { VerifiedAt: not null } => "verified",
            _ => "unverified",
        }, noted.VerifiedAt, noted.Damage, noted.Root,
        noted.Signals is { } signals ? new PointSignalsView(signals.Entropy, signals.WrittenBytes, (long)signals.OverwriteRate, noted.Jump) : null);
}

/// <summary>What the source and its process server say; while they are not heard, what they counted last.</summary>
/// <param name="AgentMode">"unknown" while the source is not heard; so are <paramref name="LinkUp"/> and the errors, which are null then.</param>
/// <param name="BytesResent">Sent again after a cut, since the agent started.</param>
/// <param name="ClockOffset">Target's clock minus the source's.</param>
/// <param name="AgentHeardAt">When it was heard last; null: not since the server that answers began to listen for it.</param>
public sealed record ReplicationView(
    bool AgentConnected, string AgentMode, long NewestSequence, long DurableSequence, long BytesSent, long BytesResent, long SpoolBytes, bool? LinkUp, TimeSpan? ClockOffset,
    string? AgentError, string? LinkError, DateTimeOffset? AgentHeardAt = null)
{
    /// <summary>The mode of a source that is not heard.</summary>
    public const string NotHeard = "unknown";
}

/// <param name="Test">Id of the test failover; null for the replica itself.</param>
public sealed record ExportView(int Disk, string Uri, string? Test = null)
{
    public static ImmutableArray<ExportView> Of(ProtectedMachine machine) =>
        [.. machine.Exports.Select(e => new ExportView(e.Disk, e.Uri)), .. machine.RunningTests.SelectMany(t => t.Exports.Select(e => new ExportView(e.Disk, e.Uri, t.Id)))];
}

/// <param name="Console">Where the machine that runs on the test's disks is reached; null where there is none.</param>
public sealed record TestView(string Id, string PointId, DateTimeOffset StartedAt, bool Served, string? Console);

/// <param name="BytesPerSecond">How fast the history has grown in the last minutes; negative while more is given up than comes.</param>
/// <param name="LimitAt">When it will reach the policy's limit, and its window be cut short, at that rate; null: it will not.</param>
/// <param name="DiskFullAt">When its disk will be full at the present rate; null: it will not.</param>
public sealed record StoreView(long Bytes, long FreeBytes, int Points, bool Consistent, string? Error, long BytesPerSecond = 0, DateTimeOffset? LimitAt = null, DateTimeOffset? DiskFullAt = null);

/// <summary>A machine as the API shows it: its state, and what was last measured of it.</summary>
/// <param name="Flattening">Of the replica's disks into raw files, after the commit; null while that is not under way.</param>
/// <param name="CanFailOver">It could run at the target now, as far as was heard from there lately; of one that was failed over, its replica is served.</param>
/// <param name="SourceChange">What the operator has to change in the machine, so that its writes are captured; null while somebody has its disks open there.</param>
public sealed record MachineView(
    string Name, string State, HealthView Health, TimeSpan? Rpo, DateTimeOffset? UnknownSince, string? ActiveSite, string? Direction, int Epoch,
    string? SourceSite, string? TargetSite, string? TargetNode, string? Agent, string? Policy, LagView? Lag, ProgressView? Progress, ImmutableArray<DiskView> Disks,
    PointView? NewestPoint, PointView? OldestPoint, ReplicationView? Replication, StoreView? Store, ImmutableArray<ExportView> Exports, string? FailoverPoint,
    bool? SourceFenced, ImmutableArray<TestView> Tests, ImmutableArray<Drill> Drills, ImmutableArray<ActionAvailability> AllowedActions, string? Console, string? SourceChange, ProgressView? Flattening, bool CanFailOver)
{
    /// <summary>The state of a machine whose actor does not answer.</summary>
    public const string Unknown = "Unknown";

    public static TimeSpan AgentSilenceMax { get; } = TimeSpan.FromSeconds(5);

    /// <param name="unheardSince">Since when the source has not been heard; null where it has been, or nobody knows.</param>
    public static MachineView Of(MeasuredMachine measured, DateTimeOffset now, DateTimeOffset? unheardSince = null)
    {
        var store = measured.Store;
        // An agent speaks twice a second; one that has not for long is gone, whoever was to say so.
        var agent = measured.Agent is { } said && now - measured.AgentHeardAt > AgentSilenceMax ? said with { Connected = false } : measured.Agent;
        // And what it said last is not so any more for that.
        var heard = agent is { Connected: true } ? agent : null;
        var view = ProtectedMachineView.Of(measured.State, new ReplicationMeasurement(store?.Newest?.At, measured.StoreMeasuredAt, agent?.Connected, store?.FailedReason, heard is { Failed: true } ? heard.Error : null,
            heard is { Fenced: true } ? heard.Clients : 0, agent?.Spool?.ClockOffset, store?.Rot, measured.AgentHeardAt, unheardSince), now);
        return new(
            view.Name, view.State, new HealthView(view.Health.Status, view.Health.Reasons), view.Rpo, view.RpoUnknownSince, view.ActiveSite?.Value, view.Direction, view.Epoch,
            view.SourceSite?.Value, view.TargetSite?.Value, measured.State.Protection?.TargetNode, view.Agent?.Value, view.Policy, LagOf(heard, now), ProgressOf(measured.State, heard),
            [.. view.Disks.Select(d => DiskOf(d, heard, measured.State))], store?.Newest is { } newest ? PointView.Of(newest) : null, store?.Oldest is { } oldest ? PointView.Of(oldest) : null,
            ReplicationOf(agent, measured.AgentHeardAt), store is null ? null : new StoreView(store.Bytes, store.FreeBytes, store.Points, store.Consistent, store.FailedReason, store.BytesPerSecond, store.LimitAt, store.DiskFullAt),
            ExportView.Of(measured.State), view.FailoverPoint, view.SourceFenced,
            [.. measured.State.RunningTests.Select(t => new TestView(t.Id, t.Point.Id, t.StartedAt, t.ServedAt is not null, t.Console))], measured.State.Drills, view.AllowedActions, measured.State.Console,
            SourceChangeOf(measured.State, view.ActiveSite, heard), FlatteningOf(measured.Flattening), view.CanFailOver);
    }

    /// <summary>All that can be said of a machine that does not answer.</summary>
    /// <param name="since">When it was first found so.</param>
    public static MachineView NotAnswering(MachineId machine, DateTimeOffset? since)
    {
        const string code = "notAnswering", reason = "The machine's actor does not answer: nothing is known of its state.",
            remedy = "Look at GET /api/v1/nodes for unreachable nodes, and into the logs of the configuration servers. Its replication goes on without it.";
        return new(
            machine.Value, Unknown, new HealthView(HealthStatus.Critical, [new HealthReason(code, HealthSeverity.Critical, reason, remedy)]), null, since, null, null, 0,
            null, null, null, null, null, null, null, [], null, null, null, null, [], null, null, [], [],
            [.. MachineActions.All.Select(a => new ActionAvailability(a, false, code, reason, remedy))], null, null, null, false);
    }

    private static DiskView DiskOf(DiskSpec disk, AgentReport? agent, ProtectedMachine machine)
    {
        // A machine that was failed over and reversed is captured where its replica is served.
        if (machine.Protection?.Replica is not null)
            return new(disk.Index, disk.Name, disk.Path, disk.SizeBytes, disk.Capture, machine.Exports.FirstOrDefault(e => e.Disk == disk.Index)?.Uri, null);
        var served = agent is { Disks.IsDefault: false } ? agent.Disks.FirstOrDefault(d => d.Index == disk.Index) : null;
        return new(disk.Index, disk.Name, disk.Path, disk.SizeBytes, disk.Capture, served?.CaptureUri, served?.Error);
    }

    /// <summary>Only what goes through the exports is captured; the machine itself is its owner's to change.</summary>
    private static string? SourceChangeOf(ProtectedMachine machine, SiteName? active, AgentReport? agent)
    {
        if (agent is not { Clients: 0, Fenced: false, Disks.IsDefaultOrEmpty: false } || machine.Protection is not { Replica: null } protection || active != protection.SourceSite) return null;
        var served = protection.Disks.Select(d => (Disk: d, Uri: agent.Disks.FirstOrDefault(c => c.Index == d.Index)?.CaptureUri)).ToArray();
        if (served.Any(s => s.Uri is null)) return null;
        return $"Nobody has the disks open where they are captured. Before the machine is started its hypervisor must have these for its disks, as raw: {string.Join("; ", served.Select(s => $"{s.Disk.Name} is {s.Uri}, not {s.Disk.Path}"))}; "
            // By itself QEMU waits for nothing.
            + "and must wait for an agent that is started anew, or each of its restarts is an I/O error in the guest: <reconnect delay='60'/> in libvirt's <source>, reconnect-delay=60 in QEMU's -blockdev";
    }

    private static LagView? LagOf(AgentReport? agent, DateTimeOffset now) => agent is null ? null
        : new(agent.DirtyBytes + (agent.Spool?.Bytes ?? 0), agent.Spool?.OldestAt is { } oldest ? now - oldest : null);

    private static ProgressView? ProgressOf(ProtectedMachine machine, AgentReport? agent)
    {
        if (agent is null || machine.Phase is not (Phase.InitialReplication or Phase.Resynchronizing or Phase.ReverseReplicating)) return null;
        return ProgressOf(agent.BytesDone, agent.BytesTotal, agent.BytesPerSecond);
    }

    private static ProgressView? FlatteningOf(FlatteningReport? flattening) => flattening is { } f ? ProgressOf(f.BytesDone, f.BytesTotal, f.BytesPerSecond) : null;

    private static ProgressView ProgressOf(long done, long total, long perSecond) =>
        new(done, total, perSecond, perSecond > 0 && total > 0 ? TimeSpan.FromSeconds(Math.Round((double)Math.Max(0, total - done) / perSecond, 1)) : null);

    private static ReplicationView? ReplicationOf(AgentReport? agent, DateTimeOffset? heardAt) => agent switch
    {
        null => null,
        { Connected: true } => new(true, agent.Mode, agent.Newest.Value, agent.Durable.Value, agent.BytesShipped, agent.BytesResent, agent.Spool?.Bytes ?? 0, agent.Spool?.LinkUp,
            agent.Spool?.ClockOffset, agent.Error, agent.Spool?.Error, heardAt),
        _ => new(false, ReplicationView.NotHeard, agent.Newest.Value, agent.Durable.Value, agent.BytesShipped, agent.BytesResent, agent.Spool?.Bytes ?? 0, null, null, null, null, heardAt),
    };
}
