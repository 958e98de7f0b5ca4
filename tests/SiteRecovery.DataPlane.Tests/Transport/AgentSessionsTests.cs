using System.IO.Pipelines;
using SiteRecovery.DataPlane.ProcessServer;
using SiteRecovery.DataPlane.Transport;

namespace SiteRecovery.DataPlane.Tests.Transport;

/// <summary>One session for each agent, whoever else claims to be it.</summary>
public sealed class AgentSessionsTests : IDisposable
{
    private readonly CancellationTokenSource _patience = new(TimeSpan.FromSeconds(20));
    private readonly SetClock _clock = new();
    private readonly List<AgentEvent> _events = [];
    private readonly AgentSessions _sessions;

    public AgentSessionsTests()
    {
        _sessions = new AgentSessions(_clock);
        _sessions.Listen(happened => { lock (_events) _events.Add(happened); });
    }

    private CancellationToken Stop => _patience.Token;

    [Fact]
    public async Task A_second_agent_of_the_same_identity_is_refused_and_the_first_goes_on()
    {
        var (first, _) = Connect("10.0.0.1:5");
        await HelloAsync(first, "a");
        var (second, served) = Connect("10.0.0.2:7");
        await second.SendAsync(new AgentHello("agent-1", "1", [], "b"), Stop);
        var refused = Assert.IsType<HelloRefused>(await second.ReceiveMessageAsync(Stop));
        Assert.Contains("'agent-1'", refused.Reason, StringComparison.Ordinal);
        Assert.Contains("10.0.0.1:5", refused.Reason, StringComparison.Ordinal);
        Assert.Contains("10.0.0.2:7", refused.Reason, StringComparison.Ordinal);
        await second.DisposeAsync();
        await served;
        await HeardAsync(first);
        lock (_events) Assert.Equal(["AgentConnected", "AgentRefused"], _events.Where(e => e is not AgentSaid).Select(e => e.GetType().Name));
    }

    [Fact]
    public async Task A_session_that_has_fallen_silent_gives_its_name_to_the_agents_next_process()
    {
        var (first, served) = Connect("10.0.0.1:5");
        await HelloAsync(first, "a");
        _clock.Now += TimeSpan.FromSeconds(4);
        var (second, _) = Connect("10.0.0.1:9");
        await HelloAsync(second, "b");
        await served;
        lock (_events) Assert.DoesNotContain(_events, e => e is AgentRefused or AgentGone);
    }

    [Fact]
    public async Task A_process_that_connects_again_takes_over_at_once()
    {
        var (first, served) = Connect("10.0.0.1:5");
        await HelloAsync(first, "a");
        var (second, _) = Connect("10.0.0.1:9");
        await HelloAsync(second, "a");
        await served;
        await HeardAsync(second);
    }

    [Fact]
    public async Task Who_does_not_say_who_it_is_is_given_up()
    {
        var (_, served) = Connect("10.0.0.1:5");
        _clock.Elapse();
        var problem = await Assert.ThrowsAsync<IOException>(() => served.WaitAsync(Stop));
        Assert.Contains("nothing was heard", problem.Message, StringComparison.Ordinal);
    }

    /// <summary>Many tell it something at once; only one of them finds that it no longer reads, the others that it is gone.</summary>
    [Fact]
    public async Task An_agent_that_does_not_read_what_it_is_told_loses_its_session_and_nobody_who_tells_it_fails()
    {
        for (var round = 0; round < 40; round++)
        {
            var (agent, served) = Connect("10.0.0.1:5");
            await HelloAsync(agent, "a");
            var telling = Enumerable.Range(0, 6).Select(_ => Task.Factory.StartNew(() =>
            {
                while (_sessions.TrySend("agent-1", new ListDisks("1"))) { }
                // As long as it is not gone.
                while (_sessions.Connected.Count > 0) _sessions.TrySend("agent-1", new ListDisks("1"));
            }, Stop, TaskCreationOptions.LongRunning, TaskScheduler.Default)).ToArray();
            await Task.WhenAll(telling).WaitAsync(Stop);
            await served.WaitAsync(Stop);
        }
    }

