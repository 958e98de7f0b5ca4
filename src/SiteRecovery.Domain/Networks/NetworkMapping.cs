using System.Collections.Immutable;
using System.Text.Json.Serialization;

namespace SiteRecovery.Domain.Networks;

/// <summary>
/// What the network cards of a vault's replica machines are plugged into, and which addresses their guests get: apart for test and for failover. A vault has one;
/// without it a failed-over machine's cards go where the master target's settings say, and keep their addresses. Texts are kept as they were given.
/// </summary>
public sealed partial record NetworkMapping(
    string Name, string Vault, ImmutableArray<NetworkPair> Networks, ImmutableArray<SubnetRule> Subnets, ImmutableArray<NicRule> Nics)
{
    /// <summary>The source that stands for every network not named.</summary>
    public const string AnyNetwork = "*";

    public const int NetworksMax = 256, SubnetsMax = 256, NicsMax = 2000;
}

/// <summary>Where cards go that are in <paramref name="Source"/> at the source site. Networks are named as in a machine's definition.</summary>
/// <param name="Failover">At the target site; null: nowhere.</param>
/// <param name="Test">At the target site, for a test; null: nowhere.</param>
/// <param name="Failback">At the source site, for a machine that comes home; null: the source network itself.</param>
/// <param name="FailbackTest">At the source site, for a test there; null: nowhere.</param>
public sealed record NetworkPair(string Source, string? Failover = null, string? Test = null, string? Failback = null, string? FailbackTest = null);

/// <summary>Addresses in <paramref name="Source"/> move to another subnet and keep their host part.</summary>
/// <param name="Test">Null: as for a failover.</param>
public sealed record SubnetRule(string Source, SubnetTarget Failover, SubnetTarget? Test = null);

/// <param name="Gateway">Null: the source's gateway, moved as well.</param>
[method: JsonConstructor]
public sealed record SubnetTarget(string Subnet, string? Gateway = null)
{
    public SubnetTarget(string subnet, string? gateway, ImmutableArray<string> dns) : this(subnet, gateway) => Dns = dns;

    /// <summary>Empty: the source's servers; those in a mapped subnet are moved as well.</summary>
    public ImmutableArray<string> Dns { get; init; } = [];
}

/// <summary>What one card of one machine has and gets; goes before the subnets' rules.</summary>
/// <param name="Nic">Its MAC in the machine's definition, or its place there, from 0.</param>
/// <param name="Failover">Null: by the subnets' rules.</param>
/// <param name="Test">Null: as for a failover.</param>
/// <param name="Source">What it has at the source site, and gets again when it comes home; null: what the definition says.</param>
/// <param name="Interface">The guest's name of the card, "ens3": needed by guests that configure by ifupdown, which know no MACs.</param>
public sealed record NicRule(string Machine, string Nic, CardConfiguration? Failover = null, CardConfiguration? Test = null, CardConfiguration? Source = null, string? Interface = null);

/// <summary>What a network card has, or is to have.</summary>
public sealed record CardConfiguration
{
    [JsonConstructor]
    public CardConfiguration() { }

    public CardConfiguration(ImmutableArray<string> addresses, ImmutableArray<string>? gateways = null, ImmutableArray<string>? dns = null, ImmutableArray<string>? search = null) =>
        (Addresses, Gateways, Dns, Search) = (addresses, gateways ?? [], dns ?? [], search ?? []);

    /// <summary>Each with the length of its prefix.</summary>
    public ImmutableArray<string> Addresses { get; init; } = [];
    /// <summary>One of each family at most.</summary>
    public ImmutableArray<string> Gateways { get; init; } = [];
    public ImmutableArray<string> Dns { get; init; } = [];
    /// <summary>Domains that short names are looked up in.</summary>
    public ImmutableArray<string> Search { get; init; } = [];

    /// <param name="where">The property that it is.</param>
    public IEnumerable<NetworkProblem> Problems(string where)
    {
        if (Addresses.IsEmpty) yield return new($"{where}.addresses", "The card has no address.", "Give at least one, for example 10.1.0.5/24.");
        foreach (var text in Addresses)
            if (CardAddress.Parse(text) is not { } card) yield return new($"{where}.addresses", $"'{text}' is no address of a card.", "Give it with the length of its prefix, for example 10.1.0.5/24 or fd00:1::5/64.");
            else if (!card.Subnet.CanBeHost(card.Address)) yield return new($"{where}.addresses", $"{text} is no host of {card.Subnet}.", "Give an address that is neither the subnet's first nor its broadcast address.");
        var subnets = Addresses.Select(CardAddress.Parse).OfType<CardAddress>().Select(c => c.Subnet).ToArray();
        foreach (var text in Gateways)
            if (NetworkMapping.OfGateway(text, subnets, $"{where}.gateways") is { } problem) yield return problem;
        if (Gateways.Select(Address.Parse).OfType<Address>().GroupBy(g => g.IsV6).Any(g => g.Count() > 1)) yield return new($"{where}.gateways", "There are two gateways of one family.", "Give one for IPv4 and one for IPv6 at most.");
        foreach (var server in Dns)
            if (Address.Parse(server) is null) yield return NetworkMapping.NoServer($"{where}.dns", server);
        foreach (var domain in Search)
            if (Uri.CheckHostName(domain) != UriHostNameType.Dns) yield return new($"{where}.search", $"'{domain}' is no domain.", "Give it as corp.example.");
    }
}
