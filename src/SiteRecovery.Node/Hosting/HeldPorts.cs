using System.Net;
using System.Net.Sockets;
using SiteRecovery.Node.Settings;

namespace SiteRecovery.Node.Hosting;

/// <summary>
/// A node's ports. Port 0 becomes the former one where that is free, so that a restart keeps its addresses, otherwise any; such a port is held until disposal, by a
/// socket that is bound and does not listen. Who asks for it by its number, as we do, can listen beside that; the kernel gives it neither to an outgoing connection
/// nor to anybody who asks for any. Ports are announced seconds before the last of them is listened on.
/// </summary>
public sealed class HeldPorts : IDisposable
{
    private readonly List<Socket> _held = [];
    private readonly IPAddress _bind;

    /// <param name="address">An IP address.</param>
    /// <exception cref="SocketException">The address is not this host's, or no port is left.</exception>
    public HeldPorts(NodePorts asked, string address, NodeEndpoints? former)
    {
        _bind = IPAddress.Parse(address);
        try
        {
            Ports = new NodePorts(One(asked.Http, former?.Http), One(asked.Cluster, former?.Cluster), One(asked.Data, former?.Data), One(asked.Agent, former?.Agent));
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    public NodePorts Ports { get; }

    private int One(int port, int? before)
    {
        if (port != 0) return port;
        var socket = (before is { } known ? TryHold(known) : null) ?? TryHold(0)!;
        _held.Add(socket);
        return ((IPEndPoint)socket.LocalEndPoint!).Port;
    }

    private Socket? TryHold(int port)
    {
        var socket = new Socket(_bind.AddressFamily, SocketType.Stream, ProtocolType.Tcp);
        try
        {
            socket.Bind(new IPEndPoint(_bind, port));
            return socket;
        }
        catch (SocketException)
        {
            socket.Dispose();
            if (port == 0) throw;
            return null;
        }
    }

    public void Dispose()
    {
        foreach (var socket in _held) socket.Dispose();
    }
}
