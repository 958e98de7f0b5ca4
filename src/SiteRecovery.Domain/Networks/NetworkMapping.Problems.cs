using System.Globalization;
using System.Text.RegularExpressions;

namespace SiteRecovery.Domain.Networks;

/// <param name="Where">The property that is wrong: "subnets[1].failover.gateway".</param>
public sealed record NetworkProblem(string Where, string Reason, string Remedy);

public sealed partial record NetworkMapping
{
    private const string SubnetRemedy = "Give a subnet as 10.1.0.0/24 or fd00:1::/64.", NetworkRemedy = "Give network:NAME, bridge:NAME, direct:INTERFACE or user.";

    /// <summary>What is wrong with it; empty when it can be carried out for every machine. The first one is the most telling.</summary>
    public IEnumerable<NetworkProblem> Problems() =>
        [.. Limits(), .. Networks.SelectMany((n, i) => OfNetwork(n, i)), .. Subnets.SelectMany((s, i) => OfSubnet(s, i)), .. Nics.SelectMany((n, i) => OfNic(n, i)), .. Twice()];

    private IEnumerable<NetworkProblem> Limits()
    {
        if (Networks.Length > NetworksMax) yield return new("networks", $"There are {Networks.Length} networks.", $"Give at most {NetworksMax}.");
        if (Subnets.Length > SubnetsMax) yield return new("subnets", $"There are {Subnets.Length} subnets.", $"Give at most {SubnetsMax}.");
        if (Nics.Length > NicsMax) yield return new("nics", $"There are {Nics.Length} cards.", $"Give at most {NicsMax}; a subnet's rule holds for all cards in it.");
    }

    private IEnumerable<NetworkProblem> OfNetwork(NetworkPair pair, int index)
    {
        var where = $"networks[{index}]";
        if (pair.Source != AnyNetwork && !IsNetwork(pair.Source)) yield return new($"{where}.source", $"'{pair.Source}' names no network.", NetworkRemedy + " '*' stands for all others.");
        foreach (var (name, network) in new[] { ("failover", pair.Failover), ("test", pair.Test), ("failback", pair.Failback), ("failbackTest", pair.FailbackTest) })
            if (network is not null && !IsNetwork(network)) yield return new($"{where}.{name}", $"'{network}' names no network.", NetworkRemedy + " Leave it out for none.");
        // A user network is each machine's own.
        if (pair.Test is { } test and not "user" && Networks.Any(n => n.Failover == test))
            yield return new($"{where}.test", $"'{test}' is for failover already: machines of a test would meet those that were failed over, with the same addresses.", "Give a network that is for tests alone, or leave it out.");
    }

    private IEnumerable<NetworkProblem> OfSubnet(SubnetRule rule, int index)
    {
        var where = $"subnets[{index}]";
        if (Subnet.Parse(rule.Source) is not { } source)
        {
            yield return NoSubnet($"{where}.source", rule.Source);
            yield break;
        }
        foreach (var problem in OfTarget(source, rule.Failover, $"{where}.failover")) yield return problem;
        if (rule.Test is not null)
            foreach (var problem in OfTarget(source, rule.Test, $"{where}.test")) yield return problem;
        if (Nics.FirstOrDefault(n => (n.Source?.Addresses ?? []).Any(a => CardAddress.Parse(a) is { } card && source.Contains(card.Address) && card.Prefix < source.Prefix)) is { } wider)
            yield return new($"{where}.source", $"The card {wider.Nic} of '{wider.Machine}' has a wider prefix than {source}.", "Give the subnet as the cards have it.");
    }

    private static IEnumerable<NetworkProblem> OfTarget(Subnet source, SubnetTarget? target, string where)
    {
        if (Subnet.Parse(target?.Subnet) is not { } subnet)
        {
            yield return NoSubnet($"{where}.subnet", target?.Subnet);
            yield break;
        }
        if (subnet.First.IsV6 != source.First.IsV6)
            yield return new($"{where}.subnet", $"{source} is IPv{(source.First.IsV6 ? 6 : 4)} and {subnet} is not: no host part fits both.", "Give a subnet of the same family.");
        else if (subnet.HostLength < source.HostLength)
            yield return new($"{where}.subnet", $"{subnet} is smaller than {source}: not every host part fits.",
                string.Create(CultureInfo.InvariantCulture, $"Give a subnet with a prefix of {source.Prefix} or less, or map the part of {source} that is in use, or its cards one by one."));
        if (target!.Gateway is { } text && OfGateway(text, [subnet], $"{where}.gateway") is { } problem) yield return problem;
        foreach (var server in target.Dns)
            if (Address.Parse(server) is null) yield return NoServer($"{where}.dns", server);
    }

