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
        var stream = new ServerStream(connection, 1, new ChannelOptions(), forgotten.SetResult);
        stream.Start(new SlowTarget(), Opening("m1"), _ => null);
        stream.OnFrame(FrameType.CloseStream, default);
        await stream.Finished.WaitAsync(Stop);
        Assert.True(forgotten.Task.IsCompleted);
        Assert.True(stream.Stopping.IsCancellationRequested);
        Assert.Throws<ObjectDisposedException>(() => stream.Stopping.WaitHandle);
        Assert.Null(connection.Ended);
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
