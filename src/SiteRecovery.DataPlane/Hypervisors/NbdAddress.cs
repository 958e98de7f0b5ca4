using System.Globalization;

namespace SiteRecovery.DataPlane.Hypervisors;

/// <summary>Where an export is served: on a unix socket, or on a host and port.</summary>
internal sealed record NbdAddress(string Export, string? Socket, string? Host, int Port)
{
    private const int StandardPort = 10809;
    private const string SocketKey = "socket=";

    internal static bool IsNbd(string source) => source.StartsWith("nbd:", StringComparison.Ordinal) || source.StartsWith("nbd+unix:", StringComparison.Ordinal);

    /// <summary>The export that a machine's disk is; null: it is none, or in a spelling that we do not know.</summary>
    internal static string? ExportOf(string source)
    {
        try
        {
            return IsNbd(source) ? Parse(source).Export : null;
        }
        catch (HypervisorException)
        {
            return null;
        }
    }

    /// <exception cref="HypervisorException">It is no NBD URI.</exception>
    internal static NbdAddress Parse(string text)
    {
        if (IsNbd(text) && Uri.TryCreate(text, UriKind.Absolute, out var uri))
        {
            var export = Uri.UnescapeDataString(uri.AbsolutePath.TrimStart('/'));
            if (uri.Scheme == "nbd" && uri.Host.Length > 0) return new NbdAddress(export, null, uri.IdnHost, uri.IsDefaultPort || uri.Port < 0 ? StandardPort : uri.Port);
            var socket = uri.Query.TrimStart('?').Split('&').FirstOrDefault(p => p.StartsWith(SocketKey, StringComparison.Ordinal))?[SocketKey.Length..];
            if (uri.Scheme == "nbd+unix" && socket is { Length: > 0 }) return new NbdAddress(export, Uri.UnescapeDataString(socket), null, 0);
        }
        throw new HypervisorException(HypervisorProblem.Refused, $"'{text}' is no NBD URI", "Give nbd+unix:///EXPORT?socket=PATH or nbd://HOST:PORT/EXPORT");
    }

    public override string ToString()
    {
        var export = Uri.EscapeDataString(Export);
        if (Socket is not null) return $"nbd+unix:///{export}?socket={Uri.EscapeDataString(Socket).Replace("%2F", "/", StringComparison.Ordinal)}";
        var host = Host!.Contains(':', StringComparison.Ordinal) && Host[0] != '[' ? $"[{Host}]" : Host;
        return string.Create(CultureInfo.InvariantCulture, $"nbd://{host}:{Port}/{export}");
    }
}
