using System.IO.Pipelines;
using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.DataPlane.Transport;
using SiteRecovery.Domain.History;

namespace SiteRecovery.DataPlane.Tests.Transport;

/// <summary>Many streams over one connection, and what each of them may cost the others.</summary>
public sealed class ServerStreamTests : IAsyncDisposable
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(20);
    private readonly CancellationTokenSource _patience = new(Patience);
    private readonly List<Connection> _connections = [];

    private CancellationToken Stop => _patience.Token;

    [Fact]
    public async Task A_stream_that_is_over_keeps_nothing_at_its_connection()
    {
        var (connection, _) = Connect((_, _) => { });
        var forgotten = new TaskCompletionSource();
        var stream = new ServerStream(connection, 1, new CreditBudget(new ChannelOptions()), forgotten.SetResult);
        stream.Start(new SlowTarget(), Opening("m1"), _ => null);
        stream.OnFrame(FrameType.CloseStream, default);
        await stream.Finished.WaitAsync(Stop);
        Assert.True(forgotten.Task.IsCompleted);
        Assert.True(stream.Stopping.IsCancellationRequested);
        Assert.Throws<ObjectDisposedException>(() => stream.Stopping.WaitHandle);
        Assert.Null(connection.Ended);
    }

    [Fact]
    public async Task Too_many_queries_end_their_stream_and_no_other_one()
    {
        var frames = System.Threading.Channels.Channel.CreateUnbounded<(FrameType Type, uint Stream)>();
        var (peer, other) = Connect((header, _) => frames.Writer.TryWrite((header.Type, header.Stream)));
        var served = new ChannelServer(new SlowTarget(), new ChannelOptions(), (_, _) => null).RunAsync(other, null, Stop);
        peer.SendControl(Payload.Frame(FrameType.OpenStream, 1, to => Payload.Write(to, Opening("m1"))));
        Assert.Equal((FrameType.StreamOpened, 1u), await frames.Reader.ReadAsync(Stop));
        for (var query = 1; query <= ServerStream.QueriesMax + 1; query++) peer.SendControl(Query(query));
        while (await frames.Reader.ReadAsync(Stop) is var frame && frame != (FrameType.Refused, 1u)) Assert.Equal((FrameType.Credit, 1u), frame);
        peer.SendControl(Payload.Frame(FrameType.OpenStream, 2, to => Payload.Write(to, Opening("m2"))));
        Assert.Equal((FrameType.StreamOpened, 2u), await frames.Reader.ReadAsync(Stop));
        Assert.False(served.IsCompleted);

        static byte[] Query(int query) => Payload.Frame(FrameType.HashQuery, 1, to =>
        {
            to.Write(query);
            to.Write((ushort)0);
            to.Write(0L);
            to.Write(4096);
            to.Write(1);
        });
    }

    [Fact]
    public async Task A_query_that_nobody_waits_for_any_more_keeps_its_place_until_it_is_answered()
    {
        var target = new SlowTarget();
        await using var client = ClientOf(new ChannelServer(target, new ChannelOptions(), (_, _) => null));
        await using var session = await client.OpenAsync(Opening("m1"), new NoPositions(), Stop);
        for (var i = 0; i < 3 * ServerStream.QueriesMax; i++)
        {
            using var abandoned = CancellationTokenSource.CreateLinkedTokenSource(Stop);
            var query = session.HashesAsync(0, 0, 4096, 1, abandoned.Token);
            await abandoned.CancelAsync();
            await Assert.ThrowsAnyAsync<OperationCanceledException>(async () => await query);
        }
        target.Go();
        Assert.Single(await session.HashesAsync(0, 0, 4096, 1, Stop));
        Assert.InRange(Volatile.Read(ref target.Queries), 1, ServerStream.QueriesMax);
        Assert.False(session.Closed.IsCompleted);
    }

    /// <summary>A sixteenth of what is in use.</summary>
    [Fact]
    public async Task Many_streams_into_a_target_that_takes_nothing_cost_little_more_than_a_frame_each()
    {
        const int streams = 200, window = 1 << 20, budget = 16 << 20;
        var batch = BatchCodec.Encode(new BatchHeader
        {
            Kind = BatchKind.Delta, MachineTag = 1, Epoch = Epoch.First, Incarnation = 1, Ordinal = 1, First = new Sequence(1), Last = new Sequence(1), Time = DateTimeOffset.UnixEpoch,
        }, [new Extent(0, 64 << 10, 0, ExtentKind.Data)], new byte[64 << 10]);
        var options = new ChannelOptions { WindowBytes = window, LeastWindowBytes = batch.Frame.Length, GrowthBytesMax = 8 << 20 };
        await using var client = ClientOf(new ChannelServer(new SlowTarget(), options, (_, _) => null));
        long accepted = 0;
        using var over = CancellationTokenSource.CreateLinkedTokenSource(Stop);
        List<Task> waiting = [];
        for (var i = 0; i < streams; i++)
        {
            var session = await client.OpenAsync(Opening($"m{i}"), new NoPositions(), Stop);
            // The first one waits for the credit, which comes as a whole.
            await session.OfferAsync(batch, Stop);
            accepted += batch.Frame.Length;
            Task next;
            while ((next = session.OfferAsync(batch, over.Token).AsTask()).IsCompletedSuccessfully) accepted += batch.Frame.Length;
            waiting.Add(next);
        }
        Assert.InRange(accepted, (long)streams * batch.Frame.Length, budget);
        await over.CancelAsync();
        foreach (var offered in waiting) await Assert.ThrowsAnyAsync<OperationCanceledException>(() => offered);
    }

    private ChannelClient ClientOf(ChannelServer server)
    {
        var (there, back) = (new Pipe(), new Pipe());
        _ = ServeAsync();
        return new ChannelClient(_ => new(new TwoWay(back.Reader.AsStream(), there.Writer.AsStream())), new ChannelOptions());

        async Task ServeAsync()
        {
            var stream = new TwoWay(there.Reader.AsStream(), back.Writer.AsStream());
            await stream.ReadExactlyAsync(new byte[Preamble.Of(ChannelKind.Data).Length], Stop);
            await server.RunAsync(stream, null, Stop);
        }
    }

    private static StreamOpening Opening(string machine) => new(new MachineId(machine), Epoch.First, [new DiskGeometry(0, "vda", 1 << 30)], 1);

    /// <summary>The one end of a connection that serves itself, and the other as it stands.</summary>
    private (Connection Served, Stream Other) Connect(FrameReceived onFrame)
    {
        var (there, back) = (new Pipe(), new Pipe());
        var connection = new Connection(new TwoWay(there.Reader.AsStream(), back.Writer.AsStream()), new ChannelOptions());
        _connections.Add(connection);
        _ = connection.RunAsync(onFrame);
        return (connection, new TwoWay(back.Reader.AsStream(), there.Writer.AsStream()));
    }

    public ValueTask DisposeAsync()
    {
        foreach (var connection in _connections) connection.Shutdown("the test is over");
        _patience.Dispose();
        return ValueTask.CompletedTask;
    }

    private sealed class NoPositions : IPositionListener
    {
        public void Received(StreamPosition position) { }
        public void Durable(StreamPosition position, Sequence sequence) { }
    }

    /// <summary>Takes nothing, and answers nothing, until it is told to.</summary>
    private sealed class SlowTarget : IStreamTarget
    {
        private readonly TaskCompletionSource _go = new(TaskCreationOptions.RunContinuationsAsynchronously);
        public int Queries;

        public void Go() => _go.SetResult();

        public ValueTask<IStreamSession> OpenAsync(StreamOpening opening, IPositionListener positions, CancellationToken stop) => new(new Session(this));

        private sealed class Session(SlowTarget target) : IStreamSession
        {
            public StreamOpened Opened { get; } = new(default, default, Sequence.None, true);
            public Task<Exception?> Closed { get; } = new TaskCompletionSource<Exception?>().Task;
            public ValueTask OfferAsync(Batch batch, CancellationToken stop) => new(target._go.Task.WaitAsync(stop));

            public async ValueTask<ulong[]> HashesAsync(ushort disk, long offset, int blockBytes, int blocks, CancellationToken stop)
            {
                Interlocked.Increment(ref target.Queries);
                await target._go.Task.WaitAsync(stop);
                return new ulong[blocks];
            }

            public ValueTask DisposeAsync() => ValueTask.CompletedTask;
        }
    }
}
