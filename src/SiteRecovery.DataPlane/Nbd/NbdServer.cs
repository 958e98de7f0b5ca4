using System.Collections.Concurrent;
using System.Net;
using System.Net.Security;
using System.Net.Sockets;
using System.Security.Authentication;
using System.Security.Cryptography.X509Certificates;
using SiteRecovery.DataPlane.Storage;
using SiteRecovery.DataPlane.Transport;

namespace SiteRecovery.DataPlane.Nbd;

/// <summary>Serves block devices over NBD on unix sockets and TCP; NBD.md says what it speaks.</summary>
public sealed class NbdServer(INbdExports exports, NbdServerOptions options, TimeProvider time) : IAsyncDisposable
{
    private static readonly TimeSpan AcceptPause = TimeSpan.FromMilliseconds(100);
    private readonly NbdServerOptions _options = options.Checked();
    private readonly ConcurrentDictionary<NbdConnection, bool> _connections = new();
    private readonly List<(Socket Listener, Task Accepting)> _listeners = [];
    private readonly CancellationTokenSource _stop = new();
    private readonly Places _handshakes = new(options.MaxTcpHandshakes);
    private int _connected, _onUnix, _onTcp;

    public int Connections => Volatile.Read(ref _connected);

    public int ConnectionsOf(string exportName) => _connections.Keys.Count(c => c.ExportName == exportName);

    /// <summary>Starts to listen, on as many endpoints as wanted; returns the endpoint bound (port 0 becomes the real port).</summary>
    /// <param name="tls">For this endpoint; null: what the server's options say.</param>
    /// <param name="refuses">For this endpoint, beside <paramref name="tls"/>: <see cref="NbdServerOptions.Refuses"/>.</param>
    /// <exception cref="IOException">The socket cannot be given to the group of the options.</exception>
    public EndPoint Listen(EndPoint endpoint, SslServerAuthenticationOptions? tls = null, Func<X509Certificate?, string?>? refuses = null)
    {
        ObjectDisposedException.ThrowIf(_stop.IsCancellationRequested, this);
        var listener = new Socket(endpoint.AddressFamily, SocketType.Stream, endpoint is UnixDomainSocketEndPoint ? ProtocolType.Unspecified : ProtocolType.Tcp);
        try
        {
            if (endpoint is UnixDomainSocketEndPoint) RemoveStale(endpoint);
            listener.Bind(endpoint);
            // Before it listens: from then on nobody of the group is turned away.
            if (endpoint is UnixDomainSocketEndPoint && _options.SocketGroup is { } group) Give(endpoint.ToString()!, group);
            listener.Listen(512);
        }
        catch
        {
            listener.Dispose();
            throw;
        }
        var bound = listener.LocalEndPoint!;
        lock (_listeners) _listeners.Add((listener, AcceptAsync(listener, tls is null ? _options : _options with { Tls = tls, Refuses = refuses })));
        return bound;
    }

    /// <summary>Where groups are looked up may lie at the other site: guests of this user's must not wait for it.</summary>
    private void Give(string path, string group)
    {
        try
        {
            UnixSocketPath.Give(path, group);
        }
        catch (Exception refused) when (refused is IOException or UnauthorizedAccessException && _options.NotGiven is not null)
        {
            _options.NotGiven(refused.Message);
        }
    }

    /// <summary>Cuts off every client of an export and waits until none of their requests is under way. Remove the export first.</summary>
    public async Task CloseConnectionsAsync(string exportName, CancellationToken stop)
    {
        var affected = _connections.Keys.Where(c => c.ExportName == exportName || c.ExportName is "").ToArray();
        foreach (var connection in affected) connection.Abort();
        await Task.WhenAll(affected.Select(c => c.Ended)).WaitAsync(stop).ConfigureAwait(false);
    }

