using System.Buffers.Binary;

namespace SiteRecovery.DataPlane.Transport;

/// <summary>Length-prefixed messages each way over one connection. One reader; any number of senders.</summary>
/// <param name="time">How long the other end takes nothing is told by this clock; null: the system's.</param>
public sealed class ControlChannel(Stream stream, Peer? peer = null, string? origin = null, TimeProvider? time = null) : IAsyncDisposable
{
    public const int MessageBytesMax = 1 << 20;
    /// <summary>Longer than a busy end needs to read on; one that does not read at all must not keep whoever obeys it.</summary>
    public static TimeSpan SendMax { get; } = TimeSpan.FromSeconds(20);
    private readonly SemaphoreSlim _sending = new(1, 1);
    private volatile bool _isStuck;

    /// <summary>Who the other end's certificate says it is.</summary>
    public Peer? Peer { get; } = peer;

    /// <summary>The address that the other end connected from.</summary>
    public string Origin { get; } = origin ?? "an unknown address";

    /// <summary>Joining side: says that this connection is a control channel.</summary>
    public static async ValueTask<ControlChannel> OpenAsync(Stream stream, Peer? peer, CancellationToken stop)
    {
        await stream.WriteAsync(Preamble.Of(ChannelKind.Control), stop);
        await stream.FlushAsync(stop);
        return new ControlChannel(stream, peer);
    }

    /// <exception cref="IOException">The connection is gone, or the other end has taken nothing for too long, which ends it.</exception>
    public async ValueTask SendAsync(ReadOnlyMemory<byte> message, CancellationToken stop)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThan(message.Length, MessageBytesMax);
        var framed = new byte[4 + message.Length];
        BinaryPrimitives.WriteInt32LittleEndian(framed, message.Length);
        message.CopyTo(framed.AsMemory(4));
        await _sending.WaitAsync(stop);
        try
        {
            if (_isStuck) throw NothingTaken();
            // Most are taken at once, and need no timer.
            var writing = WriteAsync(framed, stop);
            if (writing.IsCompleted) await writing;
            else await writing.AsTask().WaitAsync(SendMax, time ?? TimeProvider.System, CancellationToken.None); // told to stop, it ends by itself
        }
        catch (TimeoutException)
        {
            _isStuck = true; // half of a message may be on its way
            await stream.DisposeAsync();
            throw NothingTaken();
        }
        finally
        {
            _sending.Release();
        }
    }

    private static IOException NothingTaken() => new($"nothing was taken for {SendMax.TotalSeconds:0.#} s");

    private async ValueTask WriteAsync(byte[] framed, CancellationToken stop)
    {
        await stream.WriteAsync(framed, stop);
        await stream.FlushAsync(stop);
    }

    /// <summary>The next message; null at the end of the connection.</summary>
    /// <exception cref="InvalidDataException">The other end announces more than a message may have.</exception>
    public async ValueTask<byte[]?> ReceiveAsync(CancellationToken stop)
    {
        var prefix = new byte[4];
        var got = await stream.ReadAtLeastAsync(prefix, 4, throwOnEndOfStream: false, stop);
        if (got == 0) return null;
        if (got < 4) throw new EndOfStreamException("the control channel ended inside a message");
        var length = BinaryPrimitives.ReadInt32LittleEndian(prefix);
        if (length is < 0 or > MessageBytesMax) throw new InvalidDataException($"a control message of {length} bytes exceeds the limit");
        var message = new byte[length];
        await stream.ReadExactlyAsync(message, stop);
        return message;
    }

    /// <summary>The next message of somebody who speaks all the time.</summary>
    /// <exception cref="IOException">The other end has been silent for too long: a dead line says nothing, for a quarter of an hour.</exception>
    public async ValueTask<AgentMessage?> ReceiveMessageAsync(TimeSpan silenceMax, TimeProvider time, CancellationToken stop)
    {
        using var late = new CancellationTokenSource(silenceMax, time);
        using var either = CancellationTokenSource.CreateLinkedTokenSource(late.Token, stop);
        try
        {
            return await ReceiveMessageAsync(either.Token);
        }
        catch (OperationCanceledException) when (late.IsCancellationRequested && !stop.IsCancellationRequested)
        {
            throw new IOException($"nothing was heard for {silenceMax.TotalSeconds:0.#} s");
        }
    }

    public ValueTask SendAsync(AgentMessage message, CancellationToken stop) => SendAsync(AgentProtocol.Encode(message), stop);

    public async ValueTask<AgentMessage?> ReceiveMessageAsync(CancellationToken stop) =>
        await ReceiveAsync(stop) is { } bytes ? AgentProtocol.Decode(bytes) : null;

    public async ValueTask DisposeAsync() => await stream.DisposeAsync();
}

public enum ChannelKind : byte { Data = 1, Control = 2 }

/// <summary>The first 8 bytes of every connection: "SRTC", version, kind, two zeroes.</summary>
public static class Preamble
{
    public const int Bytes = 8;
    private const byte Version = 1;

    public static byte[] Of(ChannelKind kind) => [(byte)'S', (byte)'R', (byte)'T', (byte)'C', Version, (byte)kind, 0, 0];

    /// <exception cref="InvalidDataException">The other end speaks something else, or another version.</exception>
    public static async ValueTask<ChannelKind> ReadAsync(Stream stream, CancellationToken stop)
    {
        var bytes = new byte[Bytes];
        await stream.ReadExactlyAsync(bytes, stop);
        if (!bytes.AsSpan(0, 4).SequenceEqual("SRTC"u8)) throw new InvalidDataException("not a SiteRecovery channel");
        if (bytes[4] != Version) throw new InvalidDataException($"channel version {bytes[4]} is not spoken here, only {Version}");
        return (ChannelKind)bytes[5] is ChannelKind.Data or ChannelKind.Control ? (ChannelKind)bytes[5] : throw new InvalidDataException("unknown kind of channel");
    }
}