    /// <summary>A message may have a megabyte, and an agent may be anybody's by now.</summary>
    [Fact]
    public async Task What_nobody_hears_waits_with_the_agent_and_what_waits_for_too_long_is_passed_over()
    {
        var (agent, _) = Connect("10.0.0.1:5");
        await HelloAsync(agent, "a");
        for (var i = 1; i <= AgentSessions.UnheardMax; i++) await HeardAsync(agent); // the last one is answered, and waits
        Assert.Equal(AgentSessions.UnheardMax, Said().Length);

        Said()[0].Heard();
        await UntilAsync(() => Said().Length == AgentSessions.UnheardMax + 1);
        await HeardAsync(agent);
        await agent.SendAsync(new AgentStatus(DateTimeOffset.UnixEpoch.AddDays(1), []), Stop);
        var answer = agent.ReceiveMessageAsync(Stop).AsTask();
        // Whoever should hear is gone: the session goes on all the same.
        await UntilAsync(() =>
        {
            _clock.Elapse(Short);
            return answer.IsCompleted;
        });
        Assert.Equal(new StatusHeard(), await answer);
        Assert.Equal(AgentSessions.UnheardMax + 1, Said().Length);

        // Whoever is there next hears of it at once, however much the one before has left.
        var heard = new List<AgentEvent>();
        _sessions.Listen(happened => { lock (heard) heard.Add(happened); });
        await agent.SendAsync(new AgentStatus(DateTimeOffset.UnixEpoch.AddDays(2), []), Stop);
        await UntilAsync(() =>
        {
            _clock.Elapse(Short); // for the one that may wait for the former's room
            lock (heard) return heard.Any(e => e is AgentSaid { Message: AgentStatus { Time.Day: 3 } });
        });
    }

    /// <summary>One part of a tail that is missing would be missing unseen.</summary>
    [Fact]
    public async Task An_answer_that_nobody_hears_ends_the_session_so_that_it_is_asked_for_again()
    {
        var (agent, served) = Connect("10.0.0.1:5");
        await HelloAsync(agent, "a");
        for (var i = 1; i < AgentSessions.UnheardMax; i++) await HeardAsync(agent);
        await agent.SendAsync(new CommandDone("1", null), Stop);
        await UntilAsync(() =>
        {
            _clock.Elapse(Short);
            return served.IsCompleted;
        });
        await served;
        lock (_events) Assert.IsType<AgentGone>(_events[^1]);
        Assert.DoesNotContain(Said(), s => s.Message is CommandDone);
    }

    private static TimeSpan Short => TimeSpan.FromSeconds(2);

    private AgentSaid[] Said()
    {
        lock (_events) return [.. _events.OfType<AgentSaid>()];
    }

    private async Task UntilAsync(Func<bool> isSo)
    {
        while (!isSo())
        {
            Stop.ThrowIfCancellationRequested();
            await Task.Yield();
        }
    }

    private (ControlChannel Agent, Task Served) Connect(string origin)
    {
        var (up, down) = (new Pipe(), new Pipe());
        var server = new ControlChannel(new TwoWay(up.Reader.AsStream(), down.Writer.AsStream()), new Peer("agent-1", PeerRole.Agent), origin);
        return (new ControlChannel(new TwoWay(down.Reader.AsStream(), up.Writer.AsStream())), _sessions.RunAsync(server, Stop));
    }

    private async Task HelloAsync(ControlChannel agent, string instance)
    {
        await agent.SendAsync(new AgentHello("agent-1", "1", [], instance), Stop);
        await HeardAsync(agent);
    }

    private async Task HeardAsync(ControlChannel agent)
    {
        await agent.SendAsync(new AgentStatus(DateTimeOffset.UnixEpoch, []), Stop);
        Assert.Equal(new StatusHeard(), await agent.ReceiveMessageAsync(Stop));
    }

    public void Dispose() => _patience.Dispose();

    /// <summary>Stands still until it is set; its timers run out together.</summary>
    private sealed class SetClock : TimeProvider
    {
        private readonly List<(TimerCallback Callback, object? State, TimeSpan Due)> _timers = [];

        public TimeSpan Now { get; set; }
        public override long TimestampFrequency => TimeSpan.TicksPerSecond;
        public override long GetTimestamp() => Now.Ticks;

        public void Elapse(TimeSpan? upTo = null)
        {
            (TimerCallback Callback, object? State, TimeSpan Due)[] timers;
            lock (_timers) timers = [.. _timers.Where(t => upTo is null || t.Due <= upTo)];
            foreach (var (callback, state, _) in timers) callback(state);
        }

        public override ITimer CreateTimer(TimerCallback callback, object? state, TimeSpan dueTime, TimeSpan period)
        {
            lock (_timers) _timers.Add((callback, state, dueTime));
            return System.CreateTimer(_ => { }, null, Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan);
        }
    }
}
