using System.Collections.Concurrent;
using System.Threading.Channels;
using SiteRecovery.DataPlane.Transport;

namespace SiteRecovery.DataPlane.ProcessServer;

/// <summary>What happens with the agents of a process server.</summary>
public abstract record AgentEvent(string Agent);
public sealed record AgentConnected(string Agent, string Version, IReadOnlyList<string> Machines) : AgentEvent(Agent);
public sealed record AgentSaid(string Agent, AgentMessage Message) : AgentEvent(Agent)
{
    internal SemaphoreSlim? Room { private get; init; }

    /// <summary>To be called once, when nobody waits for the message any more: only so many of an agent's may wait.</summary>
    public void Heard() => Room?.Release();
}

public sealed record AgentGone(string Agent, string Reason) : AgentEvent(Agent);

/// <summary>A second agent of the same identity was turned away; the first one's session goes on.</summary>
public sealed record AgentRefused(string Agent, string Reason) : AgentEvent(Agent);

/// <summary>The control channels of connected agents, one per agent. They outlive whoever listens to them.</summary>
public sealed class AgentSessions(TimeProvider time)
{
    private const int OutgoingMax = 1024;
    /// <summary>An agent tells its status twice a second.</summary>
    private static readonly TimeSpan SilenceMax = TimeSpan.FromSeconds(20);
    /// <summary>For so long a session keeps its name from another process; a host that died without a word comes back later than this.</summary>
    private static readonly TimeSpan ConflictSilence = TimeSpan.FromSeconds(3);
    private static readonly TimeSpan FarewellMax = TimeSpan.FromSeconds(5);
    /// <summary>How many messages of one agent may wait until somebody hears them; each may have a megabyte. What comes beyond stays with the agent.</summary>
    public const int UnheardMax = 16;
    /// <summary>Whoever should hear may be gone, and be there again in a minute: the session goes on meanwhile, and what was said is said again.</summary>
    private static readonly TimeSpan RoomWithin = TimeSpan.FromSeconds(1);
    private readonly ConcurrentDictionary<string, Session> _sessions = new(StringComparer.Ordinal);
    private readonly Lock _admitting = new();
    private volatile Action<AgentEvent>? _listener;

    private sealed class Session(AgentHello hello, string origin, CancellationTokenSource over, long heard)
    {
        public Channel<AgentMessage> Outgoing { get; } = Channel.CreateBounded<AgentMessage>(new BoundedChannelOptions(OutgoingMax) { SingleReader = true });
        public CancellationTokenSource Over => over;
        public string Origin => origin;
        public string Instance => hello.Instance;
        public AgentConnected Hello { get; } = new(hello.Name, hello.Version, hello.Machines);
        public long Heard = heard;
        public volatile SemaphoreSlim Room = new(UnheardMax);
        /// <summary>What nobody has given a place back of for too long; of whoever reads alone.</summary>
        public SemaphoreSlim? Unheard;
    }

    /// <summary>Hears of everything from now on, and at once of every agent that is connected. Replaces the one before.</summary>
    public void Listen(Action<AgentEvent> listener)
    {
        _listener = listener;
        foreach (var session in _sessions.Values)
        {
            session.Room = new(UnheardMax); // what waited for the one before is gone with it
            listener(session.Hello);
        }
    }

    public IReadOnlyCollection<string> Connected => [.. _sessions.Keys.Order(StringComparer.Ordinal)];

    /// <summary>False where the agent is not connected. An agent that does not read what it is told loses its session.</summary>
    public bool TrySend(string agent, AgentMessage message)
    {
        if (!_sessions.TryGetValue(agent, out var session)) return false;
        if (session.Outgoing.Writer.TryWrite(message)) return true;
        // While it has its name it is not disposed of: it may have ended meanwhile.
        lock (_admitting)
            if (_sessions.GetValueOrDefault(agent) == session) _ = session.Over.CancelAsync();
        return false;
    }

