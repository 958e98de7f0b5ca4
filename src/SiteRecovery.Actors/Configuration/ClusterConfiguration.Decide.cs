using System.Collections.Immutable;
using System.Diagnostics;
using SiteRecovery.Domain.History;
using SiteRecovery.Domain.Networks;
using SiteRecovery.Domain.Results;
using SiteRecovery.Domain.Vaults;

namespace SiteRecovery.Actors.Configuration;

/// <param name="Event">Null when refused.</param>
public sealed record ConfigurationDecision(ConfigurationEvent? Event, ConfigurationReply Reply);

public sealed partial record ClusterConfiguration
{
    public ConfigurationDecision Decide(ConfigurationCommand command, DateTimeOffset now) => command switch
    {
        SaveVault c when c.Vault.Problems().FirstOrDefault() is { } problem => Refuse("invalid", problem, "Correct the vault."),
        SaveVault c when Vaults.TryGetValue(c.Vault.Name, out var before) && (before.SourceSite, before.TargetSite) != (c.Vault.SourceSite, c.Vault.TargetSite) && Machines.ContainsValue(c.Vault.Name) =>
            Refuse("inUse", $"Vault '{c.Vault.Name}' has machines, which are protected from '{before.SourceSite}' to '{before.TargetSite}': {MachinesOf(c.Vault.Name)}.", "Make another vault for the other sites."),
        SaveVault c => Accept(new VaultSaved(now, c.By, c.Vault)),
        RemoveVault c when !Vaults.ContainsKey(c.Name) => Unknown("vault", c.Name),
        RemoveVault c when Machines.ContainsValue(c.Name) => Refuse("inUse", $"Vault '{c.Name}' has machines: {MachinesOf(c.Name)}.", "Disable their protection first, and wait until their stores are removed and their agents have confirmed it."),
        RemoveVault c when MappingOf(c.Name) is { } mapping => Refuse("inUse", $"Vault '{c.Name}' has the network mapping '{mapping.Name}'.", "Remove that first."),
        RemoveVault c => Accept(new VaultRemoved(now, c.By, c.Name)),
        SavePolicy { Name: "" } => Refuse("invalid", "A policy needs a name.", "Name it."),
        SavePolicy c when c.Policy.Problems().FirstOrDefault() is { } p => Refuse("invalid", $"{p.Setting}: {p.Problem}", p.Remedy),
        SavePolicy c => Accept(new PolicySaved(now, c.By, c.Name, c.Policy)),
        RemovePolicy c when !Policies.ContainsKey(c.Name) => Unknown("policy", c.Name),
        RemovePolicy { Name: DefaultPolicy } => Refuse("inUse", "The default policy stays.", "Change it instead."),
        RemovePolicy c when Clouds.Values.Any(x => x.Policy == c.Name) => Refuse("inUse", $"Policy '{c.Name}' is used by a cloud.", "Give the cloud another policy first."),
        RemovePolicy c => Accept(new PolicyRemoved(now, c.By, c.Name)),
        SaveCloud c when !Policies.ContainsKey(c.Cloud.Policy) => Unknown("policy", c.Cloud.Policy),
        SaveCloud c => Accept(new CloudSaved(now, c.By, c.Cloud)),
        RemoveCloud c when !Clouds.ContainsKey(c.Name) => Unknown("cloud", c.Name),
        RemoveCloud c => Accept(new CloudRemoved(now, c.By, c.Name)),
        SaveNetworkMapping c => Save(c, now),
        RemoveNetworkMapping c when !NetworkMappings.ContainsKey(c.Name) => Unknown("network mapping", c.Name),
        // Without it their next replicas would go where the master target's settings say: nobody should come to that by a deletion.
        RemoveNetworkMapping c when Machines.ContainsValue(NetworkMappings[c.Name].Vault) => Refuse("inUse", $"Vault '{NetworkMappings[c.Name].Vault}' has machines, and this mapping is for them.",
            "Put a mapping without networks in its place, so that their replicas join none; or disable their protection first."),
        RemoveNetworkMapping c => Accept(new NetworkMappingRemoved(now, c.By, c.Name)),
        ListMachine c when !Vaults.ContainsKey(c.Vault) => Unknown("vault", c.Vault),
        ListMachine c when Machines.TryGetValue(c.Machine.Value, out var vault) && vault != c.Vault =>
            Refuse("inUse", $"'{c.Machine}' is in vault '{vault}'.", "Choose another name, or unlist it there first."),
        ListMachine c => Accept(new MachineListed(now, c.By, c.Machine, c.Vault)),
        UnlistMachine c when !Machines.ContainsKey(c.Machine.Value) => Unknown("machine", c.Machine.Value),
        UnlistMachine c => Accept(new MachineUnlisted(now, c.By, c.Machine)),
        SeedToken c when TokensSeeded && Tokens.GetValueOrDefault(c.Token.Name) != c.Token => Refuse("inUse", "The cluster has tokens already.", "Use an administrator's token to add one."),
        SeedToken when TokensSeeded => new(null, new ConfigurationAccepted()),
        SeedToken c => Accept(new TokenAdded(now, c.By, c.Token)),
        AddToken c when Tokens.ContainsKey(c.Token.Name) => Refuse("inUse", $"There is a token '{c.Token.Name}'.", "Revoke it first, or choose another name."),
        AddToken c => Accept(new TokenAdded(now, c.By, c.Token)),
        RevokeToken c when !Tokens.ContainsKey(c.Name) => Unknown("token", c.Name),
        RevokeToken c when Tokens[c.Name].Role == TokenRole.Administrator && Tokens.Values.Count(t => t.Role == TokenRole.Administrator) == 1 =>
            Refuse("inUse", $"'{c.Name}' is the last administrator's token: without it nobody could ever make another one.", "Make a token with the role administrator first, and keep it; then revoke this one."),
        RevokeToken c => Accept(new TokenRevoked(now, c.By, c.Name)),
        AddJoinToken c when c.Token.ExpiresAt <= now => Refuse("invalid", "The join token would have expired already.", "Choose a later time."),
        AddJoinToken c => Accept(new JoinTokenAdded(now, c.By, c.Token)),
        RedeemJoinToken c => Redeem(c, now),
        NoteNodes c when c.Nodes.Where(n => Nodes.GetValueOrDefault(n.Name) != n).ToImmutableArray() is { IsEmpty: false } news => Accept(new NodesNoted(now, c.By, news)),
        NoteNodes => new(null, new ConfigurationAccepted()),
        ForgetNode c when !Nodes.ContainsKey(c.Name) => Unknown("node", c.Name),
        ForgetNode c => Accept(new NodeForgotten(now, c.By, c.Name)),
        RecordAudit c => Accept(new Audited(now, c.By, c.Action, c.Subject, c.Outcome)),
        _ => throw new UnreachableException($"{nameof(Decide)} has no case for {command.GetType().Name}"),
    };

