using System.Net.Sockets;
using Akka.Actor;
using Akka.Cluster;
using Akka.Hosting;
using SiteRecovery.Actors.Sites;
using SiteRecovery.Node.Settings;

namespace SiteRecovery.Node.Hosting;

/// <summary>
/// A member of a cluster without a configuration server begins anew and looks for the one that has it. A configuration server that comes back while no answer reaches it begins a
/// cluster of its own, and where it had left the old one cleanly nobody there misses it: two clusters never find each other by themselves. Only when a node that is no member answers
/// twice: one that is down may want to join here when it is back.
/// </summary>
public sealed class ClusterWatch : ReceiveActor, IWithTimers
{
    /// <summary>A restart of the configuration server must not end the other nodes' actor systems as well.</summary>
    private static readonly TimeSpan PatienceMin = TimeSpan.FromSeconds(10);
    private static readonly TimeSpan AnswerPatience = TimeSpan.FromSeconds(2);
    private const int AnswersWanted = 2;
    private readonly Cluster _cluster = Cluster.Get(Context.System);
    private readonly HashSet<UniqueAddress> _servers = [];
    private readonly TimeSpan _patience;
    private readonly HashSet<Address> _known;
    private bool _isUp;
    private int _answers;

    /// <param name="known">Addresses of nodes that are or were of the cluster.</param>
    public ClusterWatch(TimeSpan patience, IEnumerable<string> known, Action beginAnew)
    {
        (_patience, _known) = (patience, [.. known.Select(Address.Parse)]);
        Receive<ClusterEvent.MemberUp>(up => See(up.Member));
        Receive<ClusterEvent.MemberRemoved>(removed =>
        {
            _servers.Remove(removed.Member.UniqueAddress);
            Look();
        });
        Receive<ClusterEvent.IMemberEvent>(_ => { });
        Receive<Missed>(_ =>
        {
            var members = _cluster.State.Members.Select(m => m.Address).ToHashSet();
            Address[] others = [.. _known.Where(a => !members.Contains(a))];
            AnyAnswersAsync(others).PipeTo(Self, success: any => any ? Answered.Instance : Silent.Instance);
        });
        Receive<Answered>(_ =>
        {
            if (_servers.Count == 0 && ++_answers >= AnswersWanted) beginAnew();
            else Look();
        });
        Receive<Silent>(_ =>
        {
            _answers = 0;
            Look();
        });
    }

    public ITimerScheduler Timers { get; set; } = null!;

    internal static TimeSpan PatienceOf(NodeSettings settings) =>
        settings.StableAfter * 2 + settings.HeartbeatPause is var wanted && wanted > PatienceMin ? wanted : PatienceMin;

    protected override void PreStart() => _cluster.Subscribe(Self, ClusterEvent.SubscriptionInitialStateMode.InitialStateAsEvents, typeof(ClusterEvent.IMemberEvent));

    protected override void PostStop() => _cluster.Unsubscribe(Self);

    private void See(Member member)
    {
        _known.Add(member.Address);
        if (member.HasRole(NodeRoles.ConfigurationServer)) _servers.Add(member.UniqueAddress);
        _isUp |= member.UniqueAddress == _cluster.SelfUniqueAddress;
        Look();
    }

    private void Look()
    {
        if (!_isUp || _servers.Count > 0)
        {
            Timers.Cancel(nameof(Missed));
            _answers = 0;
        }
        else if (!Timers.IsTimerActive(nameof(Missed))) Timers.StartSingleTimer(nameof(Missed), Missed.Instance, _patience);
    }

    /// <summary>Whether something listens at one of them.</summary>
    private static async Task<bool> AnyAnswersAsync(Address[] others)
    {
        var answers = await Task.WhenAll(others.Where(a => a is { Host: not null, Port: not null }).Select(AnswersAsync));
        return answers.Contains(true);
    }

    private static async Task<bool> AnswersAsync(Address other)
    {
        using var patience = new CancellationTokenSource(AnswerPatience);
        using var socket = new Socket(SocketType.Stream, ProtocolType.Tcp);
        try
        {
            await socket.ConnectAsync(other.Host!, other.Port!.Value, patience.Token);
            return true;
        }
        catch (Exception silent) when (silent is SocketException or OperationCanceledException)
        {
            return false;
        }
    }

    private sealed class Missed
    {
        internal static readonly Missed Instance = new();
    }

    private sealed class Answered
    {
        internal static readonly Answered Instance = new();
    }

    private sealed class Silent
    {
        internal static readonly Silent Instance = new();
    }
}

internal static class ClusterWatching
{
    internal static AkkaConfigurationBuilder WithClusterWatch(this AkkaConfigurationBuilder builder, NodeSettings settings, IReadOnlyList<string> known, HeldShutdown shutdown) => builder.WithActors((system, _) =>
        system.ActorOf(Props.Create(() => new ClusterWatch(ClusterWatch.PatienceOf(settings), known, () => shutdown.Begin(system, new ConfigurationServerMissed()))), "cluster-watch"));

    private sealed class ConfigurationServerMissed : CoordinatedShutdown.Reason
    {
        public override int ExitCode => 0; // Nothing exits.
        public override string ToString() => "there is no configuration server in this node's cluster";
    }
}
