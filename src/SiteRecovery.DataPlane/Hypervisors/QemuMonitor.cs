using System.Net.Sockets;
using System.Text.Json;
using System.Text.Json.Nodes;

namespace SiteRecovery.DataPlane.Hypervisors;

/// <summary>QEMU's monitor protocol, one command per connection: whoever keeps a connection open locks everybody else out.</summary>
internal static class QemuMonitor
{
    /// <summary>An answer to what we ask has some hundred; nobody else's line is kept for ever.</summary>
    private const int LineBytesMax = 64 << 10;
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(5);
    // JSON's own exception is the only one for what is no JSON then.
    private static readonly JsonDocumentOptions Strict = new() { AllowDuplicateProperties = false };

    /// <summary>What the command returned; null where nobody listens, or no answer came in time that can be read.</summary>
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
            var lines = new Lines(stream);
            if (await lines.NextAsync(either.Token).ConfigureAwait(false) is null) return null;
            await ExchangeAsync(stream, lines, "qmp_capabilities", either.Token).ConfigureAwait(false);
            return await ExchangeAsync(stream, lines, command, either.Token).ConfigureAwait(false);
        }
        // Whoever says something else there is no QEMU's monitor.
        catch (Exception gone) when (gone is SocketException or IOException or JsonException or InvalidDataException || gone is OperationCanceledException && !stop.IsCancellationRequested)
        {
            return null;
        }
    }

    /// <summary>A text within what was returned; null where there is none of that name.</summary>
    internal static string? TextOf(JsonNode? returned, string name) => returned is JsonObject all && all[name] is JsonValue value && value.TryGetValue<string>(out var text) ? text : null;

    private static async Task<JsonNode?> ExchangeAsync(Stream stream, Lines lines, string command, CancellationToken stop)
    {
        await stream.WriteAsync(System.Text.Encoding.UTF8.GetBytes(new JsonObject { ["execute"] = command }.ToJsonString() + "\n"), stop).ConfigureAwait(false);
        while (await lines.NextAsync(stop).ConfigureAwait(false) is { } line)
        {
            if (Parsed(line) is not JsonObject said) continue;
            if (said["error"] is { } error) throw new HypervisorException(HypervisorProblem.Refused, $"QEMU refused {command}: {TextOf(error, "desc") ?? "it does not say why"}");
            if (said["return"] is { } answer) return answer;
        }
        return null;
    }

    /// <exception cref="JsonException">It is no JSON, or holds texts that are none.</exception>
    private static JsonNode? Parsed(ReadOnlyMemory<byte> line)
    {
        var reader = new Utf8JsonReader(line.Span);
        try
        {
            while (reader.Read())
                if (reader.TokenType is JsonTokenType.String or JsonTokenType.PropertyName) reader.GetString();
        }
        catch (InvalidOperationException half)
        {
            throw new JsonException("a text has half a character", half);
        }
        return JsonNode.Parse(line.Span, null, Strict);
    }

    private sealed class Lines(Stream stream)
    {
        private readonly byte[] _bytes = new byte[LineBytesMax];
        private int _start, _end;

        /// <summary>Good until the next one is asked for; null at the end.</summary>
        /// <exception cref="InvalidDataException">It is too long.</exception>
        internal async ValueTask<ReadOnlyMemory<byte>?> NextAsync(CancellationToken stop)
        {
            for (var looked = _start; ;)
            {
                if (_bytes.AsSpan(looked, _end - looked).IndexOf((byte)'\n') is var found and >= 0)
                {
                    var line = _bytes.AsMemory(_start, looked + found - _start);
                    _start = looked + found + 1;
                    return line;
                }
                _bytes.AsSpan(_start, _end - _start).CopyTo(_bytes);
                (_start, _end) = (0, _end - _start);
                looked = _end;
                if (_end == _bytes.Length) throw new InvalidDataException($"a line of QEMU's monitor is longer than {LineBytesMax} bytes");
                if (await stream.ReadAsync(_bytes.AsMemory(_end), stop).ConfigureAwait(false) is not (> 0 and var got)) return null;
                _end += got;
            }
        }
    }
}
