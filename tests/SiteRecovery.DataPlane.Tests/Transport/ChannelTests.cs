using System.Net;
using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.DataPlane.ProcessServer;
using SiteRecovery.DataPlane.Transport;
using SiteRecovery.Domain.History;

namespace SiteRecovery.DataPlane.Tests.Transport;

public sealed class ChannelTests : IAsyncLifetime
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(20);
    private readonly DirectoryInfo _folder = Directory.CreateTempSubdirectory();
    private readonly RecordingTarget _target = new();
    private readonly List<Stream> _connections = [];
    private ChannelListener _listener = null!;
    private ChannelClient _client = null!;
    private Authority _authority = null!;

    public Task InitializeAsync()
    {
        _authority = Authority.Create(_folder.FullName, "cluster", TimeProvider.System);
        var options = new ChannelOptions { WindowBytes = 5 << 20 };
        var server = new ChannelServer(_target, options, (peer, opening) => opening.Machine.Value == "forbidden" ? $"{peer!.Name} may not" : null);
        _listener = new ChannelListener(new IPEndPoint(IPAddress.Loopback, 0), _authority.Issue("node-1", PeerRole.Node).ForServer(), options,
            server.RunAsync, async (control, stop) => { while (await control.ReceiveMessageAsync(stop) is { } message) await control.SendAsync(message, stop); });
        _listener.Start();
        _client = new ChannelClient(async stop => { var stream = await Connect(stop); _connections.Add(stream); return stream; }, options);
        return Task.CompletedTask;
    }

    public async Task DisposeAsync()
    {
        await _client.DisposeAsync();
        await _listener.DisposeAsync();
        _authority.Dispose();
        _folder.Delete(recursive: true);
    }

    private async ValueTask<Stream> Connect(CancellationToken stop) =>
        await ChannelConnector.ConnectAsync("127.0.0.1", _listener.Endpoint.Port, _authority.Issue("agent-1", PeerRole.Agent).ForClient(), stop);

    private static StreamOpening Opening(string machine) => new(new MachineId(machine), Epoch.First, [new DiskGeometry(0, "vda", 1 << 30)], 1);

    private static Batch BatchOf(long ordinal, int bytes) => BatchCodec.Encode(new BatchHeader
    {
        Kind = BatchKind.Delta, MachineTag = 1, Epoch = Epoch.First, Incarnation = 1, Ordinal = ordinal, First = new Sequence(ordinal), Last = new Sequence(ordinal), Time = DateTimeOffset.UnixEpoch,
    }, [new Extent(0, bytes, 0, ExtentKind.Data)], new byte[bytes]);

    /// <summary>Agents are replaced one by one.</summary>
    [Fact]
    public void An_opening_of_a_source_that_does_not_say_what_is_durable_is_understood()
    {
        var frame = Payload.Frame(FrameType.OpenStream, 1, to => Payload.Write(to, Opening("m1") with { KnownDurable = new Sequence(7), KnownPosition = new StreamPosition(8, 9) })).AsMemory(FrameHeader.Bytes);
        Assert.Equal((new Sequence(7), new StreamPosition(8, 9)), Known(Payload.ReadOpening(frame)));
        Assert.Equal((new Sequence(7), default), Known(Payload.ReadOpening(frame[..^16])));
        var oldest = Payload.ReadOpening(frame[..^24]);
        Assert.Equal((Sequence.None, default), Known(oldest));
        Assert.Equal((new MachineId("m1"), 1), (oldest.Machine, oldest.Disks.Count));

        static (Sequence, StreamPosition) Known(StreamOpening opening) => (opening.KnownDurable, opening.KnownPosition);
    }

    [Fact]
    public async Task Whoever_falls_silent_on_a_control_channel_is_given_up()
    {
        using var stop = new CancellationTokenSource(Patience);
        await using var control = await ControlChannel.OpenAsync(await Connect(stop.Token), null, stop.Token);
        await control.SendAsync(new ListDisks("1"), stop.Token);
        Assert.Equal(new ListDisks("1"), await control.ReceiveMessageAsync(Patience, TimeProvider.System, stop.Token)); // the other end here is an echo
        var problem = await Assert.ThrowsAsync<IOException>(async () => await control.ReceiveMessageAsync(TimeSpan.FromMilliseconds(100), TimeProvider.System, stop.Token));
        Assert.Contains("nothing was heard", problem.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task An_agents_status_is_answered_so_that_it_knows_that_somebody_is_there()
    {
        using var stop = new CancellationTokenSource(Patience);
        var sessions = new AgentSessions(TimeProvider.System);
        await using var listener = new ChannelListener(new IPEndPoint(IPAddress.Loopback, 0), _authority.Issue("node-2", PeerRole.Node).ForServer(), new ChannelOptions(),
            (_, _, _) => Task.CompletedTask, sessions.RunAsync);
        listener.Start();
        await using var control = await ControlChannel.OpenAsync(await ChannelConnector.ConnectAsync(
            "127.0.0.1", listener.Endpoint.Port, _authority.Issue("agent-1", PeerRole.Agent).ForClient(), stop.Token), null, stop.Token);
        await control.SendAsync(new AgentHello("agent-1", "1", []), stop.Token);
        await control.SendAsync(new AgentStatus(DateTimeOffset.UnixEpoch, []), stop.Token);
        Assert.Equal(new StatusHeard(), await control.ReceiveMessageAsync(stop.Token));
    }

    /// <summary>An agent that is refused says so when it is told something new, and tries again every second.</summary>
    [Fact]
    public async Task One_that_tries_again_and_again_comes_from_the_same_place_each_time()
    {
        using var stop = new CancellationTokenSource(Patience);
        var origins = System.Threading.Channels.Channel.CreateUnbounded<string>();
        await using var listener = new ChannelListener(new IPEndPoint(IPAddress.Loopback, 0), _authority.Issue("node-2", PeerRole.Node).ForServer(), new ChannelOptions(),
            (_, _, _) => Task.CompletedTask, async (control, cancel) => await origins.Writer.WriteAsync(control.Origin, cancel));
        listener.Start();
        for (var i = 0; i < 2; i++)
        {
            await using var control = await ControlChannel.OpenAsync(await ChannelConnector.ConnectAsync(
                "127.0.0.1", listener.Endpoint.Port, _authority.Issue("agent-1", PeerRole.Agent).ForClient(), stop.Token), null, stop.Token);
            Assert.Equal("127.0.0.1", await origins.Reader.ReadAsync(stop.Token));
        }
    }

    [Fact]
    public async Task Whoever_accepts_a_connection_and_says_nothing_is_given_up()
    {
        using var stop = new CancellationTokenSource(Patience);
        using var silent = new System.Net.Sockets.TcpListener(IPAddress.Loopback, 0);
        silent.Start();
        var options = new ChannelOptions { HandshakeTimeout = TimeSpan.FromMilliseconds(200) };
        var problem = await Assert.ThrowsAsync<IOException>(async () => await ChannelConnector.ConnectAsync(
            "127.0.0.1", ((IPEndPoint)silent.LocalEndpoint).Port, _authority.Issue("agent-1", PeerRole.Agent).ForClient(), stop.Token, options));
        Assert.Contains("did not answer", problem.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_cut_connection_ends_the_session_and_the_next_one_continues_without_loss_or_repetition()
    {
        using var stop = new CancellationTokenSource(Patience);
        var positions = new Positions();
        for (long next = 1; next <= 300;)
        {
            await using var session = await _client.OpenAsync(Opening("m1"), positions, stop.Token);
            next = session.Opened.Held.Ordinal + 1;
            try
            {
                for (; next <= 300; next++)
                {
                    await session.OfferAsync(BatchOf(next, 100_000), stop.Token);
                    if (next is 57 or 191 && _connections.Count < 3) _connections[^1].Dispose();
                }
                await positions.DurableAt(300).WaitAsync(stop.Token);
            }
            catch (Exception error) when (error is IOException or StreamGapException) { next = 1; }
        }
        Assert.Equal(Enumerable.Range(1, 300).Select(i => (long)i), _target.Ordinals("m1"));
        Assert.True(_connections.Count > 1);
    }

    [Fact]
    public async Task A_stream_that_the_target_does_not_take_waits_for_credit_and_leaves_the_others_alone()
    {
        using var stop = new CancellationTokenSource(Patience);
        _target.Hold("slow");
        await using var slow = await _client.OpenAsync(Opening("slow"), new Positions(), stop.Token);
        for (var i = 1; i <= 5; i++) await slow.OfferAsync(BatchOf(i, 1_000_000), stop.Token);
        var waiting = slow.OfferAsync(BatchOf(6, 1_000_000), stop.Token).AsTask();
        var positions = new Positions();
        await using var other = await _client.OpenAsync(Opening("other"), positions, stop.Token);
        for (var i = 1; i <= 20; i++) await other.OfferAsync(BatchOf(i, 1_000_000), stop.Token);
        await positions.DurableAt(20).WaitAsync(stop.Token);
        Assert.False(waiting.IsCompleted);
        _target.LetGo();
        await waiting;
    }

    [Fact]
    public async Task Refusals_keep_their_meaning_across_the_wire()
    {
        using var stop = new CancellationTokenSource(Patience);
        var stale = await Assert.ThrowsAsync<StaleEpochException>(async () => await _client.OpenAsync(Opening("stale"), new Positions(), stop.Token));
        Assert.Equal(new Epoch(7), stale.Current);
        var refused = await Assert.ThrowsAsync<ChannelException>(async () => await _client.OpenAsync(Opening("forbidden"), new Positions(), stop.Token));
        Assert.Contains("agent-1 may not", refused.Message);
        await using var session = await _client.OpenAsync(Opening("m2"), new Positions(), stop.Token);
        ulong[] expected = [512, 2];
        Assert.Equal(expected, await session.HashesAsync(0, 512, 4096, 2, stop.Token));
        var damaged = BatchOf(1, 1000);
        var bytes = damaged.Frame.ToArray();
        bytes[^1] ^= 1;
        await session.OfferAsync(damaged with { Frame = bytes }, stop.Token);
        Assert.Contains("damaged", (await session.Closed.WaitAsync(stop.Token))!.Message);
    }

    [Fact]
    public async Task Control_messages_travel_both_ways()
    {
        using var stop = new CancellationTokenSource(Patience);
        await using var control = await ControlChannel.OpenAsync(await Connect(stop.Token), null, stop.Token);
        await control.SendAsync(new TakePoint("1", "m1", "before upgrade", "application-consistent"), stop.Token);
        Assert.Equal(new TakePoint("1", "m1", "before upgrade", "application-consistent"), await control.ReceiveMessageAsync(stop.Token));
    }

    private sealed class Positions : IPositionListener
    {
        private readonly TaskCompletionSource _done = new(TaskCreationOptions.RunContinuationsAsynchronously);
        private long _wanted = long.MaxValue, _durable;
        public void Received(StreamPosition position) { }
        public void Durable(StreamPosition position, Sequence sequence)
        {
            lock (_done) { _durable = position.Ordinal; if (_durable >= _wanted) _done.TrySetResult(); }
        }
        public Task DurableAt(long ordinal)
        {
            lock (_done) { _wanted = ordinal; if (_durable >= _wanted) _done.TrySetResult(); }
            return _done.Task;
        }
    }

    private sealed class RecordingTarget : IStreamTarget
    {
        private readonly Dictionary<string, List<long>> _ordinals = [];
        private readonly TaskCompletionSource _go = new(TaskCreationOptions.RunContinuationsAsynchronously);
        private string? _held;

        public void Hold(string machine) => _held = machine;
        public void LetGo() => _go.TrySetResult();
        public long[] Ordinals(string machine) { lock (_ordinals) return [.. _ordinals[machine]]; }

        public ValueTask<IStreamSession> OpenAsync(StreamOpening opening, IPositionListener positions, CancellationToken stop)
        {
            if (opening.Machine.Value == "stale") throw new StaleEpochException(new Epoch(7));
            lock (_ordinals)
            {
                if (!_ordinals.TryGetValue(opening.Machine.Value, out var list)) _ordinals[opening.Machine.Value] = list = [];
                return new(new Session(this, opening.Machine.Value, list, positions));
            }
        }

        private sealed class Session(RecordingTarget target, string machine, List<long> list, IPositionListener positions) : IStreamSession
        {
            public StreamOpened Opened { get; } = new(new StreamPosition(1, list.Count), default, Sequence.None, list.Count == 0);
            public Task<Exception?> Closed { get; } = new TaskCompletionSource<Exception?>().Task;

            public async ValueTask OfferAsync(Batch batch, CancellationToken stop)
            {
                if (target._held == machine) await target._go.Task.WaitAsync(stop);
                lock (target._ordinals)
                {
                    if (batch.Header.Ordinal != list.Count + 1) throw new StreamGapException(new StreamPosition(1, list.Count));
                    list.Add(batch.Header.Ordinal);
                }
                positions.Durable(batch.Position, batch.Header.Last);
            }

            public ValueTask<ulong[]> HashesAsync(ushort disk, long offset, int blockBytes, int blocks, CancellationToken stop) => new([(ulong)offset, (ulong)blocks]);
            public ValueTask DisposeAsync() => ValueTask.CompletedTask;
        }
    }
}
