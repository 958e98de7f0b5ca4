using System.IO.Hashing;
using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.Domain.History;

namespace SiteRecovery.DataPlane.Tests.Capture;

/// <summary>Applies batches in log order to byte arrays, checks ordinals and acknowledges at once, or never.</summary>
internal sealed class MemoryTarget(params long[] diskBytes) : IStreamTarget
{
    public byte[][] Disks { get; } = diskBytes.Select(b => new byte[b]).ToArray();
    public bool Acknowledges { get; set; } = true;
    public bool Consistent { get; private set; }
    public long SyncBytes { get; private set; }
    public Sequence Newest { get; private set; }
    public Epoch? RefuseWith { get; set; }
    public Action<Batch>? Applied { get; set; }
    public Func<StreamOpened, StreamOpened>? Says { get; set; }
    /// <summary>What is said to be durable before the opening is answered.</summary>
    public Func<StreamOpened, (StreamPosition Position, Sequence Sequence)>? Overtakes { get; set; }
    public int Openings { get; private set; }
    /// <summary>False: received, but gone with <see cref="LoseUnsynced"/>.</summary>
    public bool SaysDurable { get; set; } = true;
    /// <summary>Reset: every offer waits, as with a network that takes nothing.</summary>
    public ManualResetEventSlim HoldOffers { get; } = new(true);
    public StreamPosition Held => _held;
    private (StreamPosition Held, Sequence Newest, bool Consistent, byte[][] Disks)? _synced;
    private StreamPosition _held;
    private Session? _session;

    public ValueTask<IStreamSession> OpenAsync(StreamOpening opening, IPositionListener positions, CancellationToken stop)
    {
        if (RefuseWith is { } epoch) throw new StaleEpochException(epoch);
        lock (Disks)
        {
            var opened = new StreamOpened(_held, _held, Newest, _held.Ordinal == 0);
            _session = new Session(this, opening, positions, Says is null ? opened : Says(opened));
            Openings++;
            if (Overtakes?.Invoke(opened) is { } early) positions.Durable(early.Position, early.Sequence);
        }
        return new ValueTask<IStreamSession>(_session);
    }

    public void Break() => _session?.End();

    /// <summary>Power loss: back to where it was when <see cref="SaysDurable"/> ended.</summary>
    public void LoseUnsynced()
    {
        lock (Disks)
        {
            if (_synced is { } synced)
            {
                (_held, Newest, Consistent) = (synced.Held, synced.Newest, synced.Consistent);
                for (var i = 0; i < Disks.Length; i++) synced.Disks[i].CopyTo(Disks[i], 0);
            }
            SaysDurable = true;
        }
        Break();
    }

    /// <summary>It was said to be durable, and is gone: the first bytes of each disk, and the newest sequence.</summary>
    public void Lose(int bytes)
    {
        lock (Disks)
        {
            foreach (var disk in Disks) disk.AsSpan(0, bytes).Clear();
            Newest = new Sequence(Newest.Value - 1);
        }
        Break();
    }

    /// <summary>The same of a synchronization, which gave out no sequence.</summary>
    public void LoseSynchronized(int bytes)
    {
        lock (Disks)
        {
            foreach (var disk in Disks) disk.AsSpan(0, bytes).Clear();
            _held = _held with { Ordinal = _held.Ordinal - 1 };
        }
        Break();
    }

    private sealed class Session(MemoryTarget target, StreamOpening opening, IPositionListener positions, StreamOpened opened) : IStreamSession
    {
        private readonly TaskCompletionSource<Exception?> _closed = new(TaskCreationOptions.RunContinuationsAsynchronously);
        public StreamOpened Opened => opened;
        public Task<Exception?> Closed => _closed.Task;
        public void End() => _closed.TrySetResult(new IOException("broken"));

        public ValueTask<ulong[]> HashesAsync(ushort disk, long offset, int blockBytes, int blocks, CancellationToken stop)
        {
            lock (target.Disks)
                return new ValueTask<ulong[]>(Enumerable.Range(0, blocks).Select(i =>
                {
                    var at = (int)offset + i * blockBytes;
                    var block = target.Disks[disk].AsSpan(at, Math.Min(blockBytes, target.Disks[disk].Length - at));
                    return block.IndexOfAnyExcept((byte)0) < 0 ? 0 : XxHash3.HashToUInt64(block);
                }).ToArray());
        }

        public async ValueTask OfferAsync(Batch batch, CancellationToken stop)
        {
            if (!target.HoldOffers.IsSet) await Task.Run(() => target.HoldOffers.Wait(stop), stop);
            if (_closed.Task.IsCompleted) throw new IOException("closed");
            lock (target.Disks)
            {
                if (target.SaysDurable) target._synced = null;
                else target._synced ??= (target._held, target.Newest, target.Consistent, [.. target.Disks.Select(d => d.ToArray())]);
                BatchCodec.Verify(batch.Frame);
                var header = batch.Header;
                var expected = target._held.Incarnation == opening.Incarnation ? target._held.Ordinal + 1 : 1;
                Assert.Equal((opening.Incarnation, expected), (header.Incarnation, header.Ordinal));
                var at = 0;
                for (var i = 0; i < header.ExtentCount; i++)
                {
                    var extent = batch.ExtentAt(i);
                    var into = target.Disks[extent.Disk].AsSpan((int)extent.Offset, extent.Length);
                    into.Clear();
                    if (extent.Kind == ExtentKind.Zero) continue;
                    batch.StoredPayload.Span.Slice(at, extent.Length).CopyTo(into);
                    at += extent.Length;
                }
                if (header.Kind == BatchKind.Sync) target.SyncBytes += header.RawBytes;
                if (header.Marker == MarkerKind.SyncCompleted) target.Consistent = true;
                // Who goes on closes no gap that is there.
                if (header.Marker == MarkerKind.StreamStart) target.Consistent = (target.Consistent || target._held.Ordinal == 0) && batch.StoredPayload.Span.SequenceEqual("continue"u8);
                target._held = batch.Position;
                if (header.Last > target.Newest) target.Newest = header.Last;
                target.Applied?.Invoke(batch);
            }
            if (!target.Acknowledges) return;
            positions.Received(batch.Position);
            if (target.SaysDurable) positions.Durable(batch.Position, target.Newest);
        }

        public ValueTask DisposeAsync()
        {
            _closed.TrySetResult(null);
            return ValueTask.CompletedTask;
        }
    }
}
