using System.Net;
using System.Net.Sockets;
using SiteRecovery.DataPlane.Nbd;

namespace SiteRecovery.Node.Demo;

/// <summary>An NBD URI as the API gives it: <c>nbd+unix:///export?socket=PATH</c> or <c>nbd://host:port/export</c>.</summary>
public sealed record NbdAddress(EndPoint Server, string Export)
{
    public static NbdAddress Parse(string text)
    {
        var uri = new Uri(text);
        var export = Uri.UnescapeDataString(uri.AbsolutePath.TrimStart('/'));
        if (uri.Scheme == "nbd+unix" && uri.Query.StartsWith("?socket=", StringComparison.Ordinal))
            return new NbdAddress(new UnixDomainSocketEndPoint(Uri.UnescapeDataString(uri.Query["?socket=".Length..])), export);
        if (uri.Scheme == "nbd" && IPAddress.TryParse(uri.Host, out var address)) return new NbdAddress(new IPEndPoint(address, uri.Port < 0 ? 10809 : uri.Port), export);
        throw new FormatException($"{text} is no NBD URI that the demo can open");
    }

    public Task<NbdClient> OpenAsync(CancellationToken stop) => NbdClient.ConnectAsync(Server, Export, stop);
}
