using System.Collections.Immutable;
using Akka.Actor;
using SiteRecovery.Actors.Sites;

namespace SiteRecovery.Actors.Configuration;

/// <summary>On every configuration server: has the configuration keep in mind which nodes there are. What is lost is told again.</summary>
public sealed class NodeNotesActor : ReceiveActor, IWithTimers
{
    private static readonly TimeSpan TellEvery = TimeSpan.FromSeconds(5);
    private Nodes _nodes = Nodes.None;
    private ImmutableArray<KnownNode> _told = [];

    public NodeNotesActor(IActorRef site, IActorRef configuration)
    {
        Receive<Nodes>(nodes => _nodes = nodes);
        Receive<TellNow>(_ =>
        {
            // Where two are of one name, one of them: else each would be news again.
            _told = [.. _nodes.All.Select(KnownNode.Of).GroupBy(n => n.Name).Select(g => g.FirstOrDefault(_told.Contains) ?? g.First())];
            configuration.Tell(new NoteNodes("cluster", _told));
        });
        Receive<ConfigurationReply>(_ => { });
        site.Tell(new SubscribeNodes());
    }

    public ITimerScheduler Timers { get; set; } = null!;

    public static Props Props(IActorRef site, IActorRef configuration) => Akka.Actor.Props.Create(() => new NodeNotesActor(site, configuration));

    protected override void PreStart() => Timers.StartPeriodicTimer(nameof(TellNow), TellNow.Instance, TellEvery);

    private sealed class TellNow
    {
        public static TellNow Instance { get; } = new();
    }
}
