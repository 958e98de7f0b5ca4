using System.Net;
using System.Net.Sockets;

namespace SiteRecovery.Node.Settings;

/// <summary>Addresses of nodes, in the one spelling in which URLs and the cluster know them: IPv6 in brackets, names in lower case.</summary>
public static class HostAddress
{
    /// <param name="key">The setting that gives it.</param>
    /// <exception cref="SettingsException">It is none.</exception>
    public static string Of(string? text, string key)
    {
        if (IPAddress.TryParse(text, out var ip))
            return ip.AddressFamily == AddressFamily.InterNetworkV6 && ip.ScopeId != 0
                ? throw new SettingsException($"{key} is '{text}': the zone of a link-local address says something on one host only. Name an address that others reach.") : Spelled(ip);
        return Uri.CheckHostName(text) == UriHostNameType.Dns ? text!.ToLowerInvariant()
            : throw new SettingsException($"{key} is '{text}', which is neither an IP address nor a host name.");
    }

    /// <summary>As <see cref="Of"/>, and others get there by it.</summary>
    /// <exception cref="SettingsException">It is none, or stands for all of a host.</exception>
    public static string ToReach(string? text, string key) => Of(text, key) is var address && IPAddress.TryParse(address, out var ip) && (ip.Equals(IPAddress.Any) || ip.Equals(IPAddress.IPv6Any))
        ? throw new SettingsException($"{key} is '{text}', and the other nodes and agents cannot reach this one there: name the address that they reach with --address. To bind all of this host's, name it as {NodeSettings.AdvertisedKey} besides.")
        : address;

    /// <summary>What a name stands for on this host now.</summary>
    /// <exception cref="SettingsException">Nothing.</exception>
    public static async Task<string> ResolveAsync(string address, CancellationToken cancel)
    {
        if (IPAddress.TryParse(address, out _)) return address;
        try
        {
            // The others, too, take version 4 where a name has both.
            if ((await Dns.GetHostAddressesAsync(address, cancel)).MinBy(a => a.AddressFamily == AddressFamily.InterNetwork ? 0 : 1) is { } found) return Spelled(found);
            throw new SocketException((int)SocketError.HostNotFound);
        }
        catch (Exception unknown) when (unknown is SocketException or ArgumentException)
        {
            throw new SettingsException($"--address (siterecovery.node.address) is '{address}', and this host does not know that name ({unknown.Message}). Give an IP address of this host, or a name that leads to one.");
        }
    }

    private static string Spelled(IPAddress ip) => ip.IsIPv4MappedToIPv6 ? ip.MapToIPv4().ToString() : ip.AddressFamily == AddressFamily.InterNetworkV6 ? $"[{ip}]" : ip.ToString();
}
