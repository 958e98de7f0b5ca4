using System.Net.Sockets;
using System.Text;

namespace SiteRecovery.EndToEnd.Hypervisors;

internal static class ConsoleProbe
{
    /// <summary>Somebody who speaks VNC answers there.</summary>
    internal static async Task GreetedAsync(string address, CancellationToken stop)
    {
        using var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        await socket.ConnectAsync(new UnixDomainSocketEndPoint(address["unix:".Length..]), stop);
        var greeting = new byte[4];
        await socket.ReceiveAsync(greeting, stop);
        Assert.Equal("RFB ", Encoding.ASCII.GetString(greeting));
    }

    /// <summary>A line that begins so was written to the serial console.</summary>
    internal static async Task SaidAsync(string address, string beginning, CancellationToken stop)
    {
        using var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        await socket.ConnectAsync(new UnixDomainSocketEndPoint(address["unix:".Length..]), stop);
        using var reader = new StreamReader(new NetworkStream(socket));
        while (await reader.ReadLineAsync(stop) is { } line)
            if (line.StartsWith(beginning, StringComparison.Ordinal)) return;
        Assert.Fail($"the console ended before it said '{beginning}'");
    }
}
