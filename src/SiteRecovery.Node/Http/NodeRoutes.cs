using Akka.Actor;
using Akka.Cluster;
using SiteRecovery.DataPlane.Transport;
using SiteRecovery.Node.Hosting;
using SiteRecovery.Node.Identity;
using SiteRecovery.Node.Settings;

namespace SiteRecovery.Node.Http;

public sealed record NodeView(string Address, string Site, IReadOnlyList<string> Roles, string Status, bool Reachable);

public sealed record SiteView(string Name, int Nodes, int ReachableNodes, IReadOnlyList<string> Roles);

public sealed record JoinTokenView(string Token, DateTimeOffset ExpiresAt);

public sealed record AgentJoinRequest(string Token, string Csr, string Name);

/// <param name="Site">The site that the agent belongs to: that of the node it joined through.</param>
public sealed record AgentJoined(string Certificate, string Authority, string Site, IReadOnlyList<string> ProcessServers);

public static class NodeRoutes
{
    private const string SitePrefix = "site-";

    public static void Map(RouteGroupBuilder api)
    {
        api.MapGet("/nodes", (HttpContext context, ActorSystem system) => Page<NodeView>.Of(Members(system), context)).Needs(AccessRole.Viewer).WithName("list-nodes");
        api.MapGet("/sites", (HttpContext context, ActorSystem system) => Page<SiteView>.Of(Sites(system), context)).Needs(AccessRole.Viewer).WithName("list-sites");
        api.MapGet("/sites/{site}", (string site, ActorSystem system) =>
            Sites(system).FirstOrDefault(s => s.Name == site) ?? throw ProblemException.NotFound("site", site)).Needs(AccessRole.Viewer).WithName("get-site");
        api.MapPost("/nodes/join-tokens", (NodeSettings settings, NodeIdentity identity, ConfigurationFile store, TimeProvider time) =>
            Token("node", settings, identity, store, time)).Needs(AccessRole.Administrator).WithName("make-node-join-token");
        api.MapPost("/agents/join-tokens", (NodeSettings settings, NodeIdentity identity, ConfigurationFile store, TimeProvider time) =>
            Token("agent", settings, identity, store, time)).Needs(AccessRole.Administrator).WithName("make-agent-join-token");
        api.MapPost("/nodes/join", JoinNode).NeedsNoToken().WithName("join-node");
        api.MapPost("/agents/join", JoinAgent).NeedsNoToken().WithName("join-agent");
        api.MapGet("/agents", (HttpContext context, ConfigurationFile store) =>
            Page<System.Text.Json.Nodes.JsonNode>.Of(store.List("agent"), context)).Needs(AccessRole.Viewer).WithName("list-agents");
        api.MapGet("/agents/{agent}", (string agent, ConfigurationFile store) =>
            store.Find("agent", agent) ?? throw ProblemException.NotFound("agent", agent)).Needs(AccessRole.Viewer).WithName("get-agent");
    }

    public static IReadOnlyList<NodeView> Members(ActorSystem system)
    {
        var state = Cluster.Get(system).State;
        return [.. state.Members.Select(m => new NodeView(
            m.Address.ToString(), m.Roles.FirstOrDefault(r => r.StartsWith(SitePrefix, StringComparison.Ordinal))?[SitePrefix.Length..] ?? "",
            [.. m.Roles.Where(r => !r.StartsWith(SitePrefix, StringComparison.Ordinal)).Order()], m.Status.ToString().ToLowerInvariant(), !state.Unreachable.Contains(m)))];
    }

    private static IReadOnlyList<SiteView> Sites(ActorSystem system) => [.. Members(system).GroupBy(n => n.Site).OrderBy(g => g.Key).Select(g =>
        new SiteView(g.Key, g.Count(), g.Count(n => n.Reachable), [.. g.SelectMany(n => n.Roles).Distinct().Order()]))];

    private static JoinTokenView Token(string kind, NodeSettings settings, NodeIdentity identity, ConfigurationFile store, TimeProvider time)
    {
        _ = AuthorityOf(identity);
        var expires = time.GetUtcNow() + settings.JoinTokenValidity;
        return new JoinTokenView(store.AddJoinToken(kind, identity.Peer.Fingerprint, expires).ToString(), expires);
    }

    private static NodeJoined JoinNode(NodeJoinRequest body, NodeSettings settings, NodeIdentity identity, NodeEndpoints endpoints, ConfigurationFile store)
    {
        var certificate = Redeem(body.Token, "node", body.Csr, body.Name, PeerRole.Node, identity, store, body.Address);
        return new NodeJoined(certificate, AuthorityOf(identity).CertificatePem, [ClusterHosting.AddressOf(settings.Address, endpoints.Cluster)], endpoints.HttpUrl);
    }

    private static AgentJoined JoinAgent(AgentJoinRequest body, NodeSettings settings, NodeIdentity identity, NodeEndpoints endpoints, ConfigurationFile store, TimeProvider time)
    {
        var certificate = Redeem(body.Token, "agent", body.Csr, body.Name, PeerRole.Agent, identity, store);
        store.Put("agent", body.Name, new System.Text.Json.Nodes.JsonObject { ["name"] = body.Name, ["site"] = settings.Site, ["joinedAt"] = time.GetUtcNow() });
        return new AgentJoined(certificate, AuthorityOf(identity).CertificatePem, settings.Site,
            settings.Is("process-server") ? [$"{settings.Address}:{endpoints.Agent}"] : []);
    }

    private static string Redeem(string text, string kind, string csr, string name, PeerRole role, NodeIdentity identity, ConfigurationFile store, params string[] addresses)
    {
        var authority = AuthorityOf(identity);
        if (!Domain.History.MachineId.IsValid(name)) throw ProblemException.Invalid($"'{name}' is no name.", "Use 1 to 63 of a-z, 0-9, '-' and '.', starting with a letter or digit.");
        if (JoinToken.Parse(text) is not { } token || !store.TryRedeem(token, kind))
            throw new ProblemException(401, "joinTokenRefused", "The join token is unknown, used up, too old, or for something else.", $"Print a new one with 'srctl {kind} join-token'.");
        try
        {
            return authority.Sign(csr, name, role, addresses);
        }
        catch (Exception e) when (e is System.Security.Cryptography.CryptographicException or ArgumentException)
        {
            throw ProblemException.Invalid($"The certificate signing request is not usable: {e.Message}", "Send a PKCS#10 request in PEM, and a new join token.");
        }
    }

    private static Authority AuthorityOf(NodeIdentity identity) => identity.Authority ?? throw new ProblemException(
        503, "noAuthority", "This node does not hold the cluster's authority.", $"Ask the first node: {identity.ConfigurationServer}.");
}
