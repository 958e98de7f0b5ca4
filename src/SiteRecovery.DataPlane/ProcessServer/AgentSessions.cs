using System.Collections.Concurrent;
using System.Threading.Channels;
using SiteRecovery.DataPlane.Transport;

namespace SiteRecovery.DataPlane.ProcessServer;

/// <summary>What happens with the agents of a process server.</summary>
public abstract record AgentEvent(string Agent);
public sealed record AgentConnected(string Agent, string Version, IReadOnlyList<string> Machines) : AgentEvent(Agent);
public sealed record AgentSaid(string Agent, AgentMessage Message) : AgentEvent(Agent);
public sealed record AgentGone(string Agent, string Reason) : AgentEvent(Agent);

/// <summary>The control channels of connected agents, one per agent. They outlive whoever listens to them.</summary>
public sealed class AgentSessions(TimeProvider time)
{
    private const int OutgoingMax = 1024;
    /// <summary>An agent tells its status twice a second.</summary>
    private static readonly TimeSpan SilenceMax = TimeSpan.FromSeconds(20);
    private readonly ConcurrentDictionary<string, Session> _sessions = new(StringComparer.Ordinal);
    private volatile Action<AgentEvent>? _listener;

    private sealed record Session(Channel<AgentMessage> Outgoing, CancellationTokenSource Over, AgentConnected Hello);

    /// <summary>Hears of everything from now on, and at once of every agent that is connected. Replaces the one before.</summary>
    public void Listen(Action<AgentEvent> listener)
    {
        _listener = listener;
        foreach (var session in _sessions.Values) listener(session.Hello);
    }

    public IReadOnlyCollection<string> Connected => [.. _sessions.Keys.Order(StringComparer.Ordinal)];

    /// <summary>False where the agent is not connected. An agent that does not read what it is told loses its session.</summary>
    public bool TrySend(string agent, AgentMessage message)
    {
        if (!_sessions.TryGetValue(agent, out var session)) return false;
        if (session.Outgoing.Writer.TryWrite(message)) return true;
        session.Over.Cancel();
        return false;
    }

    /// <summary>Serves one control channel until it ends. A newer one of the same agent takes over.</summary>
    public async Task RunAsync(ControlChannel channel, CancellationToken stop)
    {
        if (await channel.ReceiveMessageAsync(stop).ConfigureAwait(false) is not AgentHello hello) return;
        if (channel.Peer is not { Role: PeerRole.Agent } peer || peer.Name != hello.Name) return; // the certificate says who it is
        using var over = CancellationTokenSource.CreateLinkedTokenSource(stop);
        var outgoing = Channel.CreateBounded<AgentMessage>(new BoundedChannelOptions(OutgoingMax) { SingleReader = true });
        var session = new Session(outgoing, over, new AgentConnected(hello.Name, hello.Version, hello.Machines));
        if (_sessions.TryRemove(hello.Name, out var former)) await former.Over.CancelAsync().ConfigureAwait(false);
        _sessions[hello.Name] = session;
        _listener?.Invoke(session.Hello);
        var reason = "the agent closed the connection";
        try
        {
            await await Task.WhenAny(ReceiveAsync(channel, session, over.Token), SendAsync(channel, outgoing.Reader, over.Token)).ConfigureAwait(false);
        }
        catch (Exception ended) when (ended is IOException or InvalidDataException or OperationCanceledException)
        {
            reason = ended.Message;
        }
        finally
        {
            await over.CancelAsync().ConfigureAwait(false);
            outgoing.Writer.TryComplete();
            if (_sessions.TryRemove(new KeyValuePair<string, Session>(hello.Name, session))) _listener?.Invoke(new AgentGone(hello.Name, reason));
        }
    }

    private async Task ReceiveAsync(ControlChannel channel, Session session, CancellationToken stop)
    {
        while (await channel.ReceiveMessageAsync(SilenceMax, time, stop).ConfigureAwait(false) is { } message)
        {
            if (message is AgentStatus) session.Outgoing.Writer.TryWrite(new StatusHeard());
            _listener?.Invoke(new AgentSaid(session.Hello.Agent, message));
        }
    }

    private static async Task SendAsync(ControlChannel channel, ChannelReader<AgentMessage> outgoing, CancellationToken stop)
    {
        await foreach (var message in outgoing.ReadAllAsync(stop).ConfigureAwait(false)) await channel.SendAsync(message, stop).ConfigureAwait(false);
    }
}
