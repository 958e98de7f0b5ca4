namespace SiteRecovery.Domain.Vaults;

public readonly record struct SiteName(string Value)
{
    public override string ToString() => Value;
}

/// <summary>Name of a Unified Agent, unique in the cluster.</summary>
public readonly record struct AgentName(string Value)
{
    public override string ToString() => Value;
}

/// <summary>A place with its own power and network, as operators see it.</summary>
public sealed record Site(SiteName Name, string? Description = null);

/// <summary>The named configuration that pairs a source site and a target site.</summary>
public sealed record Vault(string Name, SiteName SourceSite, SiteName TargetSite)
{
    /// <summary>What is wrong with it, in words for the operator; empty when it can be used.</summary>
    public IEnumerable<string> Problems()
    {
        if (string.IsNullOrWhiteSpace(Name)) yield return "A vault needs a name.";
        if (string.IsNullOrWhiteSpace(SourceSite.Value)) yield return "A vault needs a source site.";
        if (string.IsNullOrWhiteSpace(TargetSite.Value)) yield return "A vault needs a target site.";
        if (SourceSite == TargetSite) yield return $"Source and target are both '{SourceSite}'; a site cannot protect itself: name two sites.";
    }
}

/// <summary>A group of hypervisor hosts in one site that share one replication policy.</summary>
public sealed record Cloud(string Name, SiteName Site, string Policy);
