using System.Collections.Immutable;
using SiteRecovery.Actors.Sites;
using SiteRecovery.Domain.Vaults;

namespace SiteRecovery.Actors.Configuration;

/// <summary>A node that was a member of the cluster once: one that is gone must be missed, also by a server that was started after that.</summary>
/// <param name="Roles">As the node announces them.</param>
/// <param name="Address">Of its actor system when it was a member last.</param>
public sealed record KnownNode(string Name, SiteName Site, ImmutableArray<string> Roles, string Address)
{
    public static KnownNode Of(NodeAnnouncement node) => new(node.Name, node.Site, node.Roles, node.Address);

    // An ImmutableArray compares by reference.
    public bool Equals(KnownNode? other) =>
        other is not null && Name == other.Name && Site == other.Site && Address == other.Address && Roles.AsSpan().SequenceEqual(other.Roles.AsSpan());

    public override int GetHashCode() => HashCode.Combine(Name, Site, Address);
}
