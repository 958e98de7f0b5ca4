using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.DataPlane.Storage;
using SiteRecovery.Domain.History;

namespace SiteRecovery.DataPlane.ProcessServer;

/// <summary>One machine's spool: takes what the agent sends into segment files, and has a sender of its own.</summary>
internal sealed partial class MachineSpool : IAsyncDisposable
{
    private static readonly TimeSpan OpeningPatience = TimeSpan.FromSeconds(1), DiskRetry = TimeSpan.FromSeconds(1), StatusPatience = TimeSpan.FromMilliseconds(20);
    private readonly MachineId _machine;
    private readonly SpoolOptions _options;
    private readonly Func<MachineId, IStreamTarget?> _next;
    private readonly IFileSystem _files;
    private readonly TimeProvider _time;
    private readonly SpoolSpace _space;
    private readonly SpoolShare _share;
    private readonly SpoolState _state;
    private readonly SpoolQueue _queue = new();
    private readonly Lock _gate = new(), _writing = new(), _saving = new(); // taken in the order _writing, _saving, _gate
    private readonly SemaphoreSlim _opening = new(1, 1);
    private readonly Bell _bell = new(), _impatience = new();
    private readonly CancellationTokenSource _stop = new();
    private readonly Task _loaded, _sending;
    private readonly int _segmentBytes;
    private readonly ulong _tag;
    private SpoolSession? _session; // under _gate, like all below
    private SpoolSegment? _writer;
    private long _lastNumber;
    private readonly TaskCompletionSource _tried = new(TaskCreationOptions.RunContinuationsAsynchronously); // to read what is there
    private volatile bool _isLoaded;
    private volatile string? _lastError;
    private volatile SpoolStatus _lastStatus = SpoolStatus.Nothing;

    public MachineSpool(MachineId machine, SpoolOptions options, Func<MachineId, IStreamTarget?> next, IFileSystem files, TimeProvider time, SpoolSpace space,
        IReadOnlyList<string> paths)
    {
        (_machine, _options, _next, _files, _time, _space) = (machine, options, next, files, time, space);
        _share = space.Join();
        _state = new SpoolState(files, options.Folder, machine, options.BootId ?? Guid.Empty);
        // Space comes back by whole segments, so that several must fit.
        _segmentBytes = (int)Math.Min(options.SegmentBytes, Math.Max(options.BytesMax / 16, 4096));
        _tag = BatchCodec.TagOf(machine);
        _loaded = Task.Run(() => LoadAsync(paths));
        _sending = Task.Run(SendAsync);
    }

    /// <summary>Reads nothing from the disk: whoever asks must not wait for one that hangs.</summary>
    public SpoolStatus Status()
    {
        // What holds it for so long is a segment that a disk does not rename.
        if (!_gate.TryEnter(StatusPatience)) return _lastStatus;
        try
        {
            var (bytes, batches, oldest) = _queue.Pending();
            return _lastStatus = new SpoolStatus(bytes, batches, oldest?.Time, _upstream is not null, Error(), _queue.Durable, _queue.DurableSequence, _coalescedBatches);
        }
        finally
        {
            _gate.Exit();
        }
    }

    /// <summary>That it waits for room, and why the room does not come.</summary>
    private string? Error() => _share.Wanted == 0 ? _lastError : _lastError is { } why ? $"{Full}; {why}" : Full;

    private string Full =>
        $"the spool is full ({_options.BytesMax} bytes for all machines together, and this one has its share): what waits must reach the next room first, or raise siterecovery.process-server.spool-bytes-max";