    /// <summary>Orders to serve a replica get the networks it is to have. A machine that is in no vault, or in one without a mapping, gets none.</summary>
    public Work Plan(Work work) => work switch
    {
        ServeReplica w => w with { Networks = PlanOf(w.Machine, w.TargetSite, test: false) },
        ServeTest w => w with { Networks = PlanOf(w.Machine, w.TargetSite, test: true) },
        _ => work,
    };

    private string? PlanOf(MachineId machine, SiteName at, bool test) =>
        Machines.TryGetValue(machine.Value, out var vault) && MappingOf(vault) is { } mapping && Vaults.GetValueOrDefault(vault) is { } pair
            ? NetworkPlan.Of(mapping, machine, home: at == pair.SourceSite, test).ToJson() : null;

    /// <summary>Some of them.</summary>
    private string MachinesOf(string vault)
    {
        var all = Machines.Where(m => m.Value == vault).Select(m => m.Key).ToArray();
        return string.Join(", ", all.Take(5)) + (all.Length > 5 ? $" and {all.Length - 5} more" : "");
    }

    private NetworkMapping? MappingOf(string vault) => NetworkMappings.Values.FirstOrDefault(m => m.Vault == vault);

    private ConfigurationDecision Save(SaveNetworkMapping c, DateTimeOffset now)
    {
        var mapping = c.Mapping;
        if (!Vaults.ContainsKey(mapping.Vault)) return Unknown("vault", mapping.Vault);
        if (MappingOf(mapping.Vault) is { } other && other.Name != mapping.Name) return Refuse("inUse", $"Vault '{mapping.Vault}' has the network mapping '{other.Name}' already.", "Change that one: a vault has one.");
        if (NetworkMappings.TryGetValue(mapping.Name, out var before) && before.Vault != mapping.Vault && Machines.ContainsValue(before.Vault))
            return Refuse("inUse", $"Vault '{before.Vault}' has machines, and this mapping is for them.", "Give the other vault a mapping of its own.");
        if (mapping.Problems().FirstOrDefault() is { } problem) return Refuse("invalid", $"{problem.Where}: {problem.Reason}", problem.Remedy);
        if (mapping.Nics.FirstOrDefault(n => Machines.TryGetValue(n.Machine, out var vault) && vault != mapping.Vault) is { } foreign)
            return Refuse("invalid", $"nics: the machine '{foreign.Machine}' is in vault '{Machines[foreign.Machine]}'.", "Give its cards rules in the mapping of that vault.");
        return Accept(new NetworkMappingSaved(now, c.By, mapping));
    }

