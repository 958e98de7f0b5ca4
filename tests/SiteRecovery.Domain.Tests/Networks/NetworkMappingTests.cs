using SiteRecovery.Domain.History;
using SiteRecovery.Domain.Networks;

namespace SiteRecovery.Domain.Tests.Networks;

public sealed class NetworkMappingTests
{
    private const string Mac = "52:54:00:01:02:03";
    private static readonly MachineId Db1 = new("db1");

    private static readonly NetworkMapping Good = new("main", "v1",
        [new NetworkPair("bridge:lan", "bridge:dr", "bridge:bubble"), new NetworkPair("*", "user", Failback: "bridge:home", FailbackTest: "bridge:home-bubble")],
        [
            new SubnetRule("10.0.0.0/24", new SubnetTarget("10.9.0.0/24", "10.9.0.1", ["10.9.0.53"]), new SubnetTarget("10.99.0.0/24")),
            new SubnetRule("fd00:1::/64", new SubnetTarget("fd00:9::/64")),
        ],
        [new NicRule("db1", "1", new CardConfiguration(["192.168.7.5/24"], ["192.168.7.1"]), Source: new CardConfiguration(["192.168.1.5/24"]), Interface: "ens4")]);

    private static readonly CardConfiguration Own = new(["10.0.0.5/24", "fd00:1::5/64"], ["10.0.0.254", "fd00:1::1"], ["10.0.0.53", "1.1.1.1"], ["corp.example"]);

    [Fact]
    public void A_good_mapping_has_no_problem() => Assert.Empty(Good.Problems());

