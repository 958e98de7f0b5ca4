using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.DataPlane.Storage;
using SiteRecovery.Domain.History;

namespace SiteRecovery.DataPlane.Capture;

/// <summary>Captures one machine: its disks to serve, its one sequence, and the stream to whoever takes it.</summary>
public sealed partial class MachineCapture : IAsyncDisposable
{
    private const int ExtentBytesMax = 1 << 20;
    /// <summary>More than a machine writes in one epoch: where nobody knows how many there were, no position is two states.</summary>
    private const long SequencesUnknown = 1L << 40;
    /// <summary>A disk that hangs must not keep whoever fences its machine, with other machines to look after.</summary>
    private static readonly TimeSpan UnderWayMax = TimeSpan.FromSeconds(5);
    private readonly CaptureOptions _options;
    private readonly IFileSystem _files;
    private readonly TimeProvider _time;
    private readonly List<SplitDisk> _disks = [];
    private readonly Lock _log = new(), _stateGate = new();
    private readonly CaptureRing _ring;
    private readonly CaptureSignal _signal;
    private readonly string _statePath;
    private CaptureState _state;
    private readonly bool _isNew;
    private long _newest, _tickets, _losses, _lostTicks;
    private int _marking;
    private bool _accepting;
    private volatile bool _fenced, _paused;
    private volatile string? _reason;
    private long _pointIntervalTicks;
    private volatile bool _resynchronizesAutomatically;

    private MachineCapture(CaptureOptions options, Guid bootId, IFileSystem files, TimeProvider time)
    {
        _bootId = bootId.ToString();
        (_options, _files, _time, _lostTicks) = (options, files, time, time.GetUtcNow().UtcTicks);
        Follow(options.PointInterval, options.ResynchronizeAutomatically);
        _signal = new CaptureSignal(time);
        _ring = new CaptureRing(options.BufferBytes, options.BufferWrites);
        _statePath = Path.Combine(options.StateFolder, "capture.json");
        var stored = CaptureState.TryLoad(files, _statePath);
        _state = stored is not null && stored.Epoch >= options.Epoch.Value ? stored : (stored ?? new CaptureState()) with { Epoch = options.Epoch.Value, Fenced = false, Frozen = false, Held = false, FrozenRound = 0, LapsedRound = 0, Durable = 0 };
        // Another protection counts anew.
        if (options.BeginsAnew) _state = _state with { FrozenRound = 0, LapsedRound = 0 };
        _isNew = stored is null;
        if (_isNew && options.ForkedAt is { } fork) _state = _state with { Reserved = fork.Value + (options.HasLostState ? SequencesUnknown : 0) };
        (_newest, _fenced, _frozen, _paused) = ((HasForgotten ? null : _state.CleanAt) ?? _state.Reserved, _state.Fenced || _state.Epoch > options.Epoch.Value, _state.Frozen, _state.Paused);
        (_synchronizationsAsked, _durableSequence) = (_state.Synchronizing ? 1 : 0, _state.Durable);
        _mayForget = _state.FlushFailedIn is not null && !HasForgotten;
        RememberTold(stored);
        _reserved = _newest + options.SequencesReserved;
        _reserveAt = _newest + options.SequencesReserved / 2;
        if (!MustAsk(stored)) _answered.SetResult();
    }

    public IReadOnlyList<SplitDisk> Disks => _disks;
    public bool IsFenced => _fenced;
    public bool IsPaused => _paused;

    /// <summary>What a policy says of the stream, from here on; its guest notices nothing. See <see cref="CaptureOptions"/>.</summary>
    public void Follow(TimeSpan pointInterval, bool resynchronizeAutomatically)
    {
        Volatile.Write(ref _pointIntervalTicks, pointInterval.Ticks);
        _resynchronizesAutomatically = resynchronizeAutomatically;
    }

    public Epoch Epoch => new(_state.Epoch);

    /// <exception cref="System.Text.Json.JsonException">capture.json is damaged: whether the machine is fenced is unknown, so it does not open.</exception>
    public static Task<MachineCapture> OpenAsync(CaptureOptions options, IFileSystem files, TimeProvider time)
    {
        files.CreateDirectory(options.StateFolder);
        var bootId = options.BootId ?? HostBoot.IdOf(files);
        var capture = new MachineCapture(options, bootId, files, time);
        try
        {
            foreach (var disk in options.Disks) capture.Open(disk);
            capture._mayForget |= capture._disks.Exists(d => d.Bitmap.FlushHasFailed);
            if ((capture._isNew || options.BeginsAnew) && options.ForkedAt is null) capture.ForgetWhatIsOnlyShown();
            // Before it is no longer remembered.
            if (capture.HasForgotten || (capture._mayForget && capture._state.Fenced)) capture.MarkAllUnsynced(ForgottenReason);
            else if (capture._isNew && options.HasLostState) capture.MarkAllUnsynced("what was known of the disks is lost");
            else if (capture._hasLostMark) capture.MarkAllUnsynced("what the target has is not known any more");
            // Sequences reserved before they are used; the clean end is void from now on.
            capture.Save(s => s with { Reserved = capture._reserved, CleanAt = null, BootId = capture.IsAsking ? s.BootId : capture._bootId, FlushFailedIn = capture._mayForget ? s.FlushFailedIn : null });
        }
        catch
        {
            capture.LetGoOfFiles();
            throw;
        }
        return Task.FromResult(capture);
    }

