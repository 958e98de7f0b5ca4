using System.Net;
using System.Net.Security;
using System.Net.Sockets;

namespace SiteRecovery.DataPlane.Transport;

/// <summary>The port of the data plane: TLS, then the preamble says whether data or control follows.</summary>
public sealed class ChannelListener(IPEndPoint at, SslServerAuthenticationOptions tls, ChannelOptions options,
    Func<Stream, Peer, CancellationToken, Task> onData, Func<ControlChannel, CancellationToken, Task> onControl) : IAsyncDisposable
{
    private static readonly TimeSpan AcceptPause = TimeSpan.FromMilliseconds(100);
    private readonly TcpListener _listener = new(at);
    private readonly Places _handshakes = new(options.HandshakesMax);
    private readonly PeerPlaces _peers = new(options.ConnectionsPerPeerMax);
    private readonly CancellationTokenSource _stop = new();
    private readonly SemaphoreSlim _room = new(4096, 4096);
    private Task _accepting = Task.CompletedTask;

    public IPEndPoint Endpoint => (IPEndPoint)_listener.LocalEndpoint;

    public void Start()
    {
        _listener.Start(512);
        _accepting = AcceptAsync();
    }

    private async Task AcceptAsync()
    {
        while (!_stop.IsCancellationRequested)
        {
            try
            {
                await _room.WaitAsync(_stop.Token);
                _ = ServeAsync(await AcceptSocketAsync());
            }
            catch (OperationCanceledException) { return; }
        }
    }

    private async Task<Socket> AcceptSocketAsync()
    {
        while (true)
            try
            {
                return await _listener.AcceptSocketAsync(_stop.Token);
            }
            catch (SocketException)
            {
                // Out of descriptors: connections that end make room, so go on, but not in a tight loop.
                await Task.Delay(AcceptPause, options.Time, _stop.Token);
            }
    }

    private async Task ServeAsync(Socket socket)
    {
        var shaking = _handshakes.Take(socket);
        await Task.Yield(); // the next one is accepted meanwhile
        try
        {
            // Each try of one that is refused comes from another port, and would be news to it each time.
            var origin = socket.RemoteEndPoint is IPEndPoint from ? $"{(from.Address.IsIPv4MappedToIPv6 ? from.Address.MapToIPv4() : from.Address)}" : null;
            socket.NoDelay = true;
            var records = new RecordStream(socket, isTrusted: false);
            await using var stream = new SslStream(records);
            using var handshake = CancellationTokenSource.CreateLinkedTokenSource(_stop.Token);
            handshake.CancelAfter(options.HandshakeTimeout);
            await stream.AuthenticateAsServerAsync(tls, handshake.Token);
            if (Peer.Of(stream.RemoteCertificate) is not { } peer) return;
            var kind = await Preamble.ReadAsync(stream, handshake.Token);
            using var place = _peers.Take(peer, socket);
            _handshakes.Free(shaking);
            records.Widen();
            if (kind == ChannelKind.Data) await onData(stream, peer, _stop.Token);
            else await onControl(new ControlChannel(stream, peer, origin), _stop.Token);
        }
        catch (Exception)
        {
            // A peer that breaks its connection harms nobody else; the rooms behind it have learned why themselves.
        }
        finally
        {
            _handshakes.Free(shaking);
            socket.Dispose();
            _room.Release();
        }
    }

    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        _listener.Stop();
        await _accepting;
    }
}

public static class ChannelConnector
{
    /// <summary>Connects and shakes hands; the stream's other end is a node of the authority.</summary>
    /// <param name="options">Its handshake timeout covers the connecting too: a dead line answers nothing, for minutes if it is let.</param>
    /// <exception cref="IOException">Nobody answered in time.</exception>
    public static async ValueTask<SslStream> ConnectAsync(string host, int port, SslClientAuthenticationOptions tls, CancellationToken stop, ChannelOptions? options = null)
    {
        options ??= new ChannelOptions();
        using var late = new CancellationTokenSource(options.HandshakeTimeout, options.Time);
        using var either = CancellationTokenSource.CreateLinkedTokenSource(late.Token, stop);
        try
        {
            return await ShakeHandsAsync(host, port, tls, either.Token);
        }
        catch (OperationCanceledException) when (late.IsCancellationRequested && !stop.IsCancellationRequested)
        {
            throw new IOException($"{host}:{port} did not answer within {options.HandshakeTimeout.TotalSeconds:0.#} s");
        }
    }

    private static async ValueTask<SslStream> ShakeHandsAsync(string host, int port, SslClientAuthenticationOptions tls, CancellationToken stop)
    {
        var socket = new Socket(SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
        SslStream? stream = null;
        try
        {
            await socket.ConnectAsync(host, port, stop);
            stream = new SslStream(new RecordStream(socket));
            await stream.AuthenticateAsClientAsync(tls, stop);
            return stream;
        }
        catch
        {
            if (stream is not null) await stream.DisposeAsync();
            socket.Dispose();
            throw;
        }
    }
}