    public static TheoryData<string, string, NetworkMapping> Bad => new()
    {
        { "networks[2].source", "names no network", Good with { Networks = [.. Good.Networks, new NetworkPair("lan")] } },
        { "networks[2].failover", "names no network", Good with { Networks = [.. Good.Networks, new NetworkPair("bridge:a", "*")] } },
        { "networks[2].test", "for failover already", Good with { Networks = [.. Good.Networks, new NetworkPair("bridge:a", null, "bridge:dr")] } },
        { "networks", "mapped 2 times", Good with { Networks = [.. Good.Networks, new NetworkPair("*")] } },
        { "subnets[2].source", "is no subnet", Good with { Subnets = [.. Good.Subnets, new SubnetRule("10.0.5/24", new SubnetTarget("10.5.0.0/24"))] } },
        { "subnets[2].failover.subnet", "is a host's address", Good with { Subnets = [.. Good.Subnets, new SubnetRule("10.1.0.0/24", new SubnetTarget("10.5.0.1/24"))] } },
        { "subnets[2].failover.subnet", "is smaller", Good with { Subnets = [.. Good.Subnets, new SubnetRule("10.1.0.0/24", new SubnetTarget("10.5.0.0/25"))] } },
        { "subnets[2].failover.subnet", "no host part fits both", Good with { Subnets = [.. Good.Subnets, new SubnetRule("10.1.0.0/24", new SubnetTarget("fd00:5::/64"))] } },
        { "subnets[2].failover.gateway", "is no host of 10.5.0.0/24", Good with { Subnets = [.. Good.Subnets, new SubnetRule("10.1.0.0/24", new SubnetTarget("10.5.0.0/24", "10.6.0.1"))] } },
        { "subnets[2].failover.gateway", "is no host of 10.5.0.0/24", Good with { Subnets = [.. Good.Subnets, new SubnetRule("10.1.0.0/24", new SubnetTarget("10.5.0.0/24", "10.5.0.255"))] } },
        { "subnets[2].test.dns", "no address of a DNS server", Good with { Subnets = [.. Good.Subnets, new SubnetRule("10.1.0.0/24", new SubnetTarget("10.5.0.0/24"), new SubnetTarget("10.6.0.0/24", null, ["ns1"]))] } },
        { "subnets.source", "overlap", Good with { Subnets = [.. Good.Subnets, new SubnetRule("10.0.0.128/25", new SubnetTarget("10.5.0.0/25"))] } },
        { "subnets.failover", "overlap", Good with { Subnets = [.. Good.Subnets, new SubnetRule("10.1.0.0/24", new SubnetTarget("10.9.0.0/16"))] } },
        { "subnets.test", "overlap", Good with { Subnets = [.. Good.Subnets, new SubnetRule("10.1.0.0/24", new SubnetTarget("10.5.0.0/24"), new SubnetTarget("10.99.0.0/24"))] } },
        { "nics[1].nic", "names no card", Good with { Nics = [.. Good.Nics, new NicRule("db1", "eth0", Own)] } },
        { "nics[1].nic", "names no card", Good with { Nics = [.. Good.Nics, new NicRule("db1", null!, Own)] } },
        { "nics[1].machine", "no name of a machine", Good with { Nics = [.. Good.Nics, new NicRule("DB 1", "0", Own)] } },
        { "nics[1]", "says nothing", Good with { Nics = [.. Good.Nics, new NicRule("db1", "0")] } },
        { "nics[1].failover.addresses", "has no address", Good with { Nics = [.. Good.Nics, new NicRule("db1", "0", new CardConfiguration())] } },
        { "nics[1].failover.addresses", "no address of a card", Good with { Nics = [.. Good.Nics, new NicRule("db1", "0", new CardConfiguration(["10.0.0.5"]))] } },
        { "nics[1].failover.addresses", "no host of", Good with { Nics = [.. Good.Nics, new NicRule("db1", "0", new CardConfiguration(["10.0.0.255/24"]))] } },
        { "nics[1].failover.gateways", "is no host", Good with { Nics = [.. Good.Nics, new NicRule("db1", "0", new CardConfiguration(["10.0.0.5/24"], ["10.0.1.1"]))] } },
        { "nics[1].failover.gateways", "two gateways", Good with { Nics = [.. Good.Nics, new NicRule("db1", "0", new CardConfiguration(["10.0.0.5/24"], ["10.0.0.1", "10.0.0.2"]))] } },
        { "nics[1].failover.search", "is no domain", Good with { Nics = [.. Good.Nics, new NicRule("db1", "0", new CardConfiguration(["10.0.0.5/24"], [], [], ["a b"]))] } },
        { "nics[1].interface", "no name of an interface", Good with { Nics = [.. Good.Nics, new NicRule("db1", "0", Interface: "a: b")] } },
        { "nics", "has 2 rules", Good with { Nics = [.. Good.Nics, Good.Nics[0] with { Failover = null, Source = null }] } },
        { "nics", "is given to 2 cards", Good with { Nics = [.. Good.Nics, new NicRule("db1", "0", Interface: "ens4")] } },
        { "nics.failover", "192.168.7.5 is given to 2 cards", Good with { Nics = [.. Good.Nics, new NicRule("db2", "0", new CardConfiguration(["192.168.7.5/16"]))] } },
        { "subnets[0].source", "wider prefix", Good with { Nics = [.. Good.Nics, new NicRule("db2", "0", Source: new CardConfiguration(["10.0.0.9/8"]))] } },
    };

    [Theory]
    [MemberData(nameof(Bad))]
    public void What_cannot_be_carried_out_is_named_with_a_remedy(string where, string reason, NetworkMapping mapping)
    {
        var problem = mapping.Problems().First();
        Assert.Equal(where, problem.Where);
        Assert.Contains(reason, problem.Reason, StringComparison.Ordinal);
        Assert.NotEmpty(problem.Remedy);
    }

    [Theory]
    [InlineData(false, false, "bridge:lan", "bridge:dr")]
    [InlineData(false, true, "bridge:lan", "bridge:bubble")]
    [InlineData(false, false, "bridge:x", "user")]
    [InlineData(false, true, "bridge:x", null)]
    [InlineData(true, false, "bridge:lan", "bridge:lan")]
    [InlineData(true, false, "bridge:x", "bridge:home")]
    [InlineData(true, true, "bridge:lan", null)]
    [InlineData(true, true, "bridge:x", "bridge:home-bubble")]
    public void Networks_are_mapped_apart_for_test_and_failover_and_for_the_way_home(bool home, bool test, string source, string? network) =>
        Assert.Equal(network, Plan(Good, home, test).NetworkOf(source));