    private void Open(CaptureDisk disk)
    {
        var bitmap = BitmapFile.Open(_files, Path.Combine(_options.StateFolder, $"disk-{disk.Geometry.Index}.bitmap"), disk.Geometry.SizeBytes, new Guid(_bootId), startsClean: _isNew && _options.ForkedAt is not null, _options.BeginsAnew);
        try
        {
            _disks.Add(new SplitDisk(this, disk.Geometry, disk.File ?? _files.Open(disk.Path, FileOpening.ReadWrite), bitmap));
        }
        catch
        {
            bitmap.Dispose();
            throw;
        }
        if (bitmap.LostReason is not null) _reason = bitmap.LostReason;
        else if (!bitmap.Unsynced.None) _reason ??= "writes before the restart are not known to be durable at the target";
    }

    private IOException? LetGoOfFiles()
    {
        IOException? failed = null;
        foreach (var disk in _disks)
        {
            try
            {
                using (disk.Bitmap) disk.File.Dispose();
            }
            catch (IOException failure)
            {
                failed ??= failure; // the other disks are let go of all the same
            }
        }
        _mark?.Dispose();
        return failed;
    }

    /// <summary>Durable before it returns; from then on no write is taken. The fence of an epoch that this capture has left behind means an earlier life of it.</summary>
    /// <exception cref="IOException">It is not durable yet, or a write is still under way: no other one is begun, and the fence is to be asked for again.</exception>
    public async Task FenceAsync(Epoch epoch, CancellationToken stop = default)
    {
        if (_state.Epoch > epoch.Value) return;
        _fenced = true;
        _answered.TrySetResult(); // whoever waits is refused now
        await UntilAsync(d => d.HasPassed(long.MaxValue), stop).ConfigureAwait(false);
        // Before it is told where it ended. A disk that does not flush keeps nobody from being fenced: what it may forget is told as its tail.
        foreach (var disk in _disks) TryFlush(disk);
        await UntilAsync(FlushesNoted(), stop).ConfigureAwait(false);
        // One that was frozen has shown it since then, and has taken no write: where it stands was compared, and stays.
        if (_state is { Fenced: false, Frozen: false }) ShowWhatIsOnDisk();
        lock (_log)
            if (_owesSequence) TakeSequence();
        Save(s => s with { Fenced = true, Epoch = Math.Max(s.Epoch, epoch.Value), Durable = 0 });
        EndSession();
    }

    /// <exception cref="IOException">It took too long.</exception>
    private async Task UntilAsync(Predicate<SplitDisk> ended, CancellationToken stop)
    {
        var begun = _time.GetTimestamp();
        while (!_disks.TrueForAll(ended))
        {
            if (_time.GetElapsedTime(begun) > UnderWayMax) throw new IOException($"machine {_options.Machine} takes no write any more, but one, or a flush, that was begun before has not ended for {UnderWayMax.TotalSeconds:0} s: its fence is not confirmed yet");
            await Task.Delay(TimeSpan.FromMilliseconds(1), _time, stop).ConfigureAwait(false);
        }
    }

    /// <summary>From here on writes are only tracked, also over a restart, until <see cref="Resume"/>.</summary>
    public void Pause()
    {
        lock (_log)
        {
            _paused = true;
            if (_accepting) LoseStream("replication is paused");
        }
        Save(s => s with { Paused = true });
        EndSession();
    }

    /// <summary>Takes up streaming again; what was tracked meanwhile is resynchronized.</summary>
    public void Resume()
    {
        // Counted first: one that ends meanwhile leaves it noted.
        if (_state.Synchronizing || _state.EverSynchronized) Interlocked.Increment(ref _synchronizationsAsked);
        Save(s => s with { Paused = false, Synchronizing = s.Synchronizing || s.EverSynchronized });
        _paused = false;
        _signal.Set();
    }

