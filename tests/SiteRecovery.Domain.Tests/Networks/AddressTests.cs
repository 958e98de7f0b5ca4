using SiteRecovery.Domain.Networks;

namespace SiteRecovery.Domain.Tests.Networks;

public sealed class AddressTests
{
    [Theory]
    [InlineData("10.0.0.5", "10.0.0.5")]
    [InlineData("255.255.255.255", "255.255.255.255")]
    [InlineData("fd00:0:0::5", "fd00::5")]
    [InlineData("FD00::A", "fd00::a")]
    [InlineData("::", "::")]
    [InlineData("10.1", null)]
    [InlineData("010.0.0.1", null)]
    [InlineData("1.2.3.256", null)]
    [InlineData("fe80::1%eth0", null)]
    [InlineData("[::1]", null)]
    [InlineData("db1", null)]
    [InlineData(" 10.0.0.1", null)]
    [InlineData("", null)]
    [InlineData(null, null)]
    public void An_address_is_read_in_one_way_only(string? text, string? address) => Assert.Equal(address, Address.Parse(text)?.ToString());

    [Theory]
    [InlineData("10.0.0.5/24", "10.0.0.0/24")]
    [InlineData("10.0.255.5/17", "10.0.128.0/17")]
    [InlineData("10.1.2.3/0", "0.0.0.0/0")]
    [InlineData("10.1.2.3/32", "10.1.2.3/32")]
    [InlineData("fd00:1:2:3:4::5/64", "fd00:1:2:3::/64")]
    [InlineData("fd00::ffff/121", "fd00::ff80/121")]
    [InlineData("ffff::1/0", "::/0")]
    [InlineData("fd00::5/128", "fd00::5/128")]
    public void A_card_is_in_the_subnet_of_its_prefix(string card, string subnet) => Assert.Equal(subnet, CardAddress.Parse(card)?.Subnet.ToString());

    [Theory]
    [InlineData("10.0.0.5")]
    [InlineData("10.0.0.5/33")]
    [InlineData("10.0.0.5/-1")]
    [InlineData("10.0.0.5/24/24")]
    [InlineData("10.0.0.5/255.255.255.0")]
    [InlineData("fd00::5/129")]
    public void A_prefix_is_needed_and_has_to_fit_the_family(string text) => Assert.Null(CardAddress.Parse(text));

    [Theory]
    [InlineData("10.0.0.77", "10.0.0.0/24", "10.9.8.0/24", "10.9.8.77/24")]
    [InlineData("10.0.3.77", "10.0.0.0/22", "10.9.8.0/22", "10.9.11.77/22")]
    [InlineData("10.0.0.77", "10.0.0.0/24", "172.16.0.0/12", "172.16.0.77/12")]
    [InlineData("10.0.0.77", "10.0.0.0/24", "10.9.8.64/26", null)]
    [InlineData("10.0.0.13", "10.0.0.0/24", "10.9.8.64/26", "10.9.8.77/26")]
    [InlineData("fd00:1::dead:beef", "fd00:1::/64", "fd00:2:0:7::/64", "fd00:2:0:7::dead:beef/64")]
    [InlineData("fd00:1:0:5::1", "fd00:1::/48", "fd00:2::/48", "fd00:2:0:5::1/48")]
    [InlineData("fd00:1:0:5::1", "fd00:1::/48", "fd00:2::/64", null)]
    [InlineData("8000::1", "::/0", "::/0", "8000::1/0")]
    public void A_host_keeps_its_part_in_another_subnet(string host, string from, string to, string? moved) =>
        Assert.Equal(moved, Subnet.Parse(from)!.Value.Move(Address.Parse(host)!.Value, Subnet.Parse(to)!.Value)?.ToString());

    [Theory]
    [InlineData("10.0.0.0/24", "10.0.0.128/25", true)]
    [InlineData("10.0.0.128/25", "10.0.0.0/24", true)]
    [InlineData("10.0.0.0/25", "10.0.0.128/25", false)]
    [InlineData("0.0.0.0/0", "10.0.0.0/24", true)]
    [InlineData("::/0", "10.0.0.0/24", false)]
    [InlineData("fd00::/64", "fd00:0:0:1::/64", false)]
    [InlineData("fd00::/63", "fd00:0:0:1::/64", true)]
    public void Subnets_overlap_where_one_is_in_the_other(string one, string other, bool overlap) =>
        Assert.Equal(overlap, Subnet.Parse(one)!.Value.Overlaps(Subnet.Parse(other)!.Value));

    [Theory]
    [InlineData("10.0.0.0/24", "10.0.0.0", false)]
    [InlineData("10.0.0.0/24", "10.0.0.1", true)]
    [InlineData("10.0.0.0/24", "10.0.0.255", false)]
    [InlineData("10.0.0.0/24", "10.0.1.1", false)]
    [InlineData("10.0.0.0/31", "10.0.0.0", true)]
    [InlineData("10.0.0.7/32", "10.0.0.7", true)]
    [InlineData("fd00::/64", "fd00::", false)]
    [InlineData("fd00::/64", "fd00::ffff:ffff:ffff:ffff", true)]
    public void Some_addresses_are_no_hosts(string subnet, string address, bool can) => Assert.Equal(can, Subnet.Parse(subnet)!.Value.CanBeHost(Address.Parse(address)!.Value));

    [Fact]
    public void A_subnet_has_no_host_part() => Assert.Null(Subnet.Parse("10.0.0.5/24"));
}
