using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.DataPlane.Nbd;

namespace SiteRecovery.DataPlane.Tests.Nbd;

public sealed class Flushing
{
    [Fact]
    public async Task A_flush_holds_up_only_those_who_asked_for_it_and_one_serves_them_all()
    {
        HeldFlushes device = null!;
        await using var disk = new ServedDisk(wrap: inner => device = new HeldFlushes(inner));
        await using var client = await disk.ConnectAsync();
        var first = client.FlushAsync(ServedDisk.None);
        await device.Began.Task.WaitAsync(TimeSpan.FromSeconds(30));
        var waiting = Enumerable.Range(0, 20).Select(i => i % 2 == 0 ? client.FlushAsync(ServedDisk.None) : client.WriteAsync(i * 512, new byte[512], true, ServedDisk.None)).ToArray();
        await client.WriteAsync(0, new byte[512], false, ServedDisk.None).WaitAsync(TimeSpan.FromSeconds(30));
        await client.ReadAsync(0, new byte[512], ServedDisk.None).WaitAsync(TimeSpan.FromSeconds(30));
        Assert.False(first.IsCompleted);
        Assert.DoesNotContain(waiting, w => w.IsCompleted);
        device.Door.Set();
        await Task.WhenAll(waiting.Append(first)).WaitAsync(TimeSpan.FromSeconds(30));
        Assert.Equal(2, device.Flushes);
        Assert.Equal(10, device.WritesAtLastFlush - 1);
    }

    [Fact]
    public async Task A_flush_that_fails_fails_for_all_who_waited_for_it()
    {
        HeldFlushes device = null!;
        await using var disk = new ServedDisk(wrap: inner => device = new HeldFlushes(inner) { Failure = new IOException("no") });
        await using var client = await disk.ConnectAsync();
        device.Door.Set();
        Assert.Equal(5, (await Assert.ThrowsAsync<NbdException>(() => client.FlushAsync(ServedDisk.None))).Errno);
        Assert.Equal(5, (await Assert.ThrowsAsync<NbdException>(() => client.WriteAsync(0, new byte[512], true, ServedDisk.None))).Errno);
        await client.WriteAsync(0, new byte[512], false, ServedDisk.None);
    }

    private sealed class HeldFlushes(IBlockDevice inner) : IBlockDevice
    {
        private int _writes;

        public ManualResetEventSlim Door { get; } = new();
        public TaskCompletionSource Began { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);
        public IOException? Failure { get; init; }
        public int Flushes { get; private set; }
        public int WritesAtLastFlush { get; private set; }
        public long SizeBytes => inner.SizeBytes;
        public bool ReadOnly => inner.ReadOnly;

        public ValueTask ReadAsync(long offset, Memory<byte> into, CancellationToken stop) => inner.ReadAsync(offset, into, stop);

        public ValueTask WriteAsync(long offset, ReadOnlyMemory<byte> from, bool forceUnitAccess, CancellationToken stop)
        {
            Interlocked.Increment(ref _writes);
            return inner.WriteAsync(offset, from, forceUnitAccess, stop);
        }

        public ValueTask WriteZeroesAsync(long offset, long length, bool mayTrim, bool forceUnitAccess, CancellationToken stop) =>
            inner.WriteZeroesAsync(offset, length, mayTrim, forceUnitAccess, stop);

        public ValueTask FlushAsync(CancellationToken stop)
        {
            (Flushes, WritesAtLastFlush) = (Flushes + 1, Volatile.Read(ref _writes));
            Began.TrySetResult();
            if (!Door.Wait(TimeSpan.FromSeconds(30), CancellationToken.None)) throw new TimeoutException();
            return Failure is null ? inner.FlushAsync(stop) : throw Failure;
        }

        public ValueTask<IReadOnlyList<BlockStatusExtent>> StatusAsync(long offset, long length, CancellationToken stop) => inner.StatusAsync(offset, length, stop);
        public ValueTask DisposeAsync() => inner.DisposeAsync();
    }
}
