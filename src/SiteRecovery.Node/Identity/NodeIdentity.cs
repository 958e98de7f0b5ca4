using System.Net.Http.Json;
using System.Security.Cryptography;
using System.Text.Json;
using SiteRecovery.Actors.Sites;
using SiteRecovery.DataPlane.Storage;
using SiteRecovery.DataPlane.Transport;
using SiteRecovery.Node.Hosting;
using SiteRecovery.Node.Settings;

namespace SiteRecovery.Node.Identity;

public sealed record NodeJoinRequest(string Token, string Csr, string Name, string Site, IReadOnlyList<string> Roles, string Address, int ClusterPort);

/// <param name="SeedNodes">Akka addresses.</param>
public sealed record NodeJoined(string Certificate, string Authority, IReadOnlyList<string> SeedNodes, string ConfigurationServer)
{
    /// <exception cref="JsonException">It is no answer to a node that joins.</exception>
    public static NodeJoined Read(ReadOnlySpan<byte> json) => JsonSerializer.Deserialize<NodeJoined>(json, JsonSerializerOptions.Web)
        is { Certificate: not null, Authority: not null, SeedNodes: { } seeds, ConfigurationServer: not null } joined && seeds.All(SeedKeeper.IsAddress)
        ? joined : throw new JsonException("something is missing of what a node is told that joins, or its seed nodes are no addresses");
}

/// <summary>Who this node is in its cluster: by its own authority (first node), or by one that it joined.</summary>
/// <param name="Authority">Only where the node holds the authority.</param>
/// <param name="SeedNodes">Empty for the first node, which is its own seed.</param>
public sealed record NodeIdentity(PeerIdentity Peer, Authority? Authority, IReadOnlyList<string> SeedNodes, string? ConfigurationServer)
{
    private const int AnswerBytesMax = 1 << 20;

    private sealed record Membership(IReadOnlyList<string> SeedNodes, string ConfigurationServer);

    /// <summary>A cluster begins with its configuration server: without one it would admit nobody and protect nothing, and whoever started the node meant to join another.</summary>
    /// <exception cref="SettingsException">The node would begin one without; nothing has been written.</exception>
    public static void CheckBeginning(NodeSettings settings, bool joins)
    {
        string In(params ReadOnlySpan<string> names) => Path.Combine([settings.DataFolder, .. names]);
        if (joins || settings.Is(NodeRoles.ConfigurationServer) || RealFileSystem.Instance.Exists(In("cluster.json")) || RealFileSystem.Instance.Exists(In("pki", "ca.key"))) return;
        throw new SettingsException($"{settings.DataFolder} is of no cluster yet: give --join URL and --token-file FILE to join one, or the role {NodeRoles.ConfigurationServer} to begin one.");
    }

    public static NodeIdentity First(DataFolder folder, NodeSettings settings, TimeProvider time)
    {
        var pki = folder.In("pki");
        // A second authority would be nobody's: no other node or agent trusts it.
        if (!Authority.ExistsIn(pki) && folder.Files.Exists(folder.In("endpoints.json")))
            throw new SettingsException($"This node has served before, and its authority (ca.key and ca.crt in {pki}) is gone: restore pki from a backup. If another node holds the cluster's authority, join it anew with --join and --token-file.");
        var authority = Authority.LoadOrCreate(pki, "siterecovery", time);
        var peer = PeerIdentity.ExistsIn(pki) ? PeerIdentity.Load(pki) : authority.IssueInto(pki, settings.Name, PeerRole.Node, settings.Address, settings.Advertised.Address);
        return new NodeIdentity(peer, authority, [], null);
    }

    /// <summary>The identity of an earlier join; null if there was none.</summary>
    /// <exception cref="SettingsException">What is kept of it is damaged.</exception>
    public static NodeIdentity? Joined(DataFolder folder)
    {
        if (!PeerIdentity.ExistsIn(folder.In("pki")) || folder.Files.TryReadAll(folder.In("cluster.json")) is not { } bytes) return null;
        try
        {
            return JsonSerializer.Deserialize<Membership>(bytes, JsonSerializerOptions.Web) is { SeedNodes: { } seeds, ConfigurationServer: { } server } && seeds.All(SeedKeeper.IsAddress)
                ? new NodeIdentity(PeerIdentity.Load(folder.In("pki")), null, seeds, server) : throw new JsonException("cluster.json does not say of which cluster the node is");
        }
        catch (Exception damaged) when (damaged is JsonException or CryptographicException or ArgumentException or InvalidDataException)
        {
            throw new SettingsException($"What {folder.Path} says of the cluster is damaged ({damaged.Message}). Restore cluster.json and pki from a backup, or delete them and join again with --join and --token-file.");
        }
    }

    /// <summary>Trades a one-time token for a certificate. Only a server of the authority that the token names is talked to.</summary>
    public static async Task<NodeIdentity> JoinAsync(
        DataFolder folder, NodeSettings settings, NodePorts ports, string url, string tokenText, CancellationToken cancel)
    {
        var token = JoinToken.Parse(tokenText.Trim())
            ?? throw new SettingsException("The token file holds no join token. Print one with 'srctl node join-token' on a node of the cluster.");
        if (!PeerTrust.IsHttps(url)) throw new SettingsException($"'{url}' would send the join token in the clear, to whoever answers. Use https:// with --join.");
        var join = JoinRequest.Create(settings.Name);
        using var http = new HttpClient(PeerTrust.JoinHandler(token.Fingerprint)) { Timeout = TimeSpan.FromSeconds(30), MaxResponseContentBufferSize = AnswerBytesMax };
        var request = new NodeJoinRequest(token.ToString(), join.RequestPem, settings.Name, settings.Site, settings.Roles, settings.Advertised.Address, ports.Cluster);
        NodeJoined joined;
        try
        {
            using var answer = await http.PostAsJsonAsync($"{url.TrimEnd('/')}/api/v1/nodes/join", request, JsonSerializerOptions.Web, cancel);
            if (!answer.IsSuccessStatusCode)
                throw new SettingsException($"{url} refused the join ({(int)answer.StatusCode}): {JoinRefusal.TextOf(await answer.Content.ReadAsStringAsync(cancel))}");
            joined = NodeJoined.Read(await answer.Content.ReadAsByteArrayAsync(cancel));
        }
        catch (JsonException other)
        {
            throw new SettingsException($"{url} answered the join by something else ({other.Message}). Check that it is the URL of a node.");
        }
        catch (HttpRequestException e)
        {
            throw new SettingsException($"{url} cannot be joined: {e.InnerException?.Message ?? e.Message}");
        }
        try
        {
            PeerTrust.CheckJoined(joined.Certificate, joined.Authority, settings.Name, token.Fingerprint);
            folder.Files.Replace(folder.In("cluster.json"), JsonSerializer.SerializeToUtf8Bytes(
                new Membership(joined.SeedNodes, joined.ConfigurationServer), JsonSerializerOptions.Web));
            return new NodeIdentity(PeerIdentity.Save(folder.In("pki"), joined.Certificate, join.KeyPem, joined.Authority), null, joined.SeedNodes, joined.ConfigurationServer);
        }
        catch (Exception unusable) when (unusable is CryptographicException or ArgumentException or InvalidDataException)
        {
            throw new SettingsException($"{url} gave a certificate that cannot be used: {unusable.Message}");
        }
    }
}