    private IEnumerable<NetworkProblem> OfNic(NicRule rule, int index)
    {
        var where = $"nics[{index}]";
        if (!History.MachineId.IsValid(rule.Machine)) yield return new($"{where}.machine", $"'{rule.Machine}' is no name of a machine.", "Give the name that it is protected under.");
        if (rule.Nic is null || (!Mac().IsMatch(rule.Nic) && !Place().IsMatch(rule.Nic)))
            yield return new($"{where}.nic", $"'{rule.Nic}' names no card.", "Give its MAC as in the machine's definition (52:54:00:ab:cd:ef), or its place there, from 0.");
        if (rule is { Failover: null, Test: null, Source: null, Interface: null }) yield return new(where, "It says nothing of the card.", "Give failover, test, source or interface.");
        if (rule.Interface is { } name && !InterfaceName().IsMatch(name)) yield return new($"{where}.interface", $"'{name}' is no name of an interface.", "Give at most 15 letters, digits, '-', '_' and '.', for example ens3.");
        foreach (var (part, card) in new[] { ("failover", rule.Failover), ("test", rule.Test), ("source", rule.Source) })
            if (card is not null)
                foreach (var problem in card.Problems($"{where}.{part}")) yield return problem;
    }

    private IEnumerable<NetworkProblem> Twice()
    {
        if (Networks.GroupBy(n => n.Source).FirstOrDefault(g => g.Count() > 1) is { } network)
            yield return new("networks", $"'{network.Key}' is mapped {network.Count()} times.", "Map every network once.");
        if (Nics.GroupBy(n => (n.Machine, n.Nic?.ToLowerInvariant())).FirstOrDefault(g => g.Count() > 1) is { } nic)
            yield return new("nics", $"The card {nic.Key.Item2} of '{nic.Key.Machine}' has {nic.Count()} rules.", "Give every card one.");
        if (Nics.Where(n => n.Interface is not null).GroupBy(n => (n.Machine, n.Interface)).FirstOrDefault(g => g.Count() > 1) is { } name)
            yield return new("nics", $"The interface {name.Key.Interface} of '{name.Key.Machine}' is given to {name.Count()} cards.", "Give every card the name that the guest has for it.");
        foreach (var problem in new[]
        {
            Overlap("source", Subnets.Select(s => s.Source)), Overlap("failover", Subnets.Select(s => s.Failover?.Subnet)), Overlap("test", Subnets.Select(s => (s.Test ?? s.Failover)?.Subnet)),
            Same("failover", Nics.Select(n => n.Failover)), Same("test", Nics.Select(n => n.Test ?? n.Failover)), Same("source", Nics.Select(n => n.Source)),
        })
            if (problem is not null) yield return problem;
    }

    private static NetworkProblem? Overlap(string part, IEnumerable<string?> subnets)
    {
        var parsed = subnets.Select(Subnet.Parse).OfType<Subnet>().ToArray();
        for (var i = 0; i < parsed.Length; i++)
            for (var j = 0; j < i; j++)
                if (parsed[i].Overlaps(parsed[j]))
                    return new($"subnets.{part}", $"{parsed[j]} and {parsed[i]} overlap: {(part == "source" ? "an address would have two rules" : "two hosts could get one address")}.", "Give subnets that have no address in common.");
        return null;
    }

    private static NetworkProblem? Same(string part, IEnumerable<CardConfiguration?> cards) =>
        cards.SelectMany(c => c?.Addresses ?? []).Select(a => CardAddress.Parse(a)?.Address).Where(a => a is not null).GroupBy(a => a).FirstOrDefault(g => g.Count() > 1) is { } twice
            ? new($"nics.{part}", $"{twice.Key} is given to {twice.Count()} cards.", "Give every card an address of its own.") : null;

    internal static NetworkProblem? OfGateway(string text, IReadOnlyCollection<Subnet> subnets, string where) => Address.Parse(text) is not { } gateway
        ? new(where, $"'{text}' is no address.", "Give the gateway's address, without a prefix.")
        : gateway.IsLinkLocal || subnets.Any(s => s.CanBeHost(gateway)) ? null
        : new(where, $"The gateway {text} is no host of {string.Join(" or ", subnets.DefaultIfEmpty())}.", "Give an address inside, neither its first nor its broadcast address; IPv6 gateways may be link-local (fe80::…).");

    internal static NetworkProblem NoServer(string where, string text) => new(where, $"'{text}' is no address of a DNS server.", "Give it without a prefix, for example 10.1.0.53.");

    private static NetworkProblem NoSubnet(string where, string? text) => CardAddress.Parse(text) is { } card
        ? new(where, $"'{text}' is a host's address.", $"The subnet that it is in is {card.Subnet}.")
        : new(where, $"'{text}' is no subnet.", SubnetRemedy);

    private static bool IsNetwork(string? text) => text is not null && NetworkName().IsMatch(text);

    [GeneratedRegex(@"^(user|(network|bridge|direct):[^\s,]{1,64})$")]
    private static partial Regex NetworkName();

    [GeneratedRegex("^([0-9a-fA-F]{2}:){5}[0-9a-fA-F]{2}$")]
    private static partial Regex Mac();

    [GeneratedRegex("^[0-9]{1,2}$")]
    private static partial Regex Place();

    [GeneratedRegex("^[A-Za-z0-9._-]{1,15}$")]
    private static partial Regex InterfaceName();
}
