using System.Collections.Immutable;
using Akka.Actor;
using SiteRecovery.Actors.Configuration;
using SiteRecovery.Actors.MasterTargets;
using SiteRecovery.Actors.ProtectedMachines;
using SiteRecovery.Actors.Serialization;
using SiteRecovery.Actors.Sites;
using SiteRecovery.Domain.History;
using SiteRecovery.Domain.Jobs;
using SiteRecovery.Domain.Networks;
using SiteRecovery.Domain.Policies;
using SiteRecovery.Domain.ProtectedMachines;
using SiteRecovery.Domain.Results;
using SiteRecovery.Domain.Vaults;
using SiteRecovery.Node.Hosting;

namespace SiteRecovery.EndToEnd.InProcess;

/// <summary>An answer that is larger than a frame is dropped, and nobody hears why: each at the largest size that is planned for, 10,000 machines and 100 nodes, fits twice.</summary>
public sealed class FrameSizeTests
{
    private const int Machines = 10_000, Nodes = 100, PointsAtOnce = 5_000;
    private static readonly SiteName Primary = new("the-primary-site-of-ours"), Secondary = new("the-secondary-site-of-ours");
    private static readonly DateTimeOffset At = new(2026, 1, 2, 3, 4, 5, TimeSpan.Zero);
    private static readonly string Long = new('x', 60), Reason = new('r', ProtectedMachine.ReasonLengthMax);

    public static TheoryData<string, object> Answers => new()
    {
        { "configuration", Configuration() },
        { "audit", new AuditEntries([.. Enumerable.Range(0, 2 * AuditTrail.EachMax).Select(i => new AuditEntry(At, Long, Long, Long, $"{Reason}{i}"))]) },
        { "nodes", new Nodes([.. Enumerable.Range(0, Nodes).Select(i => new NodeAnnouncement($"{Long}{i}", Long, Primary, [NodeRoles.MasterTarget, NodeRoles.ProcessServer], Long, Long, 1, 2,
            [.. Enumerable.Range(0, Machines / Nodes).Select(a => new AgentName($"{Long}{i}-{a}"))], StoresHeld.None))]) },
        { "points", new RecoveryPoints([.. Enumerable.Range(1, PointsAtOnce).Select(i => new NotedPoint(Point(i), true, true, At, Long, Long + Long, Jump: true))], true) },
        { "machine", Machine() },
    };

    [Theory, MemberData(nameof(Answers), DisableDiscoveryEnumeration = true)]
    public async Task The_largest_answer_fits_twice_into_a_frame(string name, object answer)
    {
        using var system = ActorSystem.Create("frames", SerializationSettings.Hocon);
        var bytes = system.Serialization.FindSerializerFor(answer).ToBinary(answer).Length;
        Assert.True(bytes is > 128_000 and <= ClusterHosting.FrameBytesMax / 2, $"{name} has {bytes} bytes");
        await system.Terminate();
    }

    private static RecoveryPoint Point(int i) => new(new Epoch(2), new Sequence(1_000_000_000L + i), At, PointKind.CrashConsistent, Long);

    private static ConfigurationView Configuration() => new(
        [.. Enumerable.Range(0, Nodes).Select(i => new Vault($"{Long}{i}", Primary, Secondary))],
        [.. Enumerable.Range(0, Nodes).Select(i => new NamedPolicy($"{Long}{i}", ReplicationPolicy.Default with { RetentionTiers = RetentionTiers.Of([new(TimeSpan.FromHours(1), TimeSpan.FromDays(9))]) }))],
        [], [.. Enumerable.Range(0, Machines).Select(i => new ListedMachine(new MachineId($"{Long}{i:00000}"), $"{Long}{i % Nodes}"))],
        [.. Enumerable.Range(0, Machines + Nodes).Select(i => new Actors.Configuration.Peer(PeerKind.Agent, $"{Long}{i}", Primary, Long, At))],
        [.. Enumerable.Range(0, Nodes).Select(i => new NamedToken($"{Long}{i}", TokenRole.Viewer))],
        [.. Enumerable.Range(0, Nodes).Select(i => new NetworkMapping($"{Long}{i}", $"{Long}{i}", [new NetworkPair(Long, Long, Long)], [],
            [.. Enumerable.Range(0, Machines / Nodes).Select(n => new NicRule($"{Long}{n:00000}", Long))]))]);

    /// <summary>With all that its state may hold.</summary>
    private static MeasuredMachine Machine()
    {
        var steps = Enumerable.Range(0, 6).Select(i => new JobStep($"{Long}{i}", JobStatus.Running, At, Reason)).ToImmutableArray();
        var stale = Enumerable.Range(0, StaleRange.AtOnceMax).Select(i => new StaleRange(1, (long)i << 20, 1 << 16)).ToImmutableArray();
        var exports = Enumerable.Range(0, ProtectedMachine.DisksMax).Select(i => new DiskExport(i, $"nbds://{Long}:12345/{Long}-{i}")).ToImmutableArray();
        var state = ProtectedMachine.New(new MachineId(Long)) with
        {
            Phase = new Phase.Resynchronizing(true, stale),
            Protection = new Protection(new AgentName(Long), Primary, Secondary, [.. Enumerable.Range(0, ProtectedMachine.DisksMax).Select(i => new DiskSpec(i, $"disk{i}", $"/{Long}/{Long}/{i}", 1L << 40, "nbd"))],
                Long, ReplicationPolicy.Default, Long, Definition: new string('d', 1 << 20)),
            Exports = exports,
            Tests = [.. Enumerable.Range(0, ProtectedMachine.TestsMax).Select(i => new TestRun($"{Long}{i}", Point(i), At, exports))],
            Repairs = [.. Enumerable.Repeat(new Repair(At, new Epoch(2), stale), 20)],
            Drills = [.. Enumerable.Repeat(new Drill(Long, Long, At, At, At, Reason), ProtectedMachine.DrillsMax)],
            Problems = [.. Enumerable.Repeat(new WorkProblem(Long, Reason, false, At), 10)],
            Jobs = new JobLog([.. Enumerable.Range(0, JobLog.JobsMax).Select(i => new Job(new JobId($"{Long}.{i}"), Long, JobStatus.Running, At, null, steps, Reason))]),
            Carried = [.. Enumerable.Range(0, ProtectedMachine.CarriedCommandsMax).Select(i => new CarriedCommand(new CommandId($"{Long}{Long}{i}"), Long))],
        };
        return new MeasuredMachine(state, null, At, null, At);
    }
}
