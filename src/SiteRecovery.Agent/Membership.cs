using System.Net.Security;
using System.Net.Sockets;
using System.Security.Authentication;
using System.Security.Cryptography.X509Certificates;
using SiteRecovery.DataPlane.Transport;

namespace SiteRecovery.Agent;

/// <summary>
/// Whom this agent belongs to, and its way to the process servers. The disks need none of it: an agent whose identity cannot be read
/// serves them all the same, and asks for the identity again.
/// </summary>
public sealed class Membership(AgentOptions options, TimeProvider time) : IAgentHome, IDisposable
{
    private PeerIdentity? _identity;
    private volatile AgentHome? _home;
    private volatile Stream? _data;
    private volatile ProcessServerEndpoint? _speaker; // whose control channel is open, or was last
    private volatile TaskCompletionSource _admitted = New();
    private readonly TaskCompletionSource<PeerIdentity> _loaded = new(TaskCreationOptions.RunContinuationsAsynchronously);

    public string Instance { get; } = Guid.NewGuid().ToString("N");
    public bool IsKnown => _home is not null;
    public string Name => _home?.Name ?? options.Name;
    public string Site => _home?.Site ?? "unknown";

    public async Task LoadAsync(CancellationToken stop)
    {
        if (IsKnown) return;
        (_identity, _home) = await AgentIdentity.LoadOrJoinAsync(options, time, stop);
        _loaded.TrySetResult(_identity);
    }

    public string? Problem => _identity is { } own && own.HasEndedAt(time.GetUtcNow())
        ? $"this agent's certificate expired on {CertificateOutOfTimeException.Day(own.EndsAt)}: start the agent with --join URL and --token-file FILE (srctl agent join-token --name {own.Self.Name} makes a token); it keeps its name" : null;

    /// <summary>Keeps its certificate from running out, from when it has one until told to stop.</summary>
    public async Task RenewAsync(Action<string> say, CancellationToken stop)
    {
        var identity = await _loaded.Task.WaitAsync(stop);
        await new CertificateRenewal(AgentIdentity.FolderIn(options.DataFolder), identity, (request, cancel) => CertificateRenewal.AskAsync(identity, Servers(), request, cancel), time, say).RunAsync(() => { }, stop);
    }

    private IEnumerable<string> Servers() => (_home?.ConfigurationServers ?? []).Union(options.JoinUrl is { } joined ? [joined] : []);

    /// <summary>For hypervisors that open the disks from other hosts; null while the agent belongs nowhere.</summary>
    public SslServerAuthenticationOptions? ForServer() => _identity?.ForServer();

    /// <summary>Why who shows this certificate opens no disk over TLS; null: it may. The cluster's authority has signed for every agent and node, and most of them have no business with this one's disks.</summary>
    public string? WhyNoDisksFor(X509Certificate? certificate) => Peer.Of(certificate) switch
    {
        null => "a certificate of the cluster is needed here, which names an agent or a node",
        var peer when peer == _identity?.Self || options.NbdAllow?.Contains(EntryOf(peer)) == true => null,
        var peer => $"the disks of agent {Name} are not for '{peer.Name}': if they should be, start this agent with --nbd-allow {EntryOf(peer)}",
    };

    /// <summary>A name is an agent's: a node and an agent may have the same one, and a token for the one makes nobody the other.</summary>
    private static string EntryOf(Peer peer) => peer.Role == PeerRole.Node ? $"node:{peer.Name}" : peer.Name;

    public async Task RefreshAsync(CancellationToken stop)
    {
        if (_home is { } known) _home = await AgentIdentity.RefreshAsync(options.DataFolder, _identity!, known, stop);
    }

    public async ValueTask<ControlChannel> OpenControlAsync(CancellationToken stop)
    {
        var (stream, server) = await ConnectAsync(null, stop);
        _speaker = server;
        return await ControlChannel.OpenAsync(stream, null, stop);
    }

    private async ValueTask<(Stream Stream, ProcessServerEndpoint Server)> ConnectAsync(ProcessServerEndpoint? first, CancellationToken stop)
    {
        var home = _home ?? throw new IOException("the agent has no identity");
        Exception? last = null;
        foreach (var server in home.InTurn(first))
        {
            try
            {
                return (await ChannelConnector.ConnectAsync(server.Host, server.Port, _identity!.ForClient(server.Host), stop), server);
            }
            // Another program may answer at a former address, or nobody at all: the next one is asked.
            catch (Exception error) when (error is SocketException or IOException or AuthenticationException)
            {
                last = last as CertificateOutOfTimeException ?? error;
            }
        }
        throw new IOException($"none of the process servers of site {home.Site} answers{(last is CertificateOutOfTimeException told ? $": {told.Message}" : "")}", last);
    }

    /// <summary>
    /// For the machines' writes: waits until a process server has let this agent in, and goes to that one if it can: what it says of its spool is of what the agent sends. Of two agents with one
    /// identity, only one may write to the machines' histories.
    /// </summary>
    public async ValueTask<Stream> ConnectDataAsync(CancellationToken stop)
    {
        while (true)
        {
            await _admitted.Task.WaitAsync(stop);
            var (stream, _) = await ConnectAsync(_speaker, stop);
            _data = stream;
            if (_admitted.Task.IsCompleted) return stream;
            await stream.DisposeAsync();
        }
    }

    public void Admit() => _admitted.TrySetResult();

    public void Bar()
    {
        if (_admitted.Task.IsCompleted) _admitted = New();
        _data?.Dispose();
    }

    private static TaskCompletionSource New() => new(TaskCreationOptions.RunContinuationsAsynchronously);

    public void Dispose() => _identity?.Dispose();
}
