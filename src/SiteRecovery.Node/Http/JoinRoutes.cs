using System.Security.Cryptography.X509Certificates;
using SiteRecovery.Actors.Configuration;
using SiteRecovery.Actors.Sites;
using SiteRecovery.DataPlane.Transport;
using SiteRecovery.Domain.History;
using SiteRecovery.Domain.Vaults;
using SiteRecovery.Node.Identity;
using SiteRecovery.Node.Settings;
using JoinToken = SiteRecovery.DataPlane.Transport.JoinToken;

namespace SiteRecovery.Node.Http;

/// <param name="Site">The site that the agent belongs to; may be left out where only one site has process servers, and for an agent that is known.</param>
/// <param name="Name">Whom alone the token admits; one that is known already needs it to join anew.</param>
public sealed record JoinTokenBody(string? Site = null, string? Name = null);

public sealed record JoinTokenView(string Token, DateTimeOffset ExpiresAt, string? Site, string? Name = null);

public sealed record AgentJoinRequest(string Token, string Csr, string Name);

public sealed record ProcessServerView(string Host, int Port);

public sealed record AgentHomeView(string Name, string Site, IReadOnlyList<ProcessServerView> ProcessServers, IReadOnlyList<string> ConfigurationServers);

public sealed record AgentJoined(string Certificate, string Authority, AgentHomeView Home);

/// <summary>Tokens that admit one node or agent each, and their redemption for a certificate.</summary>
public static class JoinRoutes
{
    /// <summary>Nobody has said yet who it is: a request and a token are a few KiB, and what comes slowly is over soon.</summary>
    private static readonly SmallBody BodyOfStrangers = new(64 << 10);

    private sealed record SmallBody(long? MaxRequestBodySize) : Microsoft.AspNetCore.Http.Metadata.IRequestSizeLimitMetadata;

    public static void Map(RouteGroupBuilder api)
    {
        api.MapPost("/nodes/join-tokens", (JoinTokenBody? body, HttpContext context, JoinDesk desk, CancellationToken cancel) =>
            desk.IssueAsync(PeerKind.Node, context.CallerOf(), body ?? new(), cancel)).Needs(AccessRole.Administrator).WithName("make-node-join-token");
        api.MapPost("/agents/join-tokens", (JoinTokenBody? body, HttpContext context, JoinDesk desk, CancellationToken cancel) =>
            desk.IssueAsync(PeerKind.Agent, context.CallerOf(), body ?? new(), cancel)).Needs(AccessRole.Administrator).WithName("make-agent-join-token");
        api.MapPost("/nodes/join", (NodeJoinRequest body, JoinDesk desk, CancellationToken cancel) => desk.JoinNodeAsync(body, cancel)).NeedsNoToken().WithMetadata(BodyOfStrangers).WithName("join-node");
        api.MapPost("/agents/join", (AgentJoinRequest body, JoinDesk desk, CancellationToken cancel) => desk.JoinAgentAsync(body, cancel)).NeedsNoToken().WithMetadata(BodyOfStrangers).WithName("join-agent");
        // No token: the agent's certificate says who asks.
        api.MapGet("/agents/home", (HttpContext context, JoinDesk desk, CancellationToken cancel) => desk.HomeAsync(context.Connection.ClientCertificate, cancel)).NeedsNoToken().WithName("get-agent-home");
        // As above, for nodes too.
        api.MapPost("/certificates", (RenewalAsk body, HttpContext context, JoinDesk desk, CancellationToken cancel) => desk.RenewAsync(context.Connection.ClientCertificate, body, cancel)).NeedsNoToken().WithMetadata(BodyOfStrangers).WithName("renew-certificate");
    }
}

/// <summary>Where nodes and agents become peers of the cluster.</summary>
public sealed class JoinDesk(ControlPlane control, NodeIdentity identity, NodeSettings settings, Hosting.NodeEndpoints endpoints, TimeProvider time)
{
    /// <summary>Less than a renewal that failed waits before it is tried again.</summary>
    private static readonly TimeSpan NoteRenewalsEvery = CertificateRenewal.TryAgainAfter - TimeSpan.FromHours(1);
    /// <summary>Peers that are known, so no more than there are.</summary>
    private readonly Dictionary<(PeerKind Kind, string Name), long> _noted = [];

