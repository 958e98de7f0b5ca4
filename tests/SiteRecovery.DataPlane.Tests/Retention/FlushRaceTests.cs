using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.DataPlane.Retention;
using SiteRecovery.DataPlane.Storage;
using SiteRecovery.Domain.History;

namespace SiteRecovery.DataPlane.Tests.Retention;

/// <summary>Of two flushes of a file only one hears of what was not written: the other must not vouch for it.</summary>
public sealed class FlushRaceTests : IDisposable
{
    private static readonly MachineId Machine = new("db1");
    private readonly string _folder = Directory.CreateTempSubdirectory("flush-race").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    public async Task What_is_flushed_beside_a_flush_that_fails_is_not_durable_either()
    {
        var files = new FailingOnce();
        using var store = RetentionStore.Create(_folder, Machine, [new DiskGeometry(0, "vda", 1 << 20)], Epoch.First, files, TimeProvider.System);
        Append(store, BatchKind.Marker, MarkerKind.StreamStart, 1, 0, "continue"u8);
        Append(store, BatchKind.Delta, MarkerKind.None, 2, 1, new byte[4096]);
        files.IsArmed = true;
        var failing = Task.Run(store.Flush);
        await files.IsUnderWay.Task;
        var beside = Task.Run(() => store.Protect(store.ConsistentUpTo!, keep: true));
        // It waits for the other's end, or has said by now that all is well.
        await Task.WhenAny(beside, Task.Run(() => SpinWait.SpinUntil(() => files.Flushes > 1, TimeSpan.FromSeconds(1))));
        files.MayFail.SetResult();
        await Assert.ThrowsAsync<IOException>(() => failing);
        await Assert.ThrowsAsync<IOException>(() => beside);
        Assert.Equal((0, Sequence.None), (store.Points.Count, store.DurableSequence));
    }

    private static void Append(RetentionStore store, BatchKind kind, MarkerKind marker, long ordinal, long sequence, ReadOnlySpan<byte> payload) => store.Append(BatchCodec.Encode(new BatchHeader
    {
        Kind = kind, Marker = marker, MachineTag = BatchCodec.TagOf(Machine), Epoch = Epoch.First, Incarnation = 1, Ordinal = ordinal,
        First = new Sequence(sequence), Last = new Sequence(sequence), Time = DateTimeOffset.UnixEpoch.AddSeconds(ordinal),
    }, kind == BatchKind.Delta ? [new Extent(0, payload.Length, 0, ExtentKind.Data)] : [], payload));

    /// <summary>As Linux does it: the error is told once, and the next flush succeeds and writes nothing.</summary>
    private sealed class FailingOnce : RealFiles
    {
        internal TaskCompletionSource IsUnderWay { get; } = new();
        internal TaskCompletionSource MayFail { get; } = new();
        internal bool IsArmed { get; set; }
        internal int Flushes { get; private set; }

        protected override IBlockFile Around(string path, IBlockFile file) => path.EndsWith(".seg", StringComparison.Ordinal) ? new Tail(this, file) : file;

        private sealed class Tail(FailingOnce of, IBlockFile file) : AroundFile(file)
        {
            public override void Flush()
            {
                if (!of.IsArmed || ++of.Flushes > 1)
                {
                    base.Flush();
                    return;
                }
                of.IsUnderWay.SetResult();
                of.MayFail.Task.Wait();
                throw new IOException("Input/output error", 5);
            }
        }
    }
}
