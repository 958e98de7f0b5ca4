using System.Net.Sockets;

namespace SiteRecovery.Agent;

/// <summary>What the service manager that started this process wants to hear (systemd's sd_notify, with Type=notify).</summary>
internal static class ServiceNotice
{
    /// <summary>What is ordered behind this service starts now.</summary>
    /// <param name="socket">Of NOTIFY_SOCKET: a path, or '@' and an abstract name; null or empty: nobody asks.</param>
    internal static void SayReady(string? socket, TextWriter log)
    {
        if (string.IsNullOrEmpty(socket)) return;
        try
        {
            using var notice = new Socket(AddressFamily.Unix, SocketType.Dgram, ProtocolType.Unspecified);
            notice.SendTo("READY=1"u8, new UnixDomainSocketEndPoint(socket[0] == '@' ? '\0' + socket[1..] : socket));
        }
        // The disks are served all the same.
        catch (Exception untold) when (untold is SocketException or ArgumentException)
        {
            log.Say($"the service manager cannot be told at {socket} that the disks are served: {untold.Message}");
        }
    }
}
