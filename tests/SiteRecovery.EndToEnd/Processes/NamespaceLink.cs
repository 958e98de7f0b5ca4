using System.ComponentModel;
using System.Globalization;
using System.Net;
using System.Text.RegularExpressions;
using SiteRecovery.EndToEnd.Guests;

namespace SiteRecovery.EndToEnd.Processes;

/// <summary>
/// Each site in a network namespace, with an address of its own, and a pair of virtual Ethernet devices between them: the only way from one to the other.
/// It can go down at either end, packets can be dropped in one direction, of some ports, or now and then, and it can be slow. The tests reach both sites by a pair
/// of devices each that no site's packets to the other one take.
/// </summary>
internal sealed partial class NamespaceLink : ISiteLink
{
    private const string Device = "wan", DeviceToTest = "test", Cuts = "inet sites cuts";
    /// <summary>198.18.0.0/15 is for benchmarks of networks: nobody has it. 16 addresses for each process of tests.</summary>
    private const uint Addresses = 198u << 24 | 18 << 16, Blocks = 8192;
    private readonly Dictionary<string, SiteNamespace> _sites = [];
    private readonly SortedSet<int> _clusterPorts = [], _dataPorts = [];
    private readonly Action<string> _say;
    private readonly uint _block = (uint)Environment.ProcessId % Blocks;
    private string? _downAt;
    private bool _slow, _delays;

    private NamespaceLink(Action<string> say) => _say = say;

    public string Description => string.Create(CultureInfo.InvariantCulture,
        $"network namespaces ({string.Join(", ", _sites.Select(s => $"{s.Key} {AddressOf(s.Key)}: {string.Join(' ', s.Value.Launcher)}"))}; a slow link {(_delays ? "delays and reorders packets" : "has a small bandwidth, for this kernel has no netem")})");

    internal string AddressOf(string site) => Address(site == SitesUnderTest.Primary ? 1u : 2);

    public IReadOnlyList<string> LauncherAt(string site) => _sites[site].Launcher;

    internal SiteNamespace At(string site) => _sites[site];

    /// <exception cref="InvalidOperationException">Something that it takes is not allowed, or not known to the kernel.</exception>
    /// <exception cref="Win32Exception">A program that it takes is not installed.</exception>
    internal static async Task<NamespaceLink> OpenAsync(Action<string> say)
    {
        var link = new NamespaceLink(say);
        try
        {
            foreach (var site in new[] { SitesUnderTest.Primary, SitesUnderTest.Secondary }) await link.OpenSiteAsync(site);
            await link.At(SitesUnderTest.Primary).RunAsync("ip", "link", "add", Device, "type", "veth", "peer", "name", Device, "netns", $"{link.At(SitesUnderTest.Secondary).HolderId}");
            foreach (var site in link._sites.Keys) await link.UpAsync(site);
            link._delays = await link.DelaysAsync();
            // What cannot be had is to be known now, and not in the middle of a storm.
            await link.LoseAsync(1);
            await link.SlowAsync();
            await link.HealAsync();
            return link;
        }
        catch
        {
            await link.DisposeAsync();
            throw;
        }
    }

    public string SettingsOf(NodeUnderTest node, int clusterPort, int dataPort)
    {
        _clusterPorts.Add(clusterPort);
        _dataPorts.Add(dataPort);
        return $"node.address = \"0.0.0.0\"\n  advertised.address = \"{AddressOf(node.Site)}\"";
    }

    public async Task CutAsync(bool toSecondary, bool toPrimary, string? only = null)
    {
        var which = only switch { null => "", "cluster" => Of(_clusterPorts), "data" => Of(_dataPorts), _ => throw new ArgumentException(only) };
        if (toSecondary) await DropAsync(SitesUnderTest.Secondary, which);
        if (toPrimary) await DropAsync(SitesUnderTest.Primary, which);

        static string Of(SortedSet<int> ports) => $"meta l4proto {{ tcp, udp }} th dport {{ {string.Join(", ", ports)} }} ; meta l4proto {{ tcp, udp }} th sport {{ {string.Join(", ", ports)} }}";
    }

    /// <summary>One end's device is taken down: there a destination is unreachable at once, at the other end nobody answers.</summary>
    internal async Task DownAsync(string site)
    {
        _downAt = site;
        await At(site).RunAsync("ip", "link", "set", Device, "down");
    }

    /// <summary>Of what comes to either site, so much is lost.</summary>
    internal async Task LoseAsync(int percent)
    {
        foreach (var site in _sites.Keys) await DropAsync(site, $"numgen random mod 100 < {percent}");
    }

    /// <summary>Delay and reordering where the kernel can, otherwise a bandwidth at which packets wait for each other, and those that waited too long are lost.</summary>
    internal async Task SlowAsync()
    {
        _slow = true;
        string[] how = _delays ? ["netem", "delay", "80ms", "40ms", "reorder", "20%"] : ["tbf", "rate", "2mbit", "burst", "32kb", "latency", "300ms"];
        foreach (var site in _sites.Values) await site.RunAsync("tc", ["qdisc", "replace", "dev", Device, "root", .. how]);
    }

