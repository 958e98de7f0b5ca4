using System.Net;
using System.Net.Sockets;
using SiteRecovery.Node.Settings;

namespace SiteRecovery.Node.Hosting;

/// <summary>Turns port 0 into a port: the former one where it is free, so that a restart keeps its addresses, otherwise any.</summary>
public static class FreePorts
{
    public static NodePorts Resolve(NodePorts asked, string address, NodeEndpoints? former)
    {
        var bind = IPAddress.TryParse(address, out var ip) ? ip : IPAddress.Any;
        var held = new List<TcpListener>();
        try
        {
            return new NodePorts(
                One(asked.Http, former?.Http), One(asked.Cluster, former?.Cluster), One(asked.Data, former?.Data), One(asked.Agent, former?.Agent));
        }
        finally
        {
            foreach (var listener in held) listener.Stop();
        }

        int One(int port, int? before)
        {
            if (port != 0) return port;
            var listener = (before is { } known ? TryListen(known) : null) ?? TryListen(0)!;
            held.Add(listener); // until all four are known, so that none is given out twice
            return ((IPEndPoint)listener.LocalEndpoint).Port;
        }

        TcpListener? TryListen(int port)
        {
            var listener = new TcpListener(bind, port);
            try
            {
                listener.Start();
                return listener;
            }
            catch (SocketException) when (port != 0)
            {
                return null;
            }
        }
    }
}