    [Fact]
    public void A_network_that_is_not_mapped_is_none_but_a_machine_that_comes_home_finds_its_own()
    {
        var mapping = Good with { Networks = [Good.Networks[0]] };
        Assert.Null(Plan(mapping).NetworkOf("bridge:x"));
        Assert.Equal("bridge:lan", Plan(mapping, home: true).NetworkOf("bridge:lan"));
        Assert.Equal("bridge:x", Plan(mapping, home: true).NetworkOf("bridge:x"));
        Assert.Null(Plan(mapping, home: true, test: true).NetworkOf("bridge:x"));
    }

    [Fact]
    public void Addresses_move_with_their_subnets_and_what_a_rule_does_not_give_moves_along()
    {
        Assert.Equal("10.9.0.5/24 fd00:9::5/64 via 10.9.0.1 fd00:9::1 dns 10.9.0.53", Text(Plan(Good).CardOf(0, Mac, Own)));
        Assert.Equal("10.99.0.5/24 fd00:9::5/64 via 10.99.0.254 fd00:9::1 dns 10.99.0.53 1.1.1.1", Text(Plan(Good, test: true).CardOf(0, Mac, Own)));
        Assert.Equal("10.0.0.5/24 fd00:1::5/64 via 10.0.0.254 fd00:1::1 dns 10.0.0.53 1.1.1.1", Text(Plan(Good, home: true).CardOf(0, Mac, Own)));
    }

    [Fact]
    public void A_cards_own_rule_goes_before_the_subnets_and_is_found_by_place_or_MAC()
    {
        Assert.Equal("192.168.7.5/24 via 192.168.7.1 dns ", Text(Plan(Good).CardOf(1, Mac, Own)));
        Assert.Equal("192.168.1.5/24 via  dns ", Text(Plan(Good, home: true).CardOf(1, Mac, Own)));
        Assert.Equal("ens4", Plan(Good).CardOf(1, Mac, Own)!.Interface);
        var byMac = Good with { Nics = [new NicRule("db1", Mac.ToUpperInvariant(), Source: Own), new NicRule("db2", "0", new CardConfiguration(["1.2.3.4/24"]))] };
        Assert.Equal("10.9.0.5/24 fd00:9::5/64 via 10.9.0.1 fd00:9::1 dns 10.9.0.53", Text(Plan(byMac).CardOf(0, Mac, new CardConfiguration())));
    }

    [Fact]
    public void Where_no_rule_is_for_a_card_nothing_is_ruled()
    {
        var elsewhere = new CardConfiguration(["172.16.0.5/24"]);
        Assert.False(Plan(Good).CardOf(0, Mac, elsewhere)!.IsRuled);
        Assert.True(Plan(Good).CardOf(0, Mac, Own)!.IsRuled);
        Assert.True(Plan(Good, home: true).CardOf(0, Mac, Own)!.IsRuled);
        Assert.Null(Plan(Good).CardOf(0, Mac, new CardConfiguration()));
    }

    [Fact]
    public void A_plan_comes_back_as_it_went()
    {
        var plan = Plan(Good, home: true, test: true);
        Assert.Equal(plan.ToJson(), NetworkPlan.FromJson(plan.ToJson()).ToJson());
    }

    private static NetworkPlan Plan(NetworkMapping mapping, bool home = false, bool test = false) => NetworkPlan.FromJson(NetworkPlan.Of(mapping, Db1, home, test).ToJson());

    private static string Text(PlannedCard? planned) => planned is not { Card: var c } ? "none" : $"{string.Join(' ', c.Addresses)} via {string.Join(' ', c.Gateways)} dns {string.Join(' ', c.Dns)}";
}
