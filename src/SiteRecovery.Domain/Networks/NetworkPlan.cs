using System.Collections.Immutable;
using System.Globalization;
using System.Text.Json;
using System.Text.Json.Serialization;
using SiteRecovery.Domain.History;

namespace SiteRecovery.Domain.Networks;

/// <param name="To">Null: nowhere.</param>
public sealed record PlannedNetwork(string From, string? To);

public sealed record PlannedSubnet(string From, SubnetTarget To);

/// <param name="From">Null: what the definition says.</param>
/// <param name="To">Null: by the subnets.</param>
public sealed record PlannedNic(string Nic, CardConfiguration? From, CardConfiguration? To, string? Interface);

/// <summary>What of a mapping matters to one replica of one machine. Travels with the order to run it, so that its host asks nobody.</summary>
/// <param name="Home">The replica runs at the site that the machine comes from: its cards get their own addresses again.</param>
/// <param name="Test">Networks that are not named are none; at home a failover leaves cards in theirs.</param>
public sealed record NetworkPlan(ImmutableArray<PlannedNetwork> Networks, ImmutableArray<PlannedSubnet> Subnets, ImmutableArray<PlannedNic> Nics, bool Home, bool Test)
{
    public static NetworkPlan Of(NetworkMapping mapping, MachineId machine, bool home, bool test) => new(
        [.. mapping.Networks.Where(n => !home || test || n.Source != NetworkMapping.AnyNetwork || n.Failback is not null).Select(n => new PlannedNetwork(n.Source, (home, test) switch
        {
            (false, false) => n.Failover,
            (false, true) => n.Test,
            (true, false) => n.Failback ?? n.Source,
            (true, true) => n.FailbackTest,
        }))],
        [.. mapping.Subnets.Select(s => new PlannedSubnet(s.Source, test ? s.Test ?? s.Failover : s.Failover))],
        [.. mapping.Nics.Where(n => n.Machine == machine.Value).Select(n => new PlannedNic(n.Nic.ToLowerInvariant(), n.Source, test ? n.Test ?? n.Failover : n.Failover, n.Interface))],
        home, test);

    /// <summary>Where a card goes that was in a network of the source site; null: nowhere.</summary>
    public string? NetworkOf(string source) =>
        (Networks.FirstOrDefault(n => n.From == source) ?? Networks.FirstOrDefault(n => n.From == NetworkMapping.AnyNetwork)) is { } planned ? planned.To : Home && !Test ? source : null;

    /// <summary>What the card is to have.</summary>
    /// <param name="place">In the machine's definition, from 0.</param>
    /// <param name="own">What the definition says; no address where it says none.</param>
    /// <returns>Null: nothing is known of its addresses.</returns>
    public PlannedCard? CardOf(int place, string mac, CardConfiguration own)
    {
        var rule = Nics.FirstOrDefault(n => n.Nic == mac.ToLowerInvariant()) ?? Nics.FirstOrDefault(n => n.Nic == place.ToString(CultureInfo.InvariantCulture));
        var source = rule?.From ?? own;
        var moved = source.Addresses.Any(a => SubnetOf(CardAddress.Parse(a)?.Address) is not null);
        var ruled = rule?.To is not null || moved;
        var card = Home ? source : rule?.To ?? (moved ? Moved(source) : source);
        return card.Addresses.IsEmpty && !ruled ? null : new PlannedCard(card, rule?.Interface, ruled);
    }

    public string ToJson() => JsonSerializer.Serialize(this, NetworkPlanJson.Default.NetworkPlan);

    /// <exception cref="JsonException">It is no plan.</exception>
    public static NetworkPlan FromJson(string json) => JsonSerializer.Deserialize(json, NetworkPlanJson.Default.NetworkPlan) is { } plan && plan.IsWhole()
        ? plan : throw new JsonException("the network plan lacks something, or names what is no address or no subnet");

    private bool IsWhole() => !Networks.IsDefault && !Subnets.IsDefault && !Nics.IsDefault && Networks.All(n => n?.From is not null) && Nics.All(n => n?.Nic is not null && IsWhole(n.From) && IsWhole(n.To))
        && Subnets.All(s => Subnet.Parse(s?.From) is not null && Subnet.Parse(s!.To?.Subnet) is not null && !s.To!.Dns.IsDefault);

    private static bool IsWhole(CardConfiguration? card) => card is null || !card.Addresses.IsDefault && !card.Search.IsDefault && AreAddresses(card.Gateways) && AreAddresses(card.Dns);

    private static bool AreAddresses(ImmutableArray<string> texts) => !texts.IsDefault && texts.All(t => Address.Parse(t) is not null);

    private CardConfiguration Moved(CardConfiguration source)
    {
        var rules = source.Addresses.Select(a => SubnetOf(CardAddress.Parse(a)?.Address)).OfType<PlannedSubnet>().Distinct().ToArray();
        string[] given = [.. rules.Select(r => r.To.Gateway).OfType<string>()];
        // Gateways that a rule does not give move with their hosts.
        var moved = source.Gateways.Where(g => !rules.Any(r => r.To.Gateway is not null && Address.Parse(r.To.Gateway)?.IsV6 == Address.Parse(g)?.IsV6)).Select(g => MovedHost(g).Address.ToString());
        string[] servers = [.. rules.SelectMany(r => r.To.Dns).Distinct()];
        return source with
        {
            Addresses = [.. source.Addresses.Select(MovedCard)],
            Gateways = [.. given.Concat(moved).DistinctBy(g => Address.Parse(g)?.IsV6)],
            Dns = servers.Length > 0 ? [.. servers] : [.. source.Dns.Select(d => MovedHost(d).Address.ToString())],
        };
    }

    private string MovedCard(string text) => CardAddress.Parse(text) is { } card && SubnetOf(card.Address) is not null ? MovedHost(card.Address.ToString()).ToString() : text;

    /// <summary>Itself where no rule is for it.</summary>
    private CardAddress MovedHost(string text)
    {
        var address = Address.Parse(text) ?? throw new FormatException($"'{text}' is no address");
        return SubnetOf(address) is { } rule && Subnet.Parse(rule.From)!.Value.Move(address, Subnet.Parse(rule.To.Subnet)!.Value) is { } moved ? moved : new CardAddress(address, address.Length);
    }

    private PlannedSubnet? SubnetOf(Address? address) => address is { } known ? Subnets.FirstOrDefault(s => Subnet.Parse(s.From)?.Contains(known) == true) : null;
}

/// <param name="IsRuled">A rule of the mapping is for it, so that at either site the guest must be told its addresses.</param>
public sealed record PlannedCard(CardConfiguration Card, string? Interface, bool IsRuled);

[JsonSourceGenerationOptions(JsonSerializerDefaults.Web, DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull)]
[JsonSerializable(typeof(NetworkPlan))]
internal sealed partial class NetworkPlanJson : JsonSerializerContext;