    public async Task<JoinTokenView> IssueAsync(PeerKind kind, Caller caller, JoinTokenBody body, CancellationToken cancel)
    {
        _ = AuthorityHere();
        if (body.Name is { } name) CheckName(kind, name);
        var place = body.Site ?? await SiteOfKnownAsync(kind, body.Name, cancel) ?? (kind == PeerKind.Agent ? await OnlySiteAsync(cancel) : null);
        var expires = time.GetUtcNow() + settings.JoinTokenValidity;
        var token = JoinToken.Create(identity.Peer.Fingerprint);
        await control.ConfigureAsync(new AddJoinToken(caller.Name, new(HashOf(token), kind, new SiteName(place ?? ""), expires, body.Name)), cancel);
        return new JoinTokenView(token.ToString(), expires, place, body.Name);
    }

    /// <summary>Who joins anew stays where it was.</summary>
    private async Task<string?> SiteOfKnownAsync(PeerKind kind, string? name, CancellationToken cancel) => name is null ? null :
        (await control.GetConfigurationAsync(cancel)).Peers.FirstOrDefault(p => p.Kind == kind && p.Name == name)?.Site is { Value.Length: > 0 } site ? site.Value : null;

    private void CheckName(PeerKind kind, string name)
    {
        if (!MachineId.IsValid(name)) throw ProblemException.Invalid($"'{name}' is no name.", "Use 1 to 63 of a-z, 0-9, '-' and '.', starting with a letter or digit.");
        // The first node never joined, so that nothing but this knows its name for taken.
        if (kind == PeerKind.Node && name == identity.Peer.Self.Name)
            throw new ProblemException(409, "nameTaken", $"'{name}' is the node that holds the cluster's authority, and makes its own certificates.", "Give the node that joins another name (siterecovery.node.name).");
    }

    public async Task<NodeJoined> JoinNodeAsync(NodeJoinRequest body, CancellationToken cancel)
    {
        // Before the token is used up.
        if (body.Roles?.Contains(NodeRoles.ConfigurationServer) == true && settings.PersistenceProvider == NodeSettings.Sqlite)
            throw new ProblemException(422, "journalNotShared", NodeSettings.JournalNotShared, NodeSettings.ShareTheJournal);
        var (certificate, _) = await RedeemAsync(body.Token, PeerKind.Node, body.Csr, body.Name, body.Address, new SiteName(body.Site ?? ""), cancel);
        var nodes = await control.GetNodesAsync(cancel);
        return new NodeJoined(certificate, AuthorityHere().CertificatePem, [.. nodes.Of(NodeRoles.ConfigurationServer, null).Select(n => n.Address)], endpoints.HttpUrl);
    }

    public async Task<AgentJoined> JoinAgentAsync(AgentJoinRequest body, CancellationToken cancel)
    {
        var (certificate, peer) = await RedeemAsync(body.Token, PeerKind.Agent, body.Csr, body.Name, null, null, cancel);
        return new AgentJoined(certificate, AuthorityHere().CertificatePem, await HomeOfAsync(peer, cancel));
    }

    public async Task<AgentHomeView> HomeAsync(X509Certificate2? certificate, CancellationToken cancel)
    {
        var trusted = PeerTrust.InAuthority(identity.Peer.AuthorityCertificate, PeerRole.Agent);
        if (certificate is null || !trusted(this, certificate, null, System.Net.Security.SslPolicyErrors.None) || DataPlane.Transport.Peer.Of(certificate) is not { } agent)
            throw new ProblemException(401, "notAuthenticated", "The request shows no certificate of an agent of this cluster.", "Agents ask this by themselves; join the agent first.");
        var peers = (await control.GetConfigurationAsync(cancel)).Peers;
        var known = peers.FirstOrDefault(p => p.Kind == PeerKind.Agent && p.Name == agent.Name) ?? throw ProblemException.NotFound("agent", agent.Name);
        return await HomeOfAsync(known, cancel);
    }

