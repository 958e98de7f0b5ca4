using System.Net;
using System.Net.Sockets;
using SiteRecovery.Node.Hosting;
using SiteRecovery.Node.Settings;

namespace SiteRecovery.EndToEnd.InProcess;

/// <summary>A node announces its ports before it listens on all of them: until then they are nobody else's.</summary>
public sealed class HeldPortsTests
{
    private static readonly NodePorts Any = new(0, 0, 0, 0);

    [Fact]
    public void What_was_found_free_stays_free_for_us_only()
    {
        using var held = new HeldPorts(Any, "127.0.0.1", null);
        foreach (var port in Of(held.Ports))
        {
            // The kernel gives none away that cannot be had for oneself.
            Assert.False(CanBeHadAlone(port));
            using var ours = new TcpListener(IPAddress.Loopback, port);
            ours.Start();
        }
        Assert.Equal(4, Of(held.Ports).Distinct().Count());
        held.Dispose();
        Assert.All(Of(held.Ports), port => Assert.True(CanBeHadAlone(port)));
    }

    [Fact]
    public void A_former_port_is_kept_unless_another_listens_there()
    {
        NodePorts first;
        using (var held = new HeldPorts(Any, "127.0.0.1", null)) first = held.Ports;
        using var other = new TcpListener(IPAddress.Loopback, first.Data);
        other.Start();
        using var again = new HeldPorts(Any with { Agent = 1 }, "127.0.0.1", new NodeEndpoints("https://unused", "127.0.0.1", first.Http, first.Cluster, first.Data, first.Agent));
        Assert.Equal((first.Http, first.Cluster, 1), (again.Ports.Http, again.Ports.Cluster, again.Ports.Agent));
        Assert.NotEqual(first.Data, again.Ports.Data);
    }

    [Fact]
    public void A_port_that_is_asked_for_and_in_use_is_named_with_what_sets_it()
    {
        using var other = new TcpListener(IPAddress.Loopback, 0);
        other.Start();
        var port = ((IPEndPoint)other.LocalEndpoint).Port;
        var refused = Assert.Throws<IOException>(() => new HeldPorts(Any with { Cluster = port }, "127.0.0.1", null));
        Assert.StartsWith($"port {port} of 127.0.0.1 is in use by another process", refused.Message, StringComparison.Ordinal);
        Assert.Contains("--cluster-port (siterecovery.ports.cluster)", refused.Message, StringComparison.Ordinal);
        // An address for documentation.
        Assert.StartsWith("203.0.113.77 is no address of this host", Assert.Throws<IOException>(() => new HeldPorts(Any, "203.0.113.77", null)).Message, StringComparison.Ordinal);
    }

    private static int[] Of(NodePorts ports) => [ports.Http, ports.Cluster, ports.Data, ports.Agent];

    /// <summary>Named TCP, a socket would be bound beside another that does not listen.</summary>
    private static bool CanBeHadAlone(int port)
    {
        using var socket = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Unspecified);
        try
        {
            socket.Bind(new IPEndPoint(IPAddress.Loopback, port));
            return true;
        }
        catch (SocketException)
        {
            return false;
        }
    }

    /// <summary>Two nodes of one host may share the default ports of what only one of them does.</summary>
    [Fact]
    public void A_port_that_the_node_does_not_listen_on_is_anybodys()
    {
        using var other = new TcpListener(IPAddress.Loopback, 0);
        other.Start();
        var port = ((IPEndPoint)other.LocalEndpoint).Port;
        using var held = new HeldPorts(Any with { Data = port }, "127.0.0.1", null, new HashSet<string> { "http", "cluster" });
        Assert.Equal(port, held.Ports.Data);
        Assert.Throws<IOException>(() => new HeldPorts(Any with { Data = port }, "127.0.0.1", null, new HashSet<string> { "http", "cluster", "data" }));
    }
}