    /// <summary>For an initial replication or a full check: every block counts as missing at the target. Durable when it returns: whoever asked for it does not ask again after a power loss.</summary>
    public void MarkAllUnsynced(string reason = "initial replication")
    {
        lock (_log)
        {
            LoseStream(reason);
            _marking++; // no synchronization starts on half of the bits
        }
        try
        {
            foreach (var disk in _disks) disk.Bitmap.Unsynced.SetAll();
            foreach (var disk in _disks) disk.Bitmap.Flush();
        }
        finally
        {
            lock (_log) _marking--;
            _signal.Set();
        }
    }

    /// <summary>
    /// Starts, or after a restart continues, making the target complete for everything unsynced. One that is streaming announces a gap all the same, and its end: who asks may know of one that
    /// this side knows nothing of, and waits for the end.
    /// </summary>
    public Task StartSynchronizationAsync()
    {
        // Counted first: a walk that ends meanwhile either answers this one too, or leaves it noted.
        Interlocked.Increment(ref _synchronizationsAsked);
        Save(s => s with { Synchronizing = true });
        _signal.Set();
        return Task.CompletedTask;
    }

    /// <summary>The stream is no prefix any more, and only whoever asks for a synchronization makes it one.</summary>
    public bool WaitsToBeAsked
    {
        get
        {
            lock (_log) return !_accepting && !_paused && !_fenced && !_resynchronizesAutomatically && !_frozen && !SynchronizationRequested;
        }
    }

    internal void ThrowIfFenced()
    {
        if (_fenced) throw new ReadOnlyDeviceException($"machine {_options.Machine} is fenced: its epoch is over");
        if (_frozen) throw new ReadOnlyDeviceException($"machine {_options.Machine} is frozen: a planned failover moves it to the other site");
    }

    internal long NextTicket() => Interlocked.Increment(ref _tickets);

    /// <summary>A write has landed: it gets its place in the history, and its data a place in the buffer if there is one.</summary>
    internal void Append(SplitDisk disk, long offset, long length, ExtentKind kind, ReadOnlySpan<byte> data)
    {
        var pieceMax = kind == ExtentKind.Data ? ExtentBytesMax : 1L << 30;
        lock (_log)
        {
            var landed = _time.GetUtcNow().UtcTicks;
            for (long at = 0; at < length;)
            {
                var piece = (int)Math.Min(pieceMax, length - at);
                if (_newest >= _reserveAt) Reserve();
                var extent = new Extent(offset + at, piece, disk.Geometry.Index, kind);
                if (IsExhausted) DoWithoutSequence();
                else _newest++;
                if (_accepting && !_ring.TryAppend(extent, _newest, landed, kind == ExtentKind.Data ? data.Slice((int)at, piece) : default))
                    LoseStream("the capture buffer overflowed");
                if (!_accepting) MarkUnsynced(disk, extent.Offset, piece);
                at += piece;
            }
        }
        _signal.Set();
    }

    /// <summary>A write failed half way: the disk may hold anything there, and no stream carries it.</summary>
    internal void LoseWrite(SplitDisk disk, long offset, long length)
    {
        lock (_log)
        {
            LoseStream("a write to the disk failed");
            MarkUnsynced(disk, offset, length);
        }
        _signal.Set();
    }

    private static void MarkUnsynced(SplitDisk disk, long offset, long length) =>
        disk.Bitmap.Unsynced.Set(offset / BitmapFile.BlockBytes, (offset + length - 1) / BitmapFile.BlockBytes);

    // Under _log. Whatever a synchronization has done since the last loss no longer clears bits.
    private void LoseStream(string reason)
    {
        if (_accepting) _lostTicks = _time.GetUtcNow().UtcTicks;
        _accepting = false;
        _reason = reason;
        _losses++;
    }

    private void Save(Func<CaptureState, CaptureState> change)
    {
        lock (_stateGate)
        {
            // What is not on the disk is not so: a fence is confirmed by what this state says.
            var changed = change(_state);
            if (_mayForget) changed = changed with { FlushFailedIn = _bootId };
            changed.Save(_files, _statePath);
            _state = changed;
        }
    }

    /// <summary>Ends the stream (stop RunAsync first) and remembers where the history ended.</summary>
    public async ValueTask DisposeAsync()
    {
        EndSession();
        await _reserving.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        await _flushing.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        try
        {
            // Once for what was rotated before, once for what came after.
            Settle(now: true);
            Settle(now: true);
            // Before it is said where the history ended: without power the disks would be behind that, and the target not.
            foreach (var disk in _disks) disk.Flush();
            // What has no sequence yet gets the last one that was reserved.
            Save(s => s with { CleanAt = _owesSequence ? null : _newest, Durable = _fenced ? 0 : _durableSequence });
        }
        finally
        {
            if (LetGoOfFiles() is { } failed) throw new IOException("a disk could not be let go of: " + failed.Message, failed);
        }
    }
}
