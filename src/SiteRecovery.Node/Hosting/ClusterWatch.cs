using Akka.Actor;
using Akka.Cluster;
using Akka.Hosting;
using SiteRecovery.Actors.Sites;
using SiteRecovery.Node.Settings;

namespace SiteRecovery.Node.Hosting;

/// <summary>
/// A member of a cluster without a configuration server begins anew and looks for the one that has it. A configuration server that comes back while no answer reaches it begins a
/// cluster of its own, and where it had left the old one cleanly nobody there misses it: two clusters never find each other by themselves.
/// </summary>
public sealed class ClusterWatch : ReceiveActor, IWithTimers
{
    /// <summary>A restart of the configuration server must not end the other nodes' actor systems as well.</summary>
    private static readonly TimeSpan PatienceMin = TimeSpan.FromSeconds(10);
    private readonly Cluster _cluster = Cluster.Get(Context.System);
    private readonly HashSet<UniqueAddress> _servers = [];
    private readonly TimeSpan _patience;
    private bool _isUp;

    public ClusterWatch(TimeSpan patience, Action beginAnew)
    {
        _patience = patience;
        Receive<ClusterEvent.MemberUp>(up => See(up.Member));
        Receive<ClusterEvent.MemberRemoved>(removed =>
        {
            _servers.Remove(removed.Member.UniqueAddress);
            Look();
        });
        Receive<ClusterEvent.IMemberEvent>(_ => { });
        Receive<Missed>(_ => beginAnew());
    }

    public ITimerScheduler Timers { get; set; } = null!;

    internal static TimeSpan PatienceOf(NodeSettings settings) =>
        settings.StableAfter * 2 + settings.HeartbeatPause is var wanted && wanted > PatienceMin ? wanted : PatienceMin;

    protected override void PreStart() => _cluster.Subscribe(Self, ClusterEvent.SubscriptionInitialStateMode.InitialStateAsEvents, typeof(ClusterEvent.IMemberEvent));

    protected override void PostStop() => _cluster.Unsubscribe(Self);

    private void See(Member member)
    {
        if (member.HasRole(NodeRoles.ConfigurationServer)) _servers.Add(member.UniqueAddress);
        _isUp |= member.UniqueAddress == _cluster.SelfUniqueAddress;
        Look();
    }

    private void Look()
    {
        if (!_isUp || _servers.Count > 0) Timers.Cancel(nameof(Missed));
        else if (!Timers.IsTimerActive(nameof(Missed))) Timers.StartSingleTimer(nameof(Missed), Missed.Instance, _patience);
    }

    private sealed class Missed
    {
        internal static readonly Missed Instance = new();
    }
}

internal static class ClusterWatching
{
    internal static AkkaConfigurationBuilder WithClusterWatch(this AkkaConfigurationBuilder builder, NodeSettings settings, HeldShutdown shutdown) => builder.WithActors((system, _) =>
        system.ActorOf(Props.Create(() => new ClusterWatch(ClusterWatch.PatienceOf(settings), () => shutdown.Begin(system, new ConfigurationServerMissed()))), "cluster-watch"));

    private sealed class ConfigurationServerMissed : CoordinatedShutdown.Reason
    {
        public override int ExitCode => 0; // Nothing exits.
        public override string ToString() => "there is no configuration server in this node's cluster";
    }
}