    /// <summary>Another certificate for who shows one that is still good.</summary>
    public async Task<RenewalAnswer> RenewAsync(X509Certificate2? certificate, RenewalAsk body, CancellationToken cancel)
    {
        var authority = AuthorityHere();
        var trusted = PeerTrust.InAuthority(identity.Peer.AuthorityCertificate);
        if (certificate is null || !trusted(this, certificate, null, System.Net.Security.SslPolicyErrors.None) || DataPlane.Transport.Peer.Of(certificate) is not { } peer)
            throw new ProblemException(401, "notAuthenticated", "The request shows no certificate of this cluster that is still good.",
                "If it has expired, start the node or agent with --join URL and --token-file FILE, with a new token (srctl agent|node join-token --name NAME): it keeps its name.");
        var kind = peer.Role == PeerRole.Node ? PeerKind.Node : PeerKind.Agent;
        var noun = kind == PeerKind.Node ? "node" : "agent";
        var known = (await control.GetConfigurationAsync(cancel)).Peers.FirstOrDefault(p => p.Kind == kind && p.Name == peer.Name) ?? throw ProblemException.NotFound(noun, peer.Name);
        // Whose key was stolen is joined anew: what was signed before must not live on. The newest joining's own certificate is known by its number, for it was signed just before the peer was
        // registered, and by another clock perhaps; what was renewed since is months younger.
        if (certificate.SerialNumber != known.CertificateSerial && Authority.SignedAt(certificate) < known.Since)
            throw new ProblemException(403, "certificateSuperseded", $"The certificate is older than the newest joining of {noun} '{peer.Name}', on {CertificateOutOfTimeException.Day(known.Since)}: it serves until its end, and is not renewed.",
                $"If who asks is the right one, stop it, delete the folder pki in its data folder, and start it with --join URL --token-file FILE, with a token of 'srctl {noun} join-token --name {peer.Name}': it keeps its name. If not, its key is stolen.");
        var renewed = Signed(() => authority.Renew(body.Csr, certificate));
        using var signed = X509Certificate2.CreateFromPem(renewed);
        await NoteAsync(known, signed.SerialNumber, cancel);
        return new RenewalAnswer(renewed);
    }

    /// <summary>Who cannot keep its new certificate asks for another one every few hours; who asks in a loop must not displace all other notes.</summary>
    private async Task NoteAsync(Actors.Configuration.Peer peer, string serial, CancellationToken cancel)
    {
        var now = time.GetTimestamp();
        lock (_noted)
        {
            if (_noted.TryGetValue((peer.Kind, peer.Name), out var before) && time.GetElapsedTime(before, now) < NoteRenewalsEvery) return;
            _noted[(peer.Kind, peer.Name)] = now;
        }
        try
        {
            await control.ConfigureAsync(new RecordAudit(peer.Name, "renew-certificate", serial, "accepted"), cancel);
        }
        catch
        {
            lock (_noted) _noted.Remove((peer.Kind, peer.Name));
            throw;
        }
    }

    private static string Signed(Func<string> sign)
    {
        try
        {
            return sign();
        }
        catch (Exception e) when (e is System.Security.Cryptography.CryptographicException or ArgumentException)
        {
            throw ProblemException.Invalid($"The certificate signing request is not usable: {e.Message}", "Send a PKCS#10 request in PEM.");
        }
    }

    private async Task<AgentHomeView> HomeOfAsync(Actors.Configuration.Peer agent, CancellationToken cancel)
    {
        var nodes = await control.GetNodesAsync(cancel);
        return new AgentHomeView(agent.Name, agent.Site.Value,
            [.. nodes.Of(NodeRoles.ProcessServer, agent.Site).Select(n => new ProcessServerView(n.Host, n.AgentPort))],
            [.. nodes.Of(NodeRoles.ConfigurationServer, null).Select(n => n.HttpUrl)]);
    }

    private async Task<(string Certificate, Actors.Configuration.Peer Peer)> RedeemAsync(string text, PeerKind kind, string csr, string name, string? address, SiteName? site, CancellationToken cancel)
    {
        var authority = AuthorityHere();
        CheckName(kind, name);
        var noun = kind == PeerKind.Node ? "node" : "agent";
        var token = JoinToken.Parse(text?.Trim()) ?? throw ProblemException.Invalid("This is no join token.", $"Print one with 'srctl {noun} join-token'.");
        var certificate = Signed(() => authority.Sign(csr, name, kind == PeerKind.Node ? PeerRole.Node : PeerRole.Agent, address is null ? [] : [address]));
        using var signed = X509Certificate2.CreateFromPem(certificate);
        // Nobody sees the certificate unless the token is used up for it.
        var accepted = await control.ConfigureAsync(new RedeemJoinToken(name, HashOf(token), kind, signed.SerialNumber, site), cancel);
        return (certificate, accepted.Peer!);
    }

    private async Task<string> OnlySiteAsync(CancellationToken cancel)
    {
        var sites = (await control.GetNodesAsync(cancel)).Of(NodeRoles.ProcessServer, null).Select(n => n.Site.Value).Distinct().ToArray();
        return sites is [var only] ? only : throw ProblemException.Invalid(
            sites.Length == 0 ? "No site has a process server yet." : $"Several sites have process servers: {string.Join(", ", sites)}.", "Name the agent's site: --site SITE, or {\"site\": \"...\"}.");
    }

    private static string HashOf(JoinToken token) => TokenStore.HashOf($"{token.Id}.{token.Secret}");

    private Authority AuthorityHere() => identity.Authority ?? throw new ProblemException(
        503, "noAuthority", "This node does not hold the cluster's authority.", $"Ask the first node: {identity.ConfigurationServer}.");
}
