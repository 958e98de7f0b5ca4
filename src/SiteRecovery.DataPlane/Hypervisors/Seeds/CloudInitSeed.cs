using System.Collections.Immutable;
using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using SiteRecovery.Domain.Networks;

namespace SiteRecovery.DataPlane.Hypervisors.Seeds;

/// <summary>
/// What tells a guest its addresses: an image of cloud-init's data source NoCloud, found by its label. SEED.md has its files. Pure: the same cards give the same image.
/// </summary>
public static class CloudInitSeed
{
    public const string Label = "cidata";

    /// <summary>
    /// Cloud-init takes a new network configuration only from an instance that is new to it. A new instance would also get host keys, users and package sources: of all that it
    /// does then, nothing is left but the guest's own scripts of every boot.
    /// </summary>
    private const string UserData = """
        #cloud-config
        # By SiteRecovery: this machine is a replica. Nothing is set up anew but its network.
        cloud_init_modules: []
        cloud_config_modules: []
        cloud_final_modules: [scripts-per-boot]

        """;

    /// <param name="source">The machine as it is where it comes from.</param>
    /// <param name="replica">Made from it: the same cards in the same order, perhaps with other MACs.</param>
    /// <returns>Null: no rule is for any of its cards, and the guest keeps what it has.</returns>
    public static byte[]? Of(MachineDefinition source, MachineDefinition replica, NetworkPlan plan)
    {
        var cards = source.Nics.Select((nic, place) => (replica.Nics[place].Mac, Planned: plan.CardOf(place, nic.Mac, ConfigurationOf(nic)))).ToArray();
        if (!cards.Any(c => c.Planned is { IsRuled: true })) return null;
        var network = NetworkConfiguration(cards);
        var instance = Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes($"{replica.Name}\n{network}")))[..16];
        return IsoImage.Of(Label,
        [
            new("meta-data", Encoding.UTF8.GetBytes($"instance-id: siterecovery-{instance}\n")),
            new("network-config", Encoding.UTF8.GetBytes(network)),
            new("user-data", Encoding.UTF8.GetBytes(UserData)),
        ]);
    }

    /// <summary>What the definition says of a card's addresses.</summary>
    public static CardConfiguration ConfigurationOf(MachineNic nic) => new(Listed(nic.Addresses), Listed(nic.Gateways), Listed(nic.Dns), Listed(nic.Search));

    private static ImmutableArray<string> Listed(IReadOnlyList<string>? texts) => [.. texts ?? []];

    /// <summary>Version 2, which netplan, networkd, NetworkManager and ifupdown are all configured from. All cards are in it: one that was left out would be left without any.</summary>
    private static string NetworkConfiguration(IEnumerable<(string Mac, PlannedCard? Planned)> cards)
    {
        var text = new StringBuilder("version: 2\nethernets:\n");
        foreach (var (place, (mac, planned)) in cards.Index())
        {
            text.Append(CultureInfo.InvariantCulture, $"  {Quoted(planned?.Interface ?? $"nic{place}")}:\n    match: {{macaddress: {Quoted(mac)}}}\n");
            if (planned is not { Card: { Addresses.IsEmpty: false } card })
            {
                text.Append("    dhcp4: true\n");
                continue;
            }
            text.Append(CultureInfo.InvariantCulture, $"    dhcp4: false\n    dhcp6: false\n    addresses: {List(card.Addresses)}\n");
            // As routes to ::/0 cloud-init 22.4 makes ::/64 of them, for all but netplan.
            foreach (var gateway in card.Gateways)
                text.Append(CultureInfo.InvariantCulture, $"    {(Address.Parse(gateway) is { IsV6: true } ? "gateway6" : "gateway4")}: {Quoted(gateway)}\n");
            if (card.Dns.Length + card.Search.Length > 0)
                text.Append(CultureInfo.InvariantCulture, $"    nameservers: {{addresses: {List(card.Dns)}, search: {List(card.Search)}}}\n");
        }
        return text.ToString();
    }

    private static string List(IEnumerable<string> texts) => $"[{string.Join(", ", texts.Select(Quoted))}]";

    // Addresses and names were checked where they came in: none has a quote or a backslash.
    private static string Quoted(string text) => text.All(c => c is not ('"' or '\\') && !char.IsControl(c)) ? $"\"{text}\"" : throw new FormatException($"'{text}' cannot be written into a seed");
}
