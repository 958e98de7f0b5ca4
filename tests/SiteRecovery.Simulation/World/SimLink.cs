using System.Threading.Channels;
using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.Domain.History;

namespace SiteRecovery.Simulation.World;

/// <summary>
/// A network between two rooms, as a stage over the far one: each frame is copied and takes its time, and so does every answer. Loss shows as a disconnect; a session that was
/// cut at the near end lives on at the far end for a while, with what was under way.
/// </summary>
/// <param name="far">Null: nobody listens there.</param>
internal sealed class SimLink(Func<IStreamTarget?> far, SimWire wire, SimClock clock, Random random) : IStreamTarget
{
    private static readonly TimeSpan SaidAgain = TimeSpan.FromMilliseconds(200);
    private readonly List<Session> _sessions = [];

    /// <summary>Told when the far end has taken a marker of a machine's point, or the end of its synchronization.</summary>
    internal Action<MachineId>? Arrived { get; init; }

    private bool IsCut => wire.IsCut;
    // Where it is the near end that listens, nothing goes there.
    private bool IsMute => wire.IsMute;
    private bool IsDeaf => wire.IsDeaf;

    /// <summary>Whoever listened there has died. What it had said is in the network, and arrives or not, before the connection ends.</summary>
    internal void EndFar(string reason)
    {
        foreach (var session in _sessions.ToArray()) session.EndFar(new IOException(reason));
    }

    /// <summary>Every connection is lost; the next try succeeds.</summary>
    public void Drop(string reason)
    {
        foreach (var session in _sessions.ToArray()) session.Break(new IOException(reason));
    }

    public async ValueTask<IStreamSession> OpenAsync(StreamOpening opening, IPositionListener positions, CancellationToken stop)
    {
        await LagAsync(stop).ConfigureAwait(false);
        if (IsCut || IsMute || IsDeaf || far() is not { } target) throw new IOException("the network does not get there");
        var session = new Session(this, opening.Machine, positions);
        await session.OpenAsync(target, opening, stop).ConfigureAwait(false);
        _sessions.Add(session);
        return session;
    }

    private Task LagAsync(CancellationToken stop) => Task.Delay(wire.LagOf(random), clock, stop);

    private sealed class Session(SimLink link, MachineId machine, IPositionListener positions) : IStreamSession, IPositionListener
    {
        private readonly Channel<Batch> _underWay = Channel.CreateBounded<Batch>(link.Any(6) + 1);
        private readonly Channel<Action> _back = Channel.CreateUnbounded<Action>();
        private readonly TaskCompletionSource<Exception?> _closed = new(TaskCreationOptions.RunContinuationsAsynchronously);
        private IStreamSession _far = null!;
        private Exception? _broken, _ended;

        public StreamOpened Opened => _far.Opened;
        public Task<Exception?> Closed => _closed.Task;

        internal async ValueTask OpenAsync(IStreamTarget target, StreamOpening opening, CancellationToken stop)
        {
            _far = await target.OpenAsync(opening, this, stop).ConfigureAwait(false);
            _ = CarryAsync();
            _ = CarryBackAsync();
            _ = _far.Closed.ContinueWith(over => End(over.IsCompletedSuccessfully ? over.Result ?? new IOException("the far end closed") : over.Exception!), CancellationToken.None, TaskContinuationOptions.None, TaskScheduler.Default);
        }

        public async ValueTask OfferAsync(Batch batch, CancellationToken stop)
        {
            if (_broken is not null) throw _broken;
            try
            {
                await _underWay.Writer.WriteAsync(BatchCodec.Verify(batch.Frame.ToArray()), stop).ConfigureAwait(false);
            }
            catch (ChannelClosedException) when ((_broken ?? _ended) is { } over)
            {
                throw over;
            }
        }

        public async ValueTask<ulong[]> HashesAsync(ushort disk, long offset, int blockBytes, int blocks, CancellationToken stop)
        {
            await link.LagAsync(stop).ConfigureAwait(false);
            if (_broken is not null) throw _broken;
            var hashes = await _far.HashesAsync(disk, offset, blockBytes, blocks, stop).ConfigureAwait(false);
            await link.LagAsync(stop).ConfigureAwait(false);
            return _broken is null && !link.IsMute && !link.IsDeaf ? hashes : throw _broken ?? new IOException("the answer was lost");
        }

        public void Received(StreamPosition position) => _back.Writer.TryWrite(() => positions.Received(position));

        public void Durable(StreamPosition position, Sequence sequence) => _back.Writer.TryWrite(() => positions.Durable(position, sequence));

        internal void EndFar(Exception reason)
        {
            End(reason);
            if (link.Chance(2)) Break(reason);
        }

        /// <summary>The far end says nothing more; what it has said comes first.</summary>
        private void End(Exception reason)
        {
            _ended ??= reason;
            _underWay.Writer.TryComplete();
            _back.Writer.TryComplete();
        }

        internal void Break(Exception reason)
        {
            if (_broken is not null) return;
            _broken = reason;
            link._sessions.Remove(this);
            _underWay.Writer.TryComplete();
            _back.Writer.TryComplete();
            _closed.TrySetResult(reason);
        }

        public ValueTask DisposeAsync()
        {
            Break(new IOException("the session was closed"));
            return default;
        }

        /// <summary>What is in the network still arrives, all of it or some of it.</summary>
        private async Task CarryAsync()
        {
            try
            {
                while (await _underWay.Reader.WaitToReadAsync().ConfigureAwait(false))
                    while (_underWay.Reader.TryRead(out var batch))
                    {
                        if (link.IsCut || (_broken is not null && link.Chance(4))) return;
                        await link.LagAsync(default).ConfigureAwait(false);
                        while (link.IsDeaf && _broken is null && _ended is null) await Task.Delay(SaidAgain, link.Clock).ConfigureAwait(false);
                        if (link.IsDeaf) return;
                        await _far.OfferAsync(batch, default).ConfigureAwait(false);
                        if (batch.Header.Marker is MarkerKind.SyncCompleted or MarkerKind.CrashConsistentPoint) link.Arrived?.Invoke(machine);
                    }
            }
            catch (Exception refused)
            {
                Break(refused);
            }
            finally
            {
                // The far end learns late that nobody is there any more.
                await Task.Delay(TimeSpan.FromMilliseconds(link.Any(400)), link.Clock).ConfigureAwait(false);
                await _far.DisposeAsync().ConfigureAwait(false);
            }
        }

        private async Task CarryBackAsync()
        {
            while (await _back.Reader.WaitToReadAsync().ConfigureAwait(false))
                while (_back.Reader.TryRead(out var answer))
                {
                    await link.LagAsync(default).ConfigureAwait(false);
                    // It is said again until it is heard, or the connection ends.
                    while (link.IsMute && _broken is null && _ended is null) await Task.Delay(SaidAgain, link.Clock).ConfigureAwait(false);
                    if (_broken is null && !link.IsMute) answer();
                }
            if (_ended is not null) Break(_ended);
        }
    }

    private SimClock Clock => clock;

    private bool Chance(int of) => random.Next(of) == 0;

    private int Any(int below) => random.Next(below);
}
