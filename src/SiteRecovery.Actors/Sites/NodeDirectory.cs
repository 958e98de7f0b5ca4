using System.Collections.Immutable;
using SiteRecovery.Domain.Vaults;

namespace SiteRecovery.Actors.Sites;

/// <summary>What a node tells all others of itself: who it is, where its ports are, what it carries.</summary>
/// <param name="Address">Of its actor system.</param>
/// <param name="Host">Where its ports are reached.</param>
public sealed record NodeAnnouncement(
    string Name, string Address, SiteName Site, ImmutableArray<string> Roles, string Host, string HttpUrl, int DataPort, int AgentPort,
    ImmutableArray<AgentName> Agents, StoresHeld Stores) : IClusterMessage
{
    public bool Has(string role) => Roles.Contains(role);
}

/// <summary>What a node's master target carries. Bytes.</summary>
public sealed record StoresHeld(int Machines, long Bytes, long FreeBytes) : IClusterMessage
{
    public static StoresHeld None { get; } = new(0, 0, 0);
}

/// <summary>The agents connected to this node's process server, told to its site actor.</summary>
public sealed record AgentsConnected(ImmutableArray<AgentName> Agents) : IClusterMessage;

/// <summary>Answered with <see cref="Nodes"/>, and again whenever they change.</summary>
public sealed record SubscribeNodes : IClusterMessage;

/// <summary>Answered with <see cref="Nodes"/>.</summary>
public sealed record GetNodes : IClusterMessage;

/// <summary>Answered with <see cref="Membership"/>; also across clusters.</summary>
public sealed record GetMembership : IClusterMessage;

/// <summary>The cluster that the answering node is of.</summary>
/// <param name="Members">Addresses; empty until the node itself is up.</param>
/// <param name="HasConfigurationServer">One that is up and reachable.</param>
public sealed record Membership(ImmutableArray<string> Members, bool HasConfigurationServer) : IClusterMessage;

/// <summary>The nodes that are members of the cluster and have announced themselves, by name.</summary>
public sealed record Nodes(ImmutableArray<NodeAnnouncement> All) : IClusterMessage
{
    public static Nodes None { get; } = new(ImmutableArray<NodeAnnouncement>.Empty);

    public IEnumerable<NodeAnnouncement> Of(string role, SiteName? site) => All.Where(n => n.Has(role) && (site is null || n.Site == site));

    /// <summary>The master target that holds a store: the named one of the site, or the site's first where none was named.</summary>
    public NodeAnnouncement? MasterTarget(SiteName site, string? name) => Of(NodeRoles.MasterTarget, site).FirstOrDefault(n => name is null || n.Name == name);

    public NodeAnnouncement? ProcessServerOf(AgentName agent) => All.FirstOrDefault(n => n.Agents.Contains(agent));
}
