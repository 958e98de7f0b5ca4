using System.IO.Hashing;
using System.Threading.Channels;
using SiteRecovery.DataPlane.Blocks;

namespace SiteRecovery.DataPlane.Capture;

/// <content>Initial replication and resynchronization: one walk over what is unsynced, beside the stream of new writes.</content>
public sealed partial class MachineCapture
{
    private const int ChunkBlocks = BatchBytesMax / BitmapFile.BlockBytes, ChunksAhead = 8;
    /// <summary>Compared and sent by the page, though tracked by the block: guests write a few pages here and there.</summary>
    private const int PartBytes = 4096;
    private static readonly TimeSpan EndRetry = TimeSpan.FromSeconds(1);
    private readonly Lock _chunkGate = new();
    private readonly List<SyncChunk> _openChunks = [];
    private Channel<SyncChunk>? _walk;
    private CancellationTokenSource? _walkStop;
    private Task _walking = Task.CompletedTask;
    private bool _targetEmpty;
    private long _synchronizationsAsked, _synchronizationsEnded;
    /// <summary>How many synchronizations had been asked for when the end of one was sent; -1: no end is on its way. Under _log.</summary>
    private long _ending = -1;
    private long _endTriedAt; // the pump's only; 0: the last time it succeeded
    private long _walkLosses = -1, _walkTicket = -1, _walkEnd = -1, _walkStarted;
    private long _progressTotal, _progressDone, _progressSent;

    private bool SynchronizationRequested => Interlocked.Read(ref _synchronizationsAsked) != Interlocked.Read(ref _synchronizationsEnded);

    /// <summary>A run of blocks that has been read; parts of them that the target has already are false in <see cref="Differs"/>.</summary>
    private sealed class SyncChunk(SplitDisk disk, long first, int blocks)
    {
        public readonly SplitDisk Disk = disk;
        public readonly long First = first, Offset = first * BitmapFile.BlockBytes;
        public readonly int Blocks = blocks;
        public readonly Memory<byte> Data = Room((int)Math.Min((long)blocks * BitmapFile.BlockBytes, disk.SizeBytes - first * BitmapFile.BlockBytes));
        public readonly bool[] Differs = new bool[blocks * (BitmapFile.BlockBytes / PartBytes)];
        public bool Stale;
        /// <summary>Of reading and comparing it.</summary>
        public Task Compared = Task.CompletedTask;

        public int Parts => (Data.Length + PartBytes - 1) / PartBytes;

        public Span<byte> Part(int index) => Data.Span.Slice(index * PartBytes, Math.Min(PartBytes, Data.Length - index * PartBytes));

        private static Memory<byte> Room(int bytes) => FramePool.Shared.Rent(bytes).AsMemory(0, bytes);
    }

    private void MarkStale(Extent extent)
    {
        lock (_chunkGate)
            foreach (var chunk in _openChunks)
                if (chunk.Disk.Geometry.Index == extent.Disk && extent.Offset < chunk.Offset + chunk.Data.Length && chunk.Offset < extent.Offset + extent.Length) chunk.Stale = true;
    }

    private async ValueTask<bool> ShipBlocksAsync(IStreamSession session, CancellationToken stop)
    {
        if (_walk is null) return await TryStartWalkAsync(session, stop).ConfigureAwait(false);
        if (_walkLosses != Volatile.Read(ref _losses))
        {
            await StopWalkAsync().ConfigureAwait(false);
            return true;
        }
        if (_walk.Reader.TryPeek(out var next))
        {
            if (!next.Compared.IsCompleted) return false;
            await next.Compared.ConfigureAwait(false);
            _walk.Reader.TryRead(out _);
            await ShipChunkAsync(session, next, stop).ConfigureAwait(false);
            return true;
        }
        if (!_walk.Reader.Completion.IsCompleted) return false;
        await _walking.ConfigureAwait(false);
        return await TryCompleteWalkAsync(session, stop).ConfigureAwait(false);
    }

    private async ValueTask<bool> TryStartWalkAsync(IStreamSession session, CancellationToken stop)
    {
        lock (_log)
        {
            if (_owesSequence) Reserve();
            if (!MayStartWalk()) return false;
        }
        // Before anything is changed: where it cannot be saved, nothing has begun.
        if (!_state.Synchronizing) Save(s => s with { Synchronizing = true });
        bool gap;
        lock (_log)
        {
            if (!MayStartWalk()) return false;
            // Only a stream that was told nothing else since its start still has the gap that its start announced.
            gap = _consistent;
            _consistent = false;
            _accepting = true;
            _ending = -1; // the end of this one is the end of that one too
            if (_walkLosses != _losses)
            {
                _toClear.Clear();
                foreach (var disk in _disks) disk.Sent.ClearAll();
            }
            _walkLosses = _losses;
        }
        if (gap) await ShipMarkerAsync(session, MarkerKind.StreamStart, "gap", stop).ConfigureAwait(false);
        (_walkTicket, _walkEnd, _progressDone, _progressSent, _walkStarted) = (-1, -1, 0, 0, _time.GetTimestamp());
        _progressTotal = _disks.Sum(d => Math.Max(0, d.Bitmap.Unsynced.Count - d.Sent.Count) * BitmapFile.BlockBytes);
        _walkStop = CancellationTokenSource.CreateLinkedTokenSource(stop);
        _walk = Channel.CreateBounded<SyncChunk>(ChunksAhead);
        _walking = WalkAsync(session, _walk.Writer, _targetEmpty, _walkStop.Token);
        _targetEmpty = false;
        return true;
    }