    /// <summary>Stops listening, cuts off every client and waits for their requests.</summary>
    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync().ConfigureAwait(false);
        (Socket Listener, Task Accepting)[] listeners;
        lock (_listeners)
        {
            listeners = [.. _listeners];
            _listeners.Clear();
        }
        foreach (var (listener, accepting) in listeners)
        {
            listener.Dispose();
            await accepting.ConfigureAwait(false);
        }
        var connections = _connections.Keys.ToArray();
        foreach (var connection in connections) connection.Abort();
        await Task.WhenAll(connections.Select(c => c.Ended)).ConfigureAwait(false);
    }

    /// <summary>The connection broke, or what came over it made no sense.</summary>
    internal static bool IsClientGone(Exception exception) =>
        exception is IOException or SocketException or ObjectDisposedException or InvalidDataException or AuthenticationException or InvalidOperationException;

    private async Task AcceptAsync(Socket listener, NbdServerOptions options)
    {
        while (!_stop.IsCancellationRequested)
        {
            try
            {
                var socket = await listener.AcceptAsync(_stop.Token).ConfigureAwait(false);
                Take(socket, options);
            }
            catch (Exception stopped) when (stopped is OperationCanceledException or ObjectDisposedException || _stop.IsCancellationRequested)
            {
                return;
            }
            catch (Exception)
            {
                // Out of descriptors or threads: connections that end make room, so go on, but not in a tight loop.
                await Task.Delay(AcceptPause, time, CancellationToken.None).ConfigureAwait(false);
            }
        }
    }

    private void Take(Socket socket, NbdServerOptions options)
    {
        var isTcp = socket.ProtocolType == ProtocolType.Tcp;
        if (!isTcp && !TryCount(ref _onUnix, _options.MaxConnections))
        {
            socket.Dispose();
            return;
        }
        var shaking = isTcp ? _handshakes.Take(socket) : null;
        Interlocked.Increment(ref _connected);
        var connection = new NbdConnection(socket, exports, options);
        try
        {
            if (isTcp) Tune(socket);
            _connections[connection] = true;
            new Thread(() => Run(connection, shaking), 512 << 10) { IsBackground = true, Name = "nbd" }.Start();
        }
        catch
        {
            Leave(connection, shaking, opened: false);
            socket.Dispose();
            throw;
        }
    }

    /// <param name="shaking">Of a TCP connection: its place until it has opened an export.</param>
    private void Run(NbdConnection connection, LinkedListNode<Socket>? shaking)
    {
        var opened = false;
        try
        {
            connection.Run(time, () =>
            {
                if (shaking is null) return true;
                _handshakes.Free(shaking);
                return opened = TryCount(ref _onTcp, _options.MaxTcpConnections);
            });
        }
        finally
        {
            Leave(connection, shaking, opened);
        }
    }

    private void Leave(NbdConnection connection, LinkedListNode<Socket>? shaking, bool opened)
    {
        _connections.TryRemove(connection, out _);
        Interlocked.Decrement(ref _connected);
        if (shaking is null) Interlocked.Decrement(ref _onUnix);
        else _handshakes.Free(shaking);
        if (opened) Interlocked.Decrement(ref _onTcp);
    }

    private static bool TryCount(ref int count, int max)
    {
        if (Interlocked.Increment(ref count) <= max) return true;
        Interlocked.Decrement(ref count);
        return false;
    }

    private static void Tune(Socket socket)
    {
        socket.NoDelay = true;
        // A client that vanished without a word is found out in about a minute.
        socket.SetSocketOption(SocketOptionLevel.Socket, SocketOptionName.KeepAlive, true);
        socket.SetSocketOption(SocketOptionLevel.Tcp, SocketOptionName.TcpKeepAliveTime, 30);
        socket.SetSocketOption(SocketOptionLevel.Tcp, SocketOptionName.TcpKeepAliveInterval, 10);
        socket.SetSocketOption(SocketOptionLevel.Tcp, SocketOptionName.TcpKeepAliveRetryCount, 3);
    }

    /// <summary>A socket file that nobody listens on is left over from a crash.</summary>
    private static void RemoveStale(EndPoint endpoint)
    {
        var path = endpoint.ToString()!;
        if (path.StartsWith('@') || !RealFileSystem.Instance.Exists(path)) return;
        using var probe = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        try
        {
            probe.Connect(endpoint);
        }
        catch (SocketException refused) when (refused.SocketErrorCode == SocketError.ConnectionRefused)
        {
            RealFileSystem.Instance.Delete(path);
        }
    }
}
