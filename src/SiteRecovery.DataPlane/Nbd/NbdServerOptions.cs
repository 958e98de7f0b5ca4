using System.Net.Security;
using System.Security.Cryptography.X509Certificates;

namespace SiteRecovery.DataPlane.Nbd;

/// <summary>Limits and security of a server. Bytes unless said otherwise.</summary>
public sealed record NbdServerOptions
{
    /// <summary>Of unix sockets; beyond this they are closed at once. Each has a thread of its own. Enough for a thousand machines that are failed over to one host.</summary>
    public int MaxConnections { get; init; } = 4096;
    /// <summary>Of TCP, with an export open; beyond this they are closed. They take no places of the unix sockets, where guests of this very host are.</summary>
    public int MaxTcpConnections { get; init; } = 1024;
    /// <summary>Of TCP, without an export yet: whoever reaches the port may have as many. One more closes the one that has taken longest.</summary>
    public int MaxTcpHandshakes { get; init; } = 256;
    /// <summary>Requests of one connection between their header and their sent reply.</summary>
    public int MaxRequestsInFlight { get; init; } = 64;
    /// <summary>Payload memory of one connection.</summary>
    public long MaxBytesInFlight { get; init; } = 64 << 20;
    /// <summary>Largest read or write. A longer write closes the connection, a longer read is refused.</summary>
    public int MaxRequestBytes { get; init; } = 32 << 20;
    public TimeSpan HandshakeTimeout { get; init; } = TimeSpan.FromSeconds(10);
    /// <summary>Options one client may send before it has to go.</summary>
    public int MaxOptions { get; init; } = 1024;
    /// <summary>Offers TLS through STARTTLS.</summary>
    public SslServerAuthenticationOptions? Tls { get; init; }
    /// <summary>With <see cref="Tls"/>: nothing but STARTTLS is answered in the clear.</summary>
    public bool TlsRequired { get; init; } = true;
    /// <summary>
    /// Why the client with this certificate (null: it showed none) opens nothing here, said to it in answer to whatever it asks; null: it may. Nobody
    /// opens anything in the clear then.
    /// </summary>
    public Func<X509Certificate?, string?>? Refuses { get; init; }
    /// <summary>Name or number of the group that may connect to unix sockets beside their owner; null: whom the process's umask lets.</summary>
    public string? SocketGroup { get; init; }
    /// <summary>Told why <see cref="SocketGroup"/> cannot be let in; the socket is its owner's then. Null: nobody listens to that, and the server does not start.</summary>
    public Action<string>? NotGiven { get; init; }
    /// <summary>Told about every request that failed in a device: the export's name and why.</summary>
    public Action<string, Exception>? DeviceFailed { get; init; }

    internal NbdServerOptions Checked()
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(MaxConnections, 1);
        ArgumentOutOfRangeException.ThrowIfLessThan(MaxTcpConnections, 1);
        ArgumentOutOfRangeException.ThrowIfLessThan(MaxTcpHandshakes, 1);
        ArgumentOutOfRangeException.ThrowIfLessThan(MaxRequestsInFlight, 1);
        ArgumentOutOfRangeException.ThrowIfLessThan(MaxRequestBytes, 4096);
        ArgumentOutOfRangeException.ThrowIfLessThan(MaxBytesInFlight, MaxRequestBytes);
        ArgumentOutOfRangeException.ThrowIfLessThan(MaxOptions, 1);
        return this;
    }
}
