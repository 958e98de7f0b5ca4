using System.Net.Sockets;
using Akka.Actor;
using Akka.Cluster;
using Akka.Hosting;
using SiteRecovery.Actors.Sites;
using SiteRecovery.Node.Settings;

namespace SiteRecovery.Node.Hosting;

/// <summary>
/// A member of a cluster without a configuration server begins anew and looks for the one that has it. A configuration server that comes back while no answer reaches it begins a
/// cluster of its own, and where it had left the old one cleanly nobody there misses it: two clusters never find each other by themselves. At once when a node says that it is of
/// another cluster that has one; otherwise only when a node that is no member answers twice: one that is down may want to join here when it is back.
/// </summary>
public sealed class ClusterWatch : ReceiveActor, IWithTimers
{
    /// <summary>A restart of the configuration server must not end the other nodes' actor systems as well.</summary>
    private static readonly TimeSpan PatienceMin = TimeSpan.FromSeconds(10);
    internal static readonly TimeSpan AskEvery = TimeSpan.FromSeconds(5);
    private static readonly TimeSpan AnswerPatience = TimeSpan.FromSeconds(2);
    private const int AnswersWanted = 2;
    private readonly Cluster _cluster = Cluster.Get(Context.System);
    private readonly HashSet<UniqueAddress> _servers = [];
    private readonly TimeSpan _patience, _askEvery;
    private readonly HashSet<Address> _known;
    private bool _isUp;
    private int _answers;

    /// <param name="patience">Between looks for whoever answers.</param>
    /// <param name="askEvery">Between questions for another cluster.</param>
    /// <param name="known">Addresses of nodes that are or were of the cluster.</param>
    public ClusterWatch(TimeSpan patience, TimeSpan askEvery, IEnumerable<string> known, Action beginAnew)
    {
        (_patience, _askEvery, _known) = (patience, askEvery, [.. known.Select(Address.Parse)]);
        Receive<ClusterEvent.MemberUp>(up => See(up.Member));
        Receive<ClusterEvent.MemberRemoved>(removed =>
        {
            _servers.Remove(removed.Member.UniqueAddress);
            Look();
        });
        Receive<ClusterEvent.IMemberEvent>(_ => { });
        Receive<Missed>(_ =>
        {
            AnyAnswersAsync(NoMembers()).PipeTo(Self, success: any => any ? Answered.Instance : Silent.Instance, failure: _ => Silent.Instance);
        });
        Receive<Ask>(_ =>
        {
            var (system, own) = (Context.System, _cluster.SelfAddress.ToString());
            AnyIsElsewhereAsync(system, own, NoMembers()).PipeTo(Self, success: any => any ? Elsewhere.Instance : Here.Instance, failure: _ => Here.Instance);
        });
        Receive<Elsewhere>(_ =>
        {
            if (_servers.Count == 0) beginAnew();
        });
        Receive<Here>(_ => Look());
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
            Timers.Cancel(nameof(Ask));
            _answers = 0;
            return;
        }
        if (!Timers.IsTimerActive(nameof(Missed))) Timers.StartSingleTimer(nameof(Missed), Missed.Instance, _patience);
        if (!Timers.IsTimerActive(nameof(Ask))) Timers.StartSingleTimer(nameof(Ask), Ask.Instance, _askEvery);
    }

    private Address[] NoMembers()
    {
        var members = _cluster.State.Members.Select(m => m.Address).ToHashSet();
        return [.. _known.Where(a => !members.Contains(a))];
    }

    /// <summary>Whether one of them is of a cluster with a configuration server that this node is not of.</summary>
    private static async Task<bool> AnyIsElsewhereAsync(ActorSystem system, string own, Address[] others)
    {
        var elsewhere = await Task.WhenAll(others.Select(async other =>
        {
            // Nobody listens: asked through the actor system, each try would be a warning in the log.
            if (other is not { Host: not null, Port: not null } || !await AnswersAsync(other)) return false;
            try
            {
                var site = system.ActorSelection(new RootActorPath(other) / "user" / SiteActor.Name);
                var its = await site.Ask<Membership>(new GetMembership(), AnswerPatience);
                return its.HasConfigurationServer && !its.Members.Contains(own);
            }
            catch (AskTimeoutException)
            {
                return false;
            }
        }));
        return elsewhere.Contains(true);
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

    private sealed class Ask
    {
        internal static readonly Ask Instance = new();
    }

    private sealed class Elsewhere
    {
        internal static readonly Elsewhere Instance = new();
    }

    private sealed class Here
    {
        internal static readonly Here Instance = new();
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
        system.ActorOf(Props.Create(() => new ClusterWatch(ClusterWatch.PatienceOf(settings), ClusterWatch.AskEvery, known, () => shutdown.Begin(system, new ConfigurationServerMissed()))), "cluster-watch"));

    private sealed class ConfigurationServerMissed : CoordinatedShutdown.Reason
    {
        public override int ExitCode => 0; // Nothing exits.
        public override string ToString() => "there is no configuration server in this node's cluster";
    }
}