    public async Task HealAsync()
    {
        foreach (var (site, inside) in _sites)
        {
            if (await DroppedAsync(site) is > 0 and var dropped) _say($"link: {dropped} packets to the {site} were dropped");
            await inside.RunAsync("nft", $"flush chain {Cuts}");
            if (_slow) await inside.RunAsync("tc", "qdisc", "del", "dev", Device, "root");
        }
        _slow = false;
        if (_downAt is { } down) await UpAsync(down);
        _downAt = null;
    }

    /// <summary>Packets to a site since the link was cut.</summary>
    internal async Task<long> DroppedAsync(string site) =>
        PacketsCounted().Matches(await At(site).RunAsync("nft", "list", "chain", "inet", "sites", "cuts")).Sum(m => long.Parse(m.Groups[1].ValueSpan, CultureInfo.InvariantCulture));

    /// <summary>Instead of what was dropped there before.</summary>
    /// <param name="which">Conditions of which one holds, parted by semicolons; empty: all packets.</param>
    private async Task DropAsync(string site, string which) =>
        await At(site).RunAsync("nft", string.Join("; ", [$"flush chain {Cuts}", .. which.Split(';').Select(condition => $"add rule {Cuts} {condition} counter drop")]));

    private async Task OpenSiteAsync(string site)
    {
        var inside = _sites[site] = await SiteNamespace.OpenAsync();
        var (outer, inner) = site == SitesUnderTest.Primary ? (5u, 6u) : (9u, 10u);
        await inside.RunAsync("ip", "link", "set", "lo", "up");
        // The site's address is no device's that can be down: its own processes reach each other by it.
        await inside.RunAsync("ip", "address", "add", $"{AddressOf(site)}/32", "dev", "lo");
        await HostProgram.RunAsync("ip", ["link", "add", OuterDeviceOf(site), "type", "veth", "peer", "name", DeviceToTest, "netns", $"{inside.HolderId}"]);
        await inside.RunAsync("ip", "address", "add", $"{Address(inner)}/30", "dev", DeviceToTest);
        await inside.RunAsync("ip", "link", "set", DeviceToTest, "up");
        await HostProgram.RunAsync("ip", ["address", "add", $"{Address(outer)}/30", "dev", OuterDeviceOf(site)]);
        await HostProgram.RunAsync("ip", ["link", "set", OuterDeviceOf(site), "up"]);
        await HostProgram.RunAsync("ip", ["route", "add", $"{AddressOf(site)}/32", "via", Address(inner), "dev", OuterDeviceOf(site)]);
        await inside.RunAsync("nft", $"add table inet sites; add chain {Cuts}; add chain inet sites heard {{ type filter hook input priority 0 ; }}; add rule inet sites heard iifname \"{Device}\" jump cuts");
    }

    /// <summary>A device that goes down loses its routes.</summary>
    private async Task UpAsync(string site)
    {
        await At(site).RunAsync("ip", "link", "set", Device, "up");
        var other = site == SitesUnderTest.Primary ? SitesUnderTest.Secondary : SitesUnderTest.Primary;
        await At(site).RunAsync("ip", "route", "replace", $"{AddressOf(other)}/32", "dev", Device, "src", AddressOf(site));
    }

    private async Task<bool> DelaysAsync()
    {
        try
        {
            await At(SitesUnderTest.Primary).RunAsync("tc", "qdisc", "add", "dev", Device, "root", "netem", "delay", "1ms");
            await At(SitesUnderTest.Primary).RunAsync("tc", "qdisc", "del", "dev", Device, "root");
            return true;
        }
        catch (InvalidOperationException)
        {
            return false; // it is a module that not every kernel has
        }
    }

    private string OuterDeviceOf(string site) => $"sr{_block:x4}-{site[0]}";

    private string Address(uint number)
    {
        var bits = Addresses + _block * 16 + number;
        return new IPAddress([(byte)(bits >> 24), (byte)(bits >> 16), (byte)(bits >> 8), (byte)bits]).ToString();
    }

    [GeneratedRegex(@"counter packets (\d+)")]
    private static partial Regex PacketsCounted();

    public async ValueTask DisposeAsync()
    {
        foreach (var (site, inside) in _sites)
        {
            try
            {
                // What the kernel does on its own with the namespace's end is done now, so that nothing is left when the test has ended.
                await HostProgram.RunAsync("ip", ["link", "delete", OuterDeviceOf(site)], null, 0, 1, 2);
            }
            catch (Win32Exception)
            {
                // Without the program there is no device.
            }
            finally
            {
                inside.Dispose();
            }
        }
    }
}
