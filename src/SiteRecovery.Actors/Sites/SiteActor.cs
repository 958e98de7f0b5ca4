using System.Collections.Immutable;
using Akka.Actor;
using Akka.Cluster;

namespace SiteRecovery.Actors.Sites;

/// <summary>On every node, at "/user/site": announces the node to all others and knows what they announce.</summary>
public sealed class SiteActor : ReceiveActor, IWithTimers
{
    public const string Name = "site";

    /// <summary>Lost announcements repair themselves after so long.</summary>
    public static TimeSpan AnnounceEvery { get; } = TimeSpan.FromSeconds(2);

    private readonly Cluster _cluster = Cluster.Get(Context.System);
    private readonly HashSet<IActorRef> _subscribers = [];
    private NodeAnnouncement _own;
    private ImmutableSortedDictionary<string, NodeAnnouncement> _others = ImmutableSortedDictionary.Create<string, NodeAnnouncement>(StringComparer.Ordinal);
    private Nodes _published = Nodes.None;

    public SiteActor(NodeAnnouncement own)
    {
        _own = own;
        Receive<Announce>(_ => AnnounceToAll());
        Receive<ClusterEvent.MemberUp>(_ => AnnounceToAll());
        Receive<ClusterEvent.MemberRemoved>(removed => Forget(removed.Member.Address));
        Receive<ClusterEvent.IMemberEvent>(_ => { });
        Receive<ClusterEvent.IReachabilityEvent>(_ => Publish());
        Receive<NodeAnnouncement>(Hear);
        Receive<AgentsConnected>(connected => Change(_own with { Agents = connected.Agents }));
        Receive<StoresHeld>(held => Change(_own with { Stores = held }));
        Receive<GetNodes>(_ => Sender.Tell(_published));
        Receive<GetMembership>(_ => Sender.Tell(OwnMembership()));
        Receive<SubscribeNodes>(_ => Subscribe(Sender));
        Receive<Terminated>(gone => _subscribers.Remove(gone.ActorRef));
    }

    public ITimerScheduler Timers { get; set; } = null!;

    public static Props Props(NodeAnnouncement own) => Akka.Actor.Props.Create(() => new SiteActor(own));

    protected override void PreStart()
    {
        _cluster.Subscribe(Self, ClusterEvent.SubscriptionInitialStateMode.InitialStateAsEvents, typeof(ClusterEvent.IMemberEvent), typeof(ClusterEvent.IReachabilityEvent));
        Timers.StartPeriodicTimer(nameof(Announce), Announce.Instance, AnnounceEvery);
        Publish();
    }

    protected override void PostStop() => _cluster.Unsubscribe(Self);

    private Membership OwnMembership()
    {
        var (members, unreachable) = (_cluster.State.Members, _cluster.State.Unreachable);
        // Before that it may be about to join the cluster of whoever asks.
        if (!members.Any(m => m.UniqueAddress == _cluster.SelfUniqueAddress && m.Status == MemberStatus.Up)) return new Membership([], false);
        return new Membership([.. members.Select(m => m.Address.ToString())], members.Any(m => m.Status == MemberStatus.Up && m.HasRole(NodeRoles.ConfigurationServer) && !unreachable.Contains(m)));
    }

    private void Subscribe(IActorRef subscriber)
    {
        if (_subscribers.Add(subscriber)) Context.Watch(subscriber);
        subscriber.Tell(_published);
    }

    private void Hear(NodeAnnouncement announcement)
    {
        if (announcement.Address == _own.Address) return;
        // Only members count; one that was removed may still have an announcement on its way.
        if (!_cluster.State.Members.Any(m => m.Address.ToString() == announcement.Address)) return;
        _others = _others.SetItem(announcement.Address, announcement);
        Publish();
    }

    private void Forget(Address address)
    {
        _others = _others.Remove(address.ToString());
        Publish();
    }

    private void Change(NodeAnnouncement own)
    {
        var agentsChanged = !own.Agents.AsSpan().SequenceEqual(_own.Agents.AsSpan());
        _own = own;
        if (agentsChanged) AnnounceToAll();
        Publish();
    }

    private void AnnounceToAll()
    {
        foreach (var member in _cluster.State.Members.Where(m => m.Address != _cluster.SelfAddress))
            Context.ActorSelection(new RootActorPath(member.Address) / "user" / Name).Tell(_own);
    }

    private void Publish()
    {
        // A node that cannot be reached stays a member for a while, but no agent is reached through it.
        var unreachable = _cluster.State.Unreachable.Select(m => m.Address.ToString()).ToHashSet();
        var others = _others.Values.Select(n => unreachable.Contains(n.Address) ? n with { Agents = [] } : n);
        _published = new Nodes([.. others.Append(_own).OrderBy(n => n.Name, StringComparer.Ordinal)]);
        foreach (var subscriber in _subscribers) subscriber.Tell(_published);
    }

    private sealed class Announce
    {
        public static Announce Instance { get; } = new();
    }
}
