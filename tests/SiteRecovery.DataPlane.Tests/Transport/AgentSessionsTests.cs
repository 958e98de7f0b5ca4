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
        private readonly List<(TimerCallback Callback, object? State)> _timers = [];

        public TimeSpan Now { get; set; }
        public override long TimestampFrequency => TimeSpan.TicksPerSecond;
        public override long GetTimestamp() => Now.Ticks;

        public void Elapse()
        {
            foreach (var (callback, state) in _timers.ToArray()) callback(state);
        }

        public override ITimer CreateTimer(TimerCallback callback, object? state, TimeSpan dueTime, TimeSpan period)
        {
            _timers.Add((callback, state));
            return System.CreateTimer(_ => { }, null, Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan);
        }
    }
}