    public TokenChecked Check(string hash) => new(Tokens.Values.FirstOrDefault(t => t.Hash == hash));

    private ConfigurationDecision Redeem(RedeemJoinToken c, DateTimeOffset now)
    {
        // One answer for unknown, used and expired: whoever guesses learns nothing.
        if (!JoinTokens.TryGetValue(c.Hash, out var token) || token.Kind != c.Kind || token.ExpiresAt <= now)
        {
            // A first answer that got lost has used the token up all the same, and registered the name: this command makes one that is good in any case.
            return Refuse("joinTokenInvalid", "The join token is unknown, used or expired.", $"Make a new one with '{CommandFor(c)}'; each admits one peer.");
        }
        // None of these uses the token up.
        if (token.Name is { } meant && meant != c.By)
            return Refuse("joinTokenForAnother", $"The join token admits '{meant}' alone, not '{c.By}'.", $"Join as '{meant}', or make another token with '{CommandFor(c)}'.");
        if (token.Name is null && Peers.TryGetValue(KeyOf(c.Kind, c.By), out var known))
        {
            return Refuse("nameTaken", $"The {NounOf(c.Kind)} '{c.By}' is known since {known.Since:yyyy-MM-dd HH:mm} UTC, and this join token does not name it: it admits new names only.",
                $"If it is the same one that joins anew, make a token with '{CommandFor(c)}'; if it is another one, give it another name ({(c.Kind == PeerKind.Node ? "siterecovery.node.name" : "--name")}).");
        }
        if (c.Site is { } site && token.Site.Value.Length > 0 && token.Site != site)
            return Refuse("invalid", $"The join token is for a node of site '{token.Site}', not '{site}'.", "Start the node with that --site, or make another token.");
        var peer = new Peer(c.Kind, c.By, token.Site, c.CertificateSerial, now);
        return new(new PeerRegistered(now, c.By, c.Hash, peer), new ConfigurationAccepted(peer));
    }

    private static string CommandFor(RedeemJoinToken c) => $"srctl {NounOf(c.Kind)} join-token --name {c.By}";
    private static string NounOf(PeerKind kind) => kind == PeerKind.Node ? "node" : "agent";

    private static ConfigurationDecision Accept(ConfigurationEvent happened) => new(happened, new ConfigurationAccepted());
    private static ConfigurationDecision Refuse(string code, string reason, string remedy) => new(null, new ConfigurationRefused(code, reason, remedy));
    private static ConfigurationDecision Unknown(string kind, string name) => Refuse("notFound", $"There is no {kind} '{name}'.", "Check the name.");
}
