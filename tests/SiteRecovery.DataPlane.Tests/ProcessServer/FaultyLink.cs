using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.Domain.History;

namespace SiteRecovery.DataPlane.Tests.ProcessServer;

/// <summary>The way to the next room: it can be cut, it can refuse, and it notes what passes.</summary>
internal sealed class FaultyLink(IStreamTarget next) : IStreamTarget
{
    private readonly Lock _gate = new();
    private readonly List<Session> _sessions = [];
    private volatile bool _up = true;
    private TaskCompletionSource _room = Opened();

    /// <summary>Every frame that passed, in order.</summary>
    public List<Batch> Passed { get; } = [];
    public List<StreamOpening> Openings { get; } = [];
    public Exception? RefuseWith { get; set; }
    public Func<StreamOpened, StreamOpened> Says { get; set; } = opened => opened;
    public int Attempts, Waiting;

    public bool Up
    {
        get => _up;
        set
        {
            Session[] cut;
            lock (_gate)
            {
                _up = value;
                if (value) return;
                cut = [.. _sessions];
                _sessions.Clear();
            }
            foreach (var session in cut) session.Cut(new IOException("the link is cut"));
        }
    }

    /// <summary>False: nothing passes any more, as with a peer that grants no credit.</summary>
    public bool Takes
    {
        set
        {
            if (!value) _room = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
            else _room.TrySetResult();
        }
    }

    public void CutWith(Exception reason)
    {
        lock (_gate)
        {
            foreach (var session in _sessions) session.Cut(reason);
            _sessions.Clear();
        }
    }

    public async ValueTask<IStreamSession> OpenAsync(StreamOpening opening, IPositionListener positions, CancellationToken stop)
    {
        Interlocked.Increment(ref Attempts);
        if (!_up) throw new IOException("the link is down");
        if (RefuseWith is { } refusal) throw refusal;
        var session = new Session(this, await next.OpenAsync(opening, positions, stop)).WithClosed();
        lock (_gate)
        {
            Openings.Add(opening);
            _sessions.Add(session);
            if (!_up) session.Cut(new IOException("the link is cut"));
        }
        return session;
    }

    private static TaskCompletionSource Opened()
    {
        var opened = new TaskCompletionSource();
        opened.SetResult();
        return opened;
    }

    private sealed class Session(FaultyLink link, IStreamSession next) : IStreamSession
    {
        private readonly TaskCompletionSource<Exception?> _cut = new(TaskCreationOptions.RunContinuationsAsynchronously);

        public StreamOpened Opened { get; } = link.Says(next.Opened);
        public Task<Exception?> Closed { get; private set; } = Task.FromResult<Exception?>(null);
        public void Cut(Exception reason) => _cut.TrySetResult(reason);

        public async ValueTask OfferAsync(Batch batch, CancellationToken stop)
        {
            Interlocked.Increment(ref link.Waiting);
            await link._room.Task.WaitAsync(stop);
            Interlocked.Decrement(ref link.Waiting);
            if (_cut.Task.IsCompleted) throw (await _cut.Task)!;
            lock (link._gate) link.Passed.Add(batch);
            await next.OfferAsync(batch, stop);
        }

        public async ValueTask<ulong[]> HashesAsync(ushort disk, long offset, int blockBytes, int blocks, CancellationToken stop)
        {
            if (_cut.Task.IsCompleted) throw (await _cut.Task)!;
            return await next.HashesAsync(disk, offset, blockBytes, blocks, stop);
        }

        public ValueTask DisposeAsync() => next.DisposeAsync();
        public Session WithClosed()
        {
            Closed = Task.WhenAny(next.Closed, _cut.Task).Unwrap();
            return this;
        }
    }
}
