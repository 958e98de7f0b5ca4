using System.Net;
using System.Net.Sockets;
using SiteRecovery.Node.Settings;

namespace SiteRecovery.Node.Hosting;

/// <summary>
/// A node's ports. Port 0 becomes the former one where that is free, so that a restart keeps its addresses, otherwise any. All are held until disposal, each by a
/// socket that is bound and does not listen. Who asks for it by its number, as we do, can listen beside that; the kernel gives it neither to an outgoing connection
/// nor to anybody who asks for any. Ports are announced seconds before the last of them is listened on.
/// </summary>
public sealed class HeldPorts : IDisposable
{
    private readonly List<Socket> _held = [];
    private readonly IPAddress _bind;
    private readonly IReadOnlySet<string>? _used;

    /// <param name="address">An IP address.</param>
    /// <param name="used">By their names, the ports that the node listens on: one with a number that it does not is anybody's; null: all.</param>
    /// <exception cref="IOException">A port is in use, or the address is not this host's: which one, and what sets it.</exception>
    public HeldPorts(NodePorts asked, string address, NodeEndpoints? former, IReadOnlySet<string>? used = null)
    {
        _used = used;
        _bind = IPAddress.Parse(address);
        try
        {
            Ports = new NodePorts(One("http", asked.Http, former?.Http), One("cluster", asked.Cluster, former?.Cluster), One("data", asked.Data, former?.Data), One("agent", asked.Agent, former?.Agent));
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    public NodePorts Ports { get; }

    private int One(string name, int port, int? before)
    {
        if (port != 0 && _used?.Contains(name) == false) return port;
        var socket = (port == 0 && before is { } known ? TryHold(known) : null) ?? Hold(name, port);
        _held.Add(socket);
        return ((IPEndPoint)socket.LocalEndPoint!).Port;
    }

    private Socket? TryHold(int port)
    {
        try
        {
            return Bound(port);
        }
        catch (SocketException)
        {
            return null;
        }
    }

    private Socket Hold(string name, int port)
    {
        try
        {
            return Bound(port);
        }
        catch (SocketException failure)
        {
            throw new IOException(failure.SocketErrorCode switch
            {
                SocketError.AddressAlreadyInUse => $"port {port} of {_bind} is in use by another process: stop that one, or give this node another with --{name}-port (siterecovery.ports.{name})",
                SocketError.AddressNotAvailable => $"{_bind} is no address of this host: give --address (siterecovery.node.address) one that is, and where others reach the node by another one, that as siterecovery.advertised.address",
                _ => $"port {port} of {_bind} (--{name}-port, siterecovery.ports.{name}) cannot be had: {failure.Message}",
            }, failure);
        }
    }

    private Socket Bound(int port)
    {
        var socket = new Socket(_bind.AddressFamily, SocketType.Stream, ProtocolType.Tcp);
        try
        {
            socket.Bind(new IPEndPoint(_bind, port));
            return socket;
        }
        catch
        {
            socket.Dispose();
            throw;
        }
    }

    public void Dispose()
    {
        foreach (var socket in _held) socket.Dispose();
    }
}
