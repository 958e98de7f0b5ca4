using System.Net.Sockets;
using System.Text.Json.Nodes;

namespace SiteRecovery.DataPlane.Hypervisors;

/// <summary>QEMU's monitor protocol, one command per connection: whoever keeps a connection open locks everybody else out.</summary>
internal static class QemuMonitor
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(5);

    /// <summary>What the command returned; null where nobody listens or no answer came in time.</summary>
    /// <exception cref="HypervisorException">QEMU refused the command.</exception>
    internal static async Task<JsonNode?> TryAskAsync(string socket, string command, TimeProvider time, CancellationToken stop)
    {
        using var patience = new CancellationTokenSource(Patience, time);
        using var either = CancellationTokenSource.CreateLinkedTokenSource(stop, patience.Token);
        try
        {
            using var connection = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
            await connection.ConnectAsync(new UnixDomainSocketEndPoint(socket), either.Token).ConfigureAwait(false);
            await using var stream = new NetworkStream(connection);
            using var reader = new StreamReader(stream);
            if (await reader.ReadLineAsync(either.Token).ConfigureAwait(false) is null) return null;
            await ExchangeAsync(stream, reader, "qmp_capabilities", either.Token).ConfigureAwait(false);
            return await ExchangeAsync(stream, reader, command, either.Token).ConfigureAwait(false);
        }
        catch (Exception gone) when (gone is SocketException or IOException || gone is OperationCanceledException && !stop.IsCancellationRequested)
        {
            return null;
        }
    }

    private static async Task<JsonNode?> ExchangeAsync(Stream stream, StreamReader reader, string command, CancellationToken stop)
    {
        await stream.WriteAsync(System.Text.Encoding.UTF8.GetBytes(new JsonObject { ["execute"] = command }.ToJsonString() + "\n"), stop).ConfigureAwait(false);
        while (await reader.ReadLineAsync(stop).ConfigureAwait(false) is { } line)
        {
            var said = JsonNode.Parse(line);
            if (said?["error"] is { } error) throw new HypervisorException(HypervisorProblem.Refused, $"QEMU refused {command}: {error["desc"]}");
            if (said?["return"] is { } answer) return answer;
        }
        return null;
    }
}
