using SiteRecovery.Agent;
using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.DataPlane.Capture;
using SiteRecovery.DataPlane.Transport;
using SiteRecovery.Domain.History;
using SiteRecovery.Simulation.Control;
using SiteRecovery.Simulation.World;

namespace SiteRecovery.Simulation.Agents;

/// <summary>A recovery point may wait for its stream; what is ordered meanwhile does not.</summary>
public sealed class PointBesideTests
{
    [Fact]
    public async Task A_fence_does_not_wait_for_a_point()
    {
        using var stop = new CancellationTokenSource(TimeSpan.FromSeconds(60));
        var target = new StuckTarget();
        await using var agent = new AgentOnDisk(new SimDisk(), target: target);
        await agent.Machines.StartAsync();
        await agent.ObeyedAsync(AgentOnDisk.Protection() with { Synchronize = 1 });
        var capture = agent.Machines.Find(AgentOnDisk.Machine)!.Capture;
        await agent.UntilAsync(() => capture.Status() is { Mode: CaptureMode.Streaming, DirtyBytes: 0 });
        target.IsStuck = true;

        var (near, far) = SimStream.Pair(agent.Clock, () => TimeSpan.FromMilliseconds(1), () => false, () => false);
        await using var server = new ControlChannel(far, time: agent.Clock);
        var running = new AgentConversation(new BareHome(() => new ControlChannel(near, time: agent.Clock)), agent.Machines, new HostListing(agent.Host, null), agent.Host, () => { }).RunAsync(stop.Token);
        var begun = agent.Clock.Elapsed;
        await server.SendAsync(new TakePoint("point", AgentOnDisk.Machine, null, "crash-consistent"), stop.Token);
        await server.SendAsync(new FenceMachine("fence", AgentOnDisk.Machine, 2, StopMachine: false), stop.Token);
        var fenced = DoneAsync(server, "fence", stop.Token);
        await agent.UntilAsync(() => fenced.IsCompleted);
        Assert.Null((await fenced).Error);
        Assert.True(agent.Clock.Elapsed - begun < TimeSpan.FromSeconds(9), $"{agent.Clock.Elapsed - begun}");
        await stop.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => running);
    }

    private static async Task<CommandDone> DoneAsync(ControlChannel server, string id, CancellationToken stop)
    {
        while (true)
            if (await server.ReceiveMessageAsync(stop) is CommandDone done && done.Id == id) return done;
    }

    /// <summary>Takes whatever comes, until it takes nothing more.</summary>
    private sealed class StuckTarget : IStreamTarget
    {
        internal volatile bool IsStuck;

        public ValueTask<IStreamSession> OpenAsync(StreamOpening opening, IPositionListener positions, CancellationToken stop) => new(new Session(this, positions));

        private sealed class Session(StuckTarget target, IPositionListener positions) : IStreamSession
        {
            private readonly TaskCompletionSource<Exception?> _closed = new(TaskCreationOptions.RunContinuationsAsynchronously);

            public StreamOpened Opened { get; } = new(default, default, Sequence.None, true);
            public Task<Exception?> Closed => _closed.Task;

            public async ValueTask OfferAsync(Batch batch, CancellationToken stop)
            {
                if (target.IsStuck) await Task.Delay(Timeout.InfiniteTimeSpan, stop);
                positions.Received(batch.Position);
                positions.Durable(batch.Position, batch.Header.Last);
            }

            public ValueTask<ulong[]> HashesAsync(ushort disk, long offset, int blockBytes, int blocks, CancellationToken stop) => new(new ulong[blocks]);

            public ValueTask DisposeAsync()
            {
                _closed.TrySetResult(null);
                return default;
            }
        }
    }
}