    // Under _log.
    private bool MayStartWalk()
    {
        var requested = Interlocked.Read(ref _synchronizationsAsked) is var asked && asked != Interlocked.Read(ref _synchronizationsEnded) && asked != _ending;
        if ((_accepting && _consistent && !requested) || _paused || _marking > 0 || _owesSequence) return false;
        var nothingMissing = _disks.TrueForAll(d => d.Bitmap.Unsynced.None);
        // Whoever drains it wants the target to be whole, and can ask for nothing else meanwhile.
        var wanted = requested || nothingMissing || ((_resynchronizesAutomatically || _frozen) && _state.EverSynchronized);
        if (!wanted || (!_accepting && _ring.Count > 0)) return false;
        // A write that is lost now may have set a block back to what the target still holds of it: compared before what was shipped
        // in between has arrived, the block would count as equal.
        return _accepting || _durableOrdinal >= _ordinal;
    }

    private async Task WalkAsync(IStreamSession session, ChannelWriter<SyncChunk> chunks, bool targetEmpty, CancellationToken stop)
    {
        await Task.Yield();
        try
        {
            foreach (var disk in _disks)
                for (var first = disk.Bitmap.Unsynced.Next(0, disk.Sent); first >= 0; first = disk.Bitmap.Unsynced.Next(first, disk.Sent))
                {
                    var blocks = 1;
                    while (blocks < ChunkBlocks && first + blocks < disk.Bitmap.Unsynced.Blocks && disk.Bitmap.Unsynced[first + blocks] && !disk.Sent[first + blocks]) blocks++;
                    await chunks.WaitToWriteAsync(stop).ConfigureAwait(false);
                    var chunk = new SyncChunk(disk, first, blocks);
                    chunk.Compared = CompareAsync(session, chunk, targetEmpty, stop);
                    // The only writer, and there is room.
                    chunks.TryWrite(chunk);
                    first += blocks;
                }
        }
        finally
        {
            chunks.TryComplete();
            _signal.Set();
        }
    }

    private async Task CompareAsync(IStreamSession session, SyncChunk chunk, bool targetEmpty, CancellationToken stop)
    {
        // Registered before it is read, so that no delta to it goes unnoticed.
        lock (_chunkGate) _openChunks.Add(chunk);
        try
        {
            Read(chunk);
            var theirs = targetEmpty ? null
                : await session.HashesAsync(chunk.Disk.Geometry.Index, chunk.Offset, PartBytes, chunk.Parts, stop).ConfigureAwait(false);
            for (var i = 0; i < chunk.Parts; i++) chunk.Differs[i] = theirs is null ? !IsZero(chunk.Part(i)) : theirs[i] != HashOf(chunk.Part(i));
        }
        finally
        {
            _signal.Set();
        }
    }

    private static void Read(SyncChunk chunk)
    {
        var (run, hole) = chunk.Disk.File.RunAt(chunk.Offset);
        if (hole && run >= chunk.Data.Length) chunk.Data.Span.Clear();
        else chunk.Disk.File.Read(chunk.Offset, chunk.Data.Span);
    }

    private static bool IsZero(ReadOnlySpan<byte> block) => block.IndexOfAnyExcept((byte)0) < 0;

    private static ulong HashOf(ReadOnlySpan<byte> block) => IsZero(block) ? 0 : XxHash3.HashToUInt64(block);

    private async ValueTask ShipChunkAsync(IStreamSession session, SyncChunk chunk, CancellationToken stop)
    {
        lock (_chunkGate) _openChunks.Remove(chunk);
        // Nobody else encodes batches, so nothing slips between this second read and the chunk's place in the log.
        if (chunk.Stale) Read(chunk);
        var (count, bytes) = Gather(chunk);
        Batch? batch = null;
        var last = new Domain.History.Sequence(_shipped);
        if (count > 0) batch = Encode(BatchKind.Sync, MarkerKind.None, last, last, _extents.AsSpan(0, count), chunk.Data.Span[..bytes]);
        FramePool.Shared.Return(chunk.Data);
        lock (_log)
        {
            chunk.Disk.Sent.Set(chunk.First, chunk.First + chunk.Blocks - 1);
            _toClear.Enqueue((_ordinal, _walkLosses, chunk.Disk, chunk.First, chunk.First + chunk.Blocks - 1));
        }
        _progressDone += chunk.Data.Length;
        _progressSent += bytes;
        if (batch is not null) await session.OfferAsync(batch, stop).ConfigureAwait(false);
    }