    /// <summary>Needs no link. Where nothing is kept here it waits a moment for it, because then only the target knows where it stands.</summary>
    public async ValueTask<IStreamSession> OpenAsync(StreamOpening opening, IPositionListener positions, CancellationToken stop)
    {
        await _tried.Task.WaitAsync(stop).ConfigureAwait(false);
        if (!_isLoaded) throw new IOException(_lastError);
        await _opening.WaitAsync(stop).ConfigureAwait(false);
        try
        {
            // Whoever has found it just before it ended must leave nothing in its folder.
            ObjectDisposedException.ThrowIf(_stop.IsCancellationRequested, this);
            if (opening.Epoch < _state.Epoch) throw new StaleEpochException(_state.Epoch);
            if (opening.Epoch > _state.Epoch) StartEpoch(opening.Epoch);
            var (session, attempt) = (new SpoolSession(this, opening, positions), Volatile.Read(ref _attempt));
            SpoolSession? replaced;
            lock (_gate)
            {
                ObjectDisposedException.ThrowIf(_stop.IsCancellationRequested, this);
                (replaced, _session) = (_session, session);
            }
            replaced?.End(new IOException("a newer session has taken over"));
            _impatience.Ring();
            _bell.Ring();
            try
            {
                await ForLinkAsync(session, attempt, stop).ConfigureAwait(false);
            }
            catch (OperationCanceledException)
            {
                await session.DisposeAsync().ConfigureAwait(false);
                throw;
            }
            if (Answer(session)) SaveDurable();
            return session;
        }
        finally
        {
            _opening.Release();
        }
    }

    /// <summary>Says where this room stands. True: it has learned from the source where the target stands.</summary>
    private bool Answer(SpoolSession session)
    {
        lock (_gate)
        {
            var (opening, says) = (session.Opening, Now(_upstream is not null && _targetEmpty && !_queue.HasPending, (_toldLost = _targetLost) || _lossIsUnsaid));
            session.Answer(says);
            // What this side has forgotten, or what came by another one, the source still knows, and goes on by: the target must stand there, or the source hears of it before anything else
            // arrives. Where the link has just ended the session it does not stand there, and is not to be asked for it again.
            if (session.IsEnded || says.TargetEmpty || says.TargetLost || (opening.KnownDurable <= _queue.DurableSequence && opening.KnownPosition.CompareTo(_queue.Durable) <= 0)) return false;
            _queue.Settle(opening.KnownPosition.CompareTo(_queue.Durable) > 0 ? opening.KnownPosition : _queue.Durable, opening.KnownDurable > _queue.DurableSequence ? opening.KnownDurable : _queue.DurableSequence);
            if (says.Durable.Incarnation > 0) session.Answer(Now(empty: false, lost: false));
        }
        // One that is up was judged by less.
        EndLink();
        return true;

        StreamOpened Now(bool empty, bool lost) => new(_queue.Held, _queue.Durable, _queue.DurableSequence, empty, lost);
    }

    public void Leave(SpoolSession session)
    {
        lock (_gate)
            if (_session == session) _session = null;
        _bell.Ring();
    }

    /// <summary>Answers when the next room has made durable whatever was offered before the question: no older state is described.</summary>
    public async ValueTask<ulong[]> HashesAsync(SpoolSession session, ushort disk, long offset, int blockBytes, int blocks, CancellationToken stop)
    {
        StreamPosition asked;
        lock (_gate) asked = _queue.Held;
        while (true)
        {
            var heard = _bell.Next();
            IStreamSession? upstream;
            CancellationTokenSource? link;
            lock (_gate)
            {
                session.ThrowIfEnded();
                (upstream, link) = _queue.Durable.CompareTo(asked) >= 0 ? (_upstream, _link) : default;
            }
            if (upstream is null)
            {
                await Task.WhenAny(heard, session.Closed).WaitAsync(stop).ConfigureAwait(false);
                continue;
            }
            try
            {
                return await upstream.HashesAsync(disk, offset, blockBytes, blocks, stop).ConfigureAwait(false);
            }
            catch (Exception error) when (!stop.IsCancellationRequested)
            {
                _lastError = error.Message;
                End(link);
                await Task.WhenAny(heard, session.Closed).WaitAsync(stop).ConfigureAwait(false);
            }
        }
    }

    /// <summary>Lets go of segments that are wholly durable, the open one too.</summary>
    public void ReleaseDurable(bool isShort)
    {
        List<SpoolSegment>? gone;
        lock (_writing)
        {
            lock (_gate)
            {
                gone = _queue.TakeDurable(isShort || _space.Used > _options.BytesMax / 2 ? 0 : Math.Min(1 << 20, _segmentBytes));
                if (gone is not null && _writer is not null && gone.Contains(_writer)) _writer = null;
            }
        }
        Delete(gone);
    }

