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
    private StreamPosition _held;
    private Session? _session;

    public ValueTask<IStreamSession> OpenAsync(StreamOpening opening, IPositionListener positions, CancellationToken stop)
    {
        if (RefuseWith is { } epoch) throw new StaleEpochException(epoch);
        lock (Disks) _session = new Session(this, opening, positions, new StreamOpened(_held, _held, Newest, _held.Ordinal == 0));
        return new ValueTask<IStreamSession>(_session);
    }

    public void Break() => _session?.End();

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

        public ValueTask OfferAsync(Batch batch, CancellationToken stop)
        {
            if (_closed.Task.IsCompleted) throw new IOException("closed");
            lock (target.Disks)
            {
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
                if (header.Marker == MarkerKind.StreamStart) target.Consistent = batch.StoredPayload.Span.SequenceEqual("continue"u8);
                target._held = batch.Position;
                if (header.Last > target.Newest) target.Newest = header.Last;
                target.Applied?.Invoke(batch);
            }
            if (!target.Acknowledges) return ValueTask.CompletedTask;
            positions.Received(batch.Position);
            positions.Durable(batch.Position, target.Newest);
            return ValueTask.CompletedTask;
        }

        public ValueTask DisposeAsync()
        {
            _closed.TrySetResult(null);
            return ValueTask.CompletedTask;
        }
    }
}