    /// <summary>What differs becomes extents, neighbours one; their data moves to the chunk's beginning.</summary>
    private (int Extents, int Bytes) Gather(SyncChunk chunk)
    {
        int count = 0, bytes = 0;
        for (var i = 0; i < chunk.Parts; i++)
        {
            if (!chunk.Differs[i]) continue;
            var part = chunk.Part(i);
            var kind = IsZero(part) ? ExtentKind.Zero : ExtentKind.Data;
            var offset = chunk.Offset + (long)i * PartBytes;
            if (count > 0 && _extents[count - 1] is var last && last.Kind == kind && last.Offset + last.Length == offset)
                _extents[count - 1] = last with { Length = last.Length + part.Length };
            else _extents[count++] = new Extent(offset, part.Length, chunk.Disk.Geometry.Index, kind);
            if (kind == ExtentKind.Zero) continue;
            if (bytes < i * PartBytes) part.CopyTo(chunk.Data.Span[bytes..]);
            bytes += part.Length;
        }
        return (count, bytes);
    }

    /// <summary>The last read may have seen writes that are not shipped yet; the replica is a prefix once they all are.</summary>
    private async ValueTask<bool> TryCompleteWalkAsync(IStreamSession session, CancellationToken stop)
    {
        if (_walkTicket < 0) _walkTicket = Interlocked.Read(ref _tickets);
        lock (_log)
        {
            if (_walkEnd < 0 && _disks.TrueForAll(d => d.HasPassed(_walkTicket))) _walkEnd = _newest;
            if (_walkEnd < 0 || (_ring.Count > 0 && _ring.Peek(0).Sequence <= _walkEnd)) return false;
            if (_walkLosses != _losses) return true;
            _shipped = Math.Max(_shipped, _walkEnd);
            (_consistent, _completeOrdinal) = (true, long.MaxValue);
            // Whoever asks meanwhile has counted it before, or notes it after this.
            _ending = Interlocked.Read(ref _synchronizationsAsked);
            _reason = null;
        }
        await ShipMarkerAsync(session, MarkerKind.SyncCompleted, "", stop).ConfigureAwait(false);
        await StopWalkAsync().ConfigureAwait(false);
        return true;
    }

    /// <summary>
    /// What was announced as a gap is one until its end is durable: lost on the way, as with a process server's memory, it must be sent anew, and where nothing is written no sequence tells
    /// that the target waits for it. The pump's only.
    /// </summary>
    private void EndSynchronization()
    {
        long asked;
        lock (_log)
        {
            if (_ending < 0 || _durableOrdinal < _completeOrdinal) return;
            asked = _ending;
        }
        if (_endTriedAt != 0 && _time.GetElapsedTime(_endTriedAt) < EndRetry) return;
        _endTriedAt = _time.GetTimestamp();
        try
        {
            Save(s => s with { Synchronizing = asked != Interlocked.Read(ref _synchronizationsAsked), EverSynchronized = true });
        }
        catch (Exception unsaved) when (unsaved is IOException or UnauthorizedAccessException)
        {
            _lastError = unsaved.Message; // the stream does not wait for it
            return;
        }
        _endTriedAt = 0;
        Interlocked.Exchange(ref _synchronizationsEnded, asked);
        lock (_log) _ending = -1;
    }

    private async Task StopWalkAsync()
    {
        if (_walk is null) return;
        _walkStop!.Cancel();
        await _walking.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        while (_walk.Reader.TryRead(out var chunk))
        {
            await chunk.Compared.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            FramePool.Shared.Return(chunk.Data);
        }
        lock (_chunkGate) _openChunks.Clear();
        _walkStop.Dispose();
        _walk = null;
    }

    public CaptureStatus Status()
    {
        var dirty = _disks.Sum(d => d.Bitmap.Unsynced.Count * BitmapFile.BlockBytes);
        lock (_log)
        {
            var mode = _fenced ? CaptureMode.Fenced : _paused ? CaptureMode.Paused : !_accepting ? CaptureMode.Tracking : _consistent ? CaptureMode.Streaming : CaptureMode.Synchronizing;
            var complete = _accepting && _consistent && _durableOrdinal >= _completeOrdinal;
            var elapsed = _walk is null ? 0 : _time.GetElapsedTime(_walkStarted).TotalSeconds;
            var rate = elapsed > 0 ? _progressDone / elapsed : 0;
            var progress = new SynchronizationProgress(_progressTotal, _progressDone, _progressSent, rate,
                rate > 0 ? TimeSpan.FromSeconds(Math.Max(0, _progressTotal - _progressDone) / rate) : null);
            return new CaptureStatus(mode, Epoch, _connected, new(_newest), new(_durableSequence),
                dirty, progress, _reason,
                Interlocked.Read(ref _bytesShipped), Interlocked.Read(ref _bytesResent), _lastError, complete,
                SynchronizationRequested || _ending >= 0 || _reason is not null || mode == CaptureMode.Synchronizing || (mode == CaptureMode.Streaming && !complete));
        }
    }
}