    /// <summary>Null while nobody knows what an earlier process has left.</summary>
    public Epoch? NewestEpoch => _isLoaded ? _state.Epoch : null;

    public bool IsStopped => _stop.IsCancellationRequested;

    /// <summary>For good: what waits is dropped. False: a stream of a later epoch than <paramref name="upTo"/> was here, and nothing has changed.</summary>
    /// <exception cref="IOException">Nobody knows yet what is here.</exception>
    public async ValueTask<bool> TryEndAsync(Epoch upTo, string reason)
    {
        await _tried.Task.ConfigureAwait(false);
        if (!_isLoaded) throw new IOException(_lastError);
        // No stream opens between the question and the end.
        await _opening.WaitAsync().ConfigureAwait(false);
        try
        {
            if (_state.Epoch > upTo) return false;
            await DisposeAsync().ConfigureAwait(false);
            Drop(reason, null);
            _space.Leave(_share);
            return true;
        }
        finally
        {
            _opening.Release();
        }
    }

    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync().ConfigureAwait(false);
        await _sending.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        SpoolSession? session;
        lock (_gate) (session, _session) = (_session, null);
        session?.End(new IOException("the spool stops"));
        lock (_writing)
            foreach (var segment in _queue.Segments) segment.Close();
        _state.Dispose();
    }

    private async Task ForLinkAsync(SpoolSession session, int before, CancellationToken stop)
    {
        using var patience = new CancellationTokenSource(OpeningPatience, _time);
        using var until = CancellationTokenSource.CreateLinkedTokenSource(stop, patience.Token);
        while (!until.IsCancellationRequested)
        {
            var heard = _bell.Next();
            lock (_gate)
                if (_upstream is not null || _queue.HasPending || _failedAttempt > before || session.IsEnded) return;
            await heard.WaitAsync(until.Token).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }
        stop.ThrowIfCancellationRequested();
    }

    private void StartEpoch(Epoch epoch)
    {
        _state.SaveEpoch(epoch);
        EndLink();
        lock (_gate) _lossIsUnsaid = false;
        // Its sequences and positions say nothing about the new epoch.
        Drop($"epoch {epoch} has begun", new StreamOpened(default, default, Sequence.None, false));
    }

    /// <summary>Forgets what waits and ends the agent's session, so that it opens anew and sees the truth.</summary>
    /// <param name="of">Only while this epoch counts.</param>
    private void Drop(string reason, StreamOpened? truth, Exception? error = null, Epoch? of = null)
    {
        List<SpoolSegment> gone;
        lock (_writing)
        {
            lock (_gate)
            {
                if (of < _state.Epoch) return;
                gone = _queue.Drop(truth?.Durable ?? _queue.Durable, truth?.DurableSequence ?? _queue.DurableSequence);
                _session?.End(error ?? new IOException($"the spool of {_machine} was dropped: {reason}"));
                (_session, _writer, _toldLost) = (null, null, false);
            }
            if (truth is not null) SaveDurable();
        }
        if (gone.Count > 0 || error is not null) _lastError = reason;
        Delete(gone);
        _bell.Ring();
    }

    private void Delete(List<SpoolSegment>? segments)
    {
        if (segments is null) return;
        foreach (var segment in segments)
        {
            try
            {
                _files.Delete(segment.Path);
            }
            catch (Exception error) when (IsDiskError(error))
            {
                // It stays on the disk until the next start finds it; what is durable or obsolete is dropped again then.
                _lastError = error.Message;
            }
            // Afterwards, so that nobody who still reads it opens it again for good.
            segment.Close();
            _space.Release(_share, segment.End);
        }
    }

    private void SaveDurable()
    {
        try
        {
            lock (_saving)
            {
                StreamPosition durable;
                Sequence sequence;
                lock (_gate) (durable, sequence) = (_queue.Durable, _queue.DurableSequence);
                _state.SaveDurable(durable, sequence);
            }
        }
        catch (Exception error) when (IsDiskError(error))
        {
            _lastError = error.Message;
        }
    }

    private static bool IsDiskError(Exception error) => error is IOException or UnauthorizedAccessException;
}
