using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.DataPlane.Keys;
using SiteRecovery.DataPlane.Retention;
using SiteRecovery.DataPlane.Storage;
using SiteRecovery.Domain.History;

namespace SiteRecovery.DataPlane.Tests.Retention;

/// <summary>A file system that is trimmed, or made, zeroes gigabytes in one frame, which takes no room in a log.</summary>
public sealed class LargeTrimsTests : IDisposable
{
    private const long GiB = 1L << 30, DiskBytes = 4 * GiB;
    private static readonly MachineId Machine = new("db1");
    private readonly string _folder = Directory.CreateTempSubdirectory("trims").FullName;
    private long _ordinal, _sequence;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    /// <summary>In the same order, and with what lies beside it, whether it is read from a sealed segment, from one of a store that was opened anew, or from the base.</summary>
    [Fact]
    public async Task Zeroes_of_more_bytes_than_a_length_can_say_hide_what_was_there_and_nothing_else()
    {
        var (old, kept) = (Content(1), Content(2));
        using (var store = RetentionStore.Create(Store, Machine, [new DiskGeometry(0, "vda", DiskBytes)], Epoch.First, RealFileSystem.Instance, TimeProvider.System, options: new StoreOptions { SegmentFramesMax = 2 }))
        {
            Append(store, Header(BatchKind.Marker, 0) with { Marker = MarkerKind.StreamStart }, [], "continue"u8);
            Append(store, Header(BatchKind.Delta, 1), [new Extent(0, 4096, 0, ExtentKind.Data)], old);
            Append(store, Header(BatchKind.Delta, 1), [new Extent(3 * GiB / 2, 4096, 0, ExtentKind.Data)], old);
            Append(store, Header(BatchKind.Delta, 3), [new Extent(0, 4096, 0, ExtentKind.Data), new Extent(GiB, (int)GiB, 0, ExtentKind.Zero), new Extent(2 * GiB, (int)GiB, 0, ExtentKind.Zero)], kept);
            for (var i = 0; i < 4; i++) Append(store, Header(BatchKind.Delta, 1), [new Extent(DiskBytes - 4096, 4096, 0, ExtentKind.Data)], old);
            await AssertAsync(store);
        }
        using var again = RetentionStore.Open(Store, RealFileSystem.Instance, TimeProvider.System);
        await AssertAsync(again);
        for (var i = 0; i < 20; i++) Append(again, Header(BatchKind.Delta, 1), [new Extent(DiskBytes - 4096, 4096, 0, ExtentKind.Data)], old);
        again.Maintain(new RetentionLimits(TimeSpan.FromTicks(1), null), CancellationToken.None);
        Assert.Null(again.ResolvePoint(new PointSelector.ById("e1-s5")));
        await AssertAsync(again);

        async Task AssertAsync(RetentionStore store)
        {
            var view = store.At(store.ConsistentUpTo!);
            Assert.Equal(kept, Read(view, 0));
            Assert.Equal(new byte[4096], Read(view, 3 * GiB / 2));
            Assert.Equal(old, Read(view, DiskBytes - 4096));
            Assert.Equal([0, 0], await view.HashesAsync(0, 3 * GiB / 2, 4096, 2, CancellationToken.None));
            view.Release();
        }
    }

    /// <summary>Memory would not hold those of a large disk that was trimmed as a whole.</summary>
    [Theory, InlineData(false), InlineData(true)]
    public void Of_what_is_promoted_few_blocks_wait_in_memory(bool encrypted)
    {
        const int blocks = 1 << 14;
        var files = new FlushedFiles();
        using var store = RetentionStore.Create(Store, Machine, [new DiskGeometry(0, "vda", DiskBytes)], Epoch.First, files, TimeProvider.System,
            options: new StoreOptions { SegmentFramesMax = 1, BaseBlocksUnflushedMax = blocks / 4, Keys = new KeyWrappings(TestKeys.File(_folder), [], KeyWrappings.RenewAfterDefault) });
        if (encrypted) store.Encrypt(true);
        Append(store, Header(BatchKind.Marker, 0) with { Marker = MarkerKind.StreamStart }, [], "continue"u8);
        Append(store, Header(BatchKind.Delta, 1), [new Extent(4096, blocks * 4096, 0, ExtentKind.Zero)], []);
        for (var i = 0; i < 8; i++) Append(store, Header(BatchKind.Delta, 1), [new Extent(0, 4096, 0, ExtentKind.Data)], Content(i));
        var before = files.Flushes;
        store.Maintain(new RetentionLimits(TimeSpan.FromTicks(1), null), CancellationToken.None);
        Assert.True(files.Flushes >= before + 4, $"{files.Flushes - before} flushes of {blocks} blocks");
        Assert.Equal(Content(7), Read(store.At(store.ConsistentUpTo!), 0));
        Assert.Empty(store.Verify());
    }

    /// <summary>Counts how often what the base says of its blocks was flushed.</summary>
    private sealed class FlushedFiles : RealFiles
    {
        internal int Flushes { get; private set; }

        protected override IBlockFile Around(string path, IBlockFile file) => Path.GetFileName(path) is "disk-0.sum" or "disk-0.tag" ? new Counted(this, file) : file;

        private sealed class Counted(FlushedFiles files, IBlockFile file) : AroundFile(file)
        {
            public override void Flush()
            {
                base.Flush();
                files.Flushes++;
            }
        }
    }

    private string Store => Path.Combine(_folder, "store");

    private static byte[] Content(int seed)
    {
        var content = new byte[4096];
        new Random(seed).NextBytes(content);
        return content;
    }

    private static byte[] Read(StoreView view, long offset)
    {
        var bytes = new byte[4096];
        view.File(0).Read(offset, bytes);
        return bytes;
    }

    private static void Append(RetentionStore store, BatchHeader header, Extent[] extents, ReadOnlySpan<byte> data) => Assert.True(store.Append(BatchCodec.Encode(header, extents, data)));

    private BatchHeader Header(BatchKind kind, int writes)
    {
        var first = writes == 0 ? 0 : _sequence + 1;
        _sequence += writes;
        return new()
        {
            Kind = kind, MachineTag = BatchCodec.TagOf(Machine), Epoch = Epoch.First, Incarnation = 1, Ordinal = ++_ordinal,
            First = new Sequence(first), Last = new Sequence(writes == 0 ? 0 : _sequence), Time = DateTimeOffset.UnixEpoch.AddSeconds(_ordinal),
        };
    }
}
