using SiteRecovery.Actors.Sites;
using SiteRecovery.Domain.Vaults;

namespace SiteRecovery.Actors.Tests.Sites;

public sealed class NodesTests
{
    [Fact]
    public void A_store_is_at_a_master_target_of_its_own_site_only()
    {
        SiteName paris = new("paris"), lyon = new("lyon");
        NodeAnnouncement Node(string name, SiteName site, string role) => new(name, $"akka://{name}", site, [role], name, $"https://{name}", 1, 2, [], StoresHeld.None);
        var nodes = new Nodes([Node("a", paris, NodeRoles.MasterTarget), Node("b", lyon, NodeRoles.ProcessServer), Node("c", lyon, NodeRoles.MasterTarget), Node("d", lyon, NodeRoles.MasterTarget)]);

        Assert.Equal("c", nodes.MasterTarget(lyon, null)?.Name);
        Assert.Equal("d", nodes.MasterTarget(lyon, "d")?.Name);
        Assert.Null(nodes.MasterTarget(lyon, "b"));
        Assert.Null(nodes.MasterTarget(lyon, "a"));
    }
}
