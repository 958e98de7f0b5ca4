using SiteRecovery.Domain.Vaults;

namespace SiteRecovery.Actors.Sites;

/// <summary>Cluster roles. A role's actor on a node is at "/user/{role}".</summary>
public static class NodeRoles
{
    public const string ConfigurationServer = "configuration-server";
    public const string ProcessServer = "process-server";
    public const string MasterTarget = "master-target";

    public static string OfSite(SiteName site) => $"site-{site}";
}
