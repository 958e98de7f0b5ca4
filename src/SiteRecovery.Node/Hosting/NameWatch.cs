using Akka.Actor;
using Akka.Cluster;
using Akka.Hosting;
using SiteRecovery.Actors.Sites;

namespace SiteRecovery.Node.Hosting;

/// <summary>
/// Two nodes of one name (a data directory that was copied, a name that was joined with once more) would each get a part of what is meant for either. The one that has been a member
/// for the shorter time ends. That the other one lives is known from its own announcement: it tells only those who are members, so that one which was killed before this node joined,
/// and is listed until the split-brain resolver takes it out, has told this one nothing. The same node on its former address is never listed beside itself.
/// </summary>
public sealed class NameWatch : ReceiveActor
{
    private readonly Cluster _cluster = Cluster.Get(Context.System);

    public NameWatch(NodeAnnouncement own, IActorRef site, Action<string> onTaken)
    {
        Receive<Nodes>(nodes =>
        {
            if (nodes.All.FirstOrDefault(n => n.Name == own.Name && n.Address != own.Address && HasComeBefore(n)) is { } other)
                onTaken($"the node '{own.Name}' is up already, at {other.HttpUrl}, and there cannot be two: this one ends. If it is to take that one's place, stop that one first and start this one again; "
                    + "if it is another node, give it an empty data directory, a name of its own (siterecovery.node.name) and a join token.");
        });
        site.Tell(new SubscribeNodes());
    }

    private bool HasComeBefore(NodeAnnouncement other)
    {
        var state = _cluster.State;
        return state.Members.FirstOrDefault(m => m.Address.ToString() == other.Address) is { Status: MemberStatus.Up } member && !state.Unreachable.Contains(member)
            && member.IsOlderThan(_cluster.SelfMember);
    }
}

internal static class NameWatching
{
    internal static AkkaConfigurationBuilder WithNameWatch(this AkkaConfigurationBuilder builder, NodeAnnouncement own, Action<string> onTaken) => builder.WithActors((system, registry) =>
        system.ActorOf(Props.Create(() => new NameWatch(own, registry.Get<SiteActor>(), onTaken)), "name-watch"));
}
