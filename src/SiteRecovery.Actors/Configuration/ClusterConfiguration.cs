using System.Collections.Immutable;
using System.Diagnostics;
using SiteRecovery.Domain.History;
using SiteRecovery.Domain.Networks;
using SiteRecovery.Domain.Policies;
using SiteRecovery.Domain.Vaults;

namespace SiteRecovery.Actors.Configuration;

/// <summary>What the configuration servers know beside the machines' states. Only events change it.</summary>
public sealed partial record ClusterConfiguration
{
    public const string DefaultPolicy = "default";

    public static ClusterConfiguration Empty { get; } = new();

    public ImmutableSortedDictionary<string, Vault> Vaults { get; init; } = ByName<Vault>();
    public ImmutableSortedDictionary<string, ReplicationPolicy> Policies { get; init; } = ByName<ReplicationPolicy>().Add(DefaultPolicy, ReplicationPolicy.Default);
    public ImmutableSortedDictionary<string, Cloud> Clouds { get; init; } = ByName<Cloud>();
    public ImmutableSortedDictionary<string, NetworkMapping> NetworkMappings { get; init; } = ByName<NetworkMapping>();
    public ImmutableSortedDictionary<string, KnownNode> Nodes { get; init; } = ByName<KnownNode>();
    public ImmutableSortedDictionary<string, string> Machines { get; init; } = ByName<string>();
    public ImmutableSortedDictionary<string, AccessToken> Tokens { get; init; } = ByName<AccessToken>();
    /// <summary>A token was added once, even if none is left.</summary>
    public bool TokensSeeded { get; init; }
    public ImmutableSortedDictionary<string, JoinToken> JoinTokens { get; init; } = ByName<JoinToken>();
    public ImmutableSortedDictionary<string, Peer> Peers { get; init; } = ByName<Peer>();
    public AuditTrail Audit { get; init; } = AuditTrail.Empty;

    public ClusterConfiguration Apply(ConfigurationEvent happened) => happened switch
    {
        VaultSaved e => Noted(e, "save-vault", e.Vault.Name) with { Vaults = Vaults.SetItem(e.Vault.Name, e.Vault) },
        VaultRemoved e => Noted(e, "remove-vault", e.Name) with { Vaults = Vaults.Remove(e.Name) },
        PolicySaved e => Noted(e, "save-policy", e.Name) with { Policies = Policies.SetItem(e.Name, e.Policy) },
        PolicyRemoved e => Noted(e, "remove-policy", e.Name) with { Policies = Policies.Remove(e.Name) },
        CloudSaved e => Noted(e, "save-cloud", e.Cloud.Name) with { Clouds = Clouds.SetItem(e.Cloud.Name, e.Cloud) },
        CloudRemoved e => Noted(e, "remove-cloud", e.Name) with { Clouds = Clouds.Remove(e.Name) },
        NetworkMappingSaved e => Noted(e, "save-network-mapping", e.Mapping.Name) with { NetworkMappings = NetworkMappings.SetItem(e.Mapping.Name, e.Mapping) },
        NetworkMappingRemoved e => Noted(e, "remove-network-mapping", e.Name) with { NetworkMappings = NetworkMappings.Remove(e.Name) },
        MachineListed e => Noted(e, "list-machine", e.Machine.Value) with { Machines = Machines.SetItem(e.Machine.Value, e.Vault) },
        MachineUnlisted e => Noted(e, "unlist-machine", e.Machine.Value) with { Machines = Machines.Remove(e.Machine.Value) },
        TokenAdded e => Noted(e, "add-token", e.Token.Name) with { Tokens = Tokens.SetItem(e.Token.Name, e.Token), TokensSeeded = true },
        TokenRevoked e => Noted(e, "revoke-token", e.Name) with { Tokens = Tokens.Remove(e.Name) },
        JoinTokenAdded e => Noted(e, "add-join-token", e.Token.Name is { } name ? $"{e.Token.Site} {name}".TrimStart() : e.Token.Site.Value) with
        {
            // Expired ones go with the next that comes, so that they cannot pile up.
            JoinTokens = JoinTokens.RemoveRange(JoinTokens.Where(t => t.Value.ExpiresAt <= e.At).Select(t => t.Key)).SetItem(e.Token.Hash, e.Token),
        },
        PeerRegistered e => Noted(e, "register-peer", e.Peer.Name) with
        {
            JoinTokens = JoinTokens.Remove(e.TokenHash),
            Peers = Peers.SetItem(KeyOf(e.Peer.Kind, e.Peer.Name), e.Peer),
        },
        // Nobody's doing: a node that is started again is no entry of the audit.
        NodesNoted e => this with { Nodes = Nodes.SetItems(e.Nodes.Select(n => KeyValuePair.Create(n.Name, n))) },
        NodeForgotten e => Noted(e, "forget-node", e.Name) with { Nodes = Nodes.Remove(e.Name) },
        Audited e => Noted(e, e.Action, e.Subject, e.Outcome),
        _ => throw new UnreachableException($"{nameof(Apply)} has no case for {happened.GetType().Name}"),
    };

    public ConfigurationView View() => new(
        [.. Vaults.Values], [.. Policies.Select(p => new NamedPolicy(p.Key, p.Value))], [.. Clouds.Values],
        [.. Machines.Select(m => new ListedMachine(new MachineId(m.Key), m.Value))], [.. Peers.Values],
        [.. Tokens.Values.Select(t => new NamedToken(t.Name, t.Role))], [.. NetworkMappings.Values]);

    private ClusterConfiguration Noted(ConfigurationEvent e, string action, string subject, string outcome = "accepted") =>
        this with { Audit = Audit.Add(new AuditEntry(e.At, e.By, action, subject, outcome)) };

    private static string KeyOf(PeerKind kind, string name) => $"{kind}:{name}";
    private static ImmutableSortedDictionary<string, T> ByName<T>() => ImmutableSortedDictionary.Create<string, T>(StringComparer.Ordinal);
}