    /// <summary>
    /// Serves one control channel until it ends. A newer one of the same process takes over, and one of another process when the former
    /// has fallen silent: two agents of one identity would take the name from each other for ever.
    /// </summary>
    public async Task RunAsync(ControlChannel channel, CancellationToken stop)
    {
        if (await channel.ReceiveMessageAsync(SilenceMax, time, stop).ConfigureAwait(false) is not AgentHello hello) return;
        if (channel.Peer is not { Role: PeerRole.Agent } peer || peer.Name != hello.Name) return; // the certificate says who it is
        using var over = CancellationTokenSource.CreateLinkedTokenSource(stop);
        var session = new Session(hello, channel.Origin, over, time.GetTimestamp());
        if (Admit(session) is { } refusal)
        {
            await RefuseAsync(channel, refusal, stop).ConfigureAwait(false);
            return;
        }
        _listener?.Invoke(session.Hello);
        var reason = "the agent closed the connection";
        try
        {
            await await Task.WhenAny(ReceiveAsync(channel, session, over.Token), SendAsync(channel, session.Outgoing.Reader, over.Token)).ConfigureAwait(false);
        }
        catch (Exception ended) when (ended is IOException or InvalidDataException or OperationCanceledException)
        {
            reason = ended.Message;
        }
        finally
        {
            await over.CancelAsync().ConfigureAwait(false);
            session.Outgoing.Writer.TryComplete();
            bool isLast;
            lock (_admitting) isLast = _sessions.TryRemove(new KeyValuePair<string, Session>(hello.Name, session));
            if (isLast) _listener?.Invoke(new AgentGone(hello.Name, reason));
        }
    }

    /// <summary>Null: the session has the name from now on.</summary>
    private HelloRefused? Admit(Session session)
    {
        var name = session.Hello.Agent;
        lock (_admitting)
        {
            if (_sessions.TryGetValue(name, out var former))
            {
                if (former.Instance != session.Instance && time.GetElapsedTime(Volatile.Read(ref former.Heard)) < ConflictSilence)
                    return new HelloRefused($"two agents bear the identity '{name}': one is connected from {former.Origin}, and {session.Origin} is refused; stop one of them, or give it an identity of its own (an empty --data folder and a new join token)");
                _ = former.Over.CancelAsync();
            }
            _sessions[name] = session;
            return null;
        }
    }

    /// <summary>What it has said meanwhile is read too, as a connection that is closed over unread bytes takes back what was sent last.</summary>
    private async Task RefuseAsync(ControlChannel channel, HelloRefused refusal, CancellationToken stop)
    {
        _listener?.Invoke(new AgentRefused(channel.Peer!.Name, refusal.Reason));
        using var late = new CancellationTokenSource(FarewellMax, time);
        using var either = CancellationTokenSource.CreateLinkedTokenSource(late.Token, stop);
        await channel.SendAsync(refusal, either.Token).ConfigureAwait(false);
        while (await channel.ReceiveAsync(either.Token).ConfigureAwait(false) is not null) { }
    }

    private async Task ReceiveAsync(ControlChannel channel, Session session, CancellationToken stop)
    {
        while (await channel.ReceiveMessageAsync(SilenceMax, time, stop).ConfigureAwait(false) is { } message)
        {
            Volatile.Write(ref session.Heard, time.GetTimestamp());
            if (message is AgentStatus) session.Outgoing.Writer.TryWrite(new StatusHeard());
            if (await RoomAsync(session, message is AgentStatus, stop).ConfigureAwait(false) is { } room) _listener?.Invoke(new AgentSaid(session.Hello.Agent, message) { Room = room });
        }
    }

    /// <summary>Null: nobody has heard anything for too long, and this message is passed over, as the next one says it again.</summary>
    /// <exception cref="IOException">The same, and no other message says it: what the answer is to is asked for again once the agent has connected again.</exception>
    private async ValueTask<SemaphoreSlim?> RoomAsync(Session session, bool isSaidAgain, CancellationToken stop)
    {
        var room = session.Room;
        if (room.Wait(0, CancellationToken.None))
        {
            session.Unheard = null;
            return room;
        }
        // Waited for once: the agent is heard in time while nobody is there to take it.
        if (isSaidAgain && session.Unheard == room) return null;
        using var late = new CancellationTokenSource(RoomWithin, time);
        using var either = CancellationTokenSource.CreateLinkedTokenSource(late.Token, stop);
        try
        {
            await room.WaitAsync(either.Token).ConfigureAwait(false);
            return room;
        }
        catch (OperationCanceledException) when (!stop.IsCancellationRequested)
        {
            if (session.Room is var now && now != room && now.Wait(0, CancellationToken.None)) return now;
            session.Unheard = room;
            return isSaidAgain ? null : throw new IOException("nobody takes what the agent says: too much of it waits already");
        }
    }

    private static async Task SendAsync(ControlChannel channel, ChannelReader<AgentMessage> outgoing, CancellationToken stop)
    {
        await foreach (var message in outgoing.ReadAllAsync(stop).ConfigureAwait(false)) await channel.SendAsync(message, stop).ConfigureAwait(false);
    }
}
