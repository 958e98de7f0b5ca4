using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.DataPlane.Retention;
using SiteRecovery.DataPlane.Storage;
using SiteRecovery.Domain.History;

namespace SiteRecovery.DataPlane.Tests.Retention;

public sealed class RetentionStoreTests : IDisposable
{
    private const int DiskBytes = 3 << 20;
    private static readonly MachineId Machine = new("db1");
    private readonly string _folder = Directory.CreateTempSubdirectory("store").FullName;
    private readonly List<byte[]> _model = [new byte[DiskBytes]];
    private long _ordinal;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    public async Task A_view_at_every_sequence_equals_the_model_before_and_after_reopening(int seed)
    {
        using (var store = Create())
        {
            Fill(store, new Random(seed), batches: 12);
            await AssertViews(store);
        }
        using var again = Open();
        await AssertViews(again);
        Assert.Equal($"e1-s{_model.Count - 1}", again.ResolvePoint(new PointSelector.Latest())!.Id);
    }

    [Fact]
    public void A_torn_tail_is_cut_at_the_last_whole_frame()
    {
        long acknowledged;
        using (var store = Create())
        {
            Fill(store, new Random(3), batches: 3);
            acknowledged = store.Bytes;
            store.Append(Delta(new Random(4)));
        }
        var segment = Path.Combine(_folder, "log", "0000000001.seg");
        var whole = File.ReadAllBytes(segment);
        foreach (var cut in new[] { 0, 1, 87, 88, 100, whole.Length - (int)acknowledged - 1 })
        {
            File.WriteAllBytes(segment, whole[..((int)acknowledged + cut)]);
            using var store = Open();
            Assert.Equal((cut, acknowledged, 4L), ((int)store.CutBytes, store.Bytes, store.Held.Ordinal));
            Assert.Null(store.FailedReason);
        }
    }

    [Fact]
    public async Task A_flipped_bit_is_found_by_verify_and_by_views()
    {
        using (var store = Create()) Fill(store, new Random(5), batches: 3);
        var whole = File.ReadAllBytes(Segment);
        for (var at = 0; at < whole.Length; at += 997)
        {
            File.WriteAllBytes(Segment, whole);
            using var healthy = Open();
            Flip(whole, at);
            Assert.NotEmpty(healthy.Verify());
            try
            {
                Assert.Equal(_model[^1], await ReadAll(healthy, _model.Count - 1));
            }
            catch (IOException damage)
            {
                Assert.Contains("damaged at offset", damage.Message, StringComparison.Ordinal);
            }
        }
    }

    [Fact]
    public async Task A_store_goes_on_in_front_of_what_has_rotted_in_its_last_segment_and_keeps_that_aside()
    {
        using (var store = Create()) Fill(store, new Random(5), batches: 3);
        var whole = File.ReadAllBytes(Segment);
        for (var at = 32; at < whole.Length; at += 997)
        {
            File.WriteAllBytes(Segment, whole);
            File.WriteAllBytes(Path.Combine(_folder, "log", "SYNCED"), SyncedAt(whole.Length));
            Flip(whole, at);
            using (var looked = RetentionStore.Open(_folder, RealFileSystem.Instance, TimeProvider.System, readOnly: true))
                Assert.Contains("damaged at offset", looked.FailedReason, StringComparison.Ordinal);
            Assert.Equal(whole.Length, new FileInfo(Segment).Length);
            using (var store = Open())
            {
                Assert.Equal((null, true), (store.FailedReason, store.HasLost));
                var (aside, kept) = (Assert.Single(Directory.GetFiles(Path.Combine(_folder, "log"), "*.lost-*")), (int)store.Bytes);
                Assert.Equal(aside, Assert.Single(store.Rot).File);
                Assert.InRange(kept, 32, at);
                Assert.Equal(whole.Length - kept, new FileInfo(aside).Length);
                Assert.True(File.ReadAllBytes(aside).AsSpan(at - kept + 1).SequenceEqual(whole.AsSpan(at + 1)));
                if (store.ConsistentUpTo is { } newest) Assert.Equal(_model[(int)newest.Sequence.Value], await ReadAll(store.At(newest)));
                store.Append(BatchCodec.Encode(Header(BatchKind.Marker, 0, 0) with { Marker = MarkerKind.StreamStart, Incarnation = 2, Ordinal = 1 }, [], "gap"u8));
                store.Flush();
            }
            // Until somebody who sends has been told.
            using (var again = Open()) Assert.Equal((null, true, 1L), (again.FailedReason, again.HasLost, again.Held.Ordinal));
            File.Delete(Directory.GetFiles(Path.Combine(_folder, "log"), "*.lost-*")[0]);
        }
    }

    [Fact]
    public async Task A_damaged_header_of_the_last_segment_loses_nothing()
    {
        using (var store = Create()) Fill(store, new Random(5), batches: 3);
        var whole = File.ReadAllBytes(Segment);
        for (var at = 0; at < 32; at += 5)
        {
            Flip(whole, at);
            using (var store = Open()) Assert.Equal((null, false, $"e1-s{_model.Count - 1}"), (store.FailedReason, store.HasLost, store.ConsistentUpTo?.Id));
            Assert.Equal(whole, File.ReadAllBytes(Segment));
        }
        using var again = Open();
        Assert.Equal(_model[^1], await ReadAll(again, _model.Count - 1));
    }

    [Fact]
    public async Task A_stale_epoch_is_refused_before_and_after_reopening_and_the_fork_has_no_tail()
    {
        using (var store = Create())
        {
            Fill(store, new Random(6), batches: 3);
            var from = store.ResolvePoint(new PointSelector.ById("e1-s2"))!;
            store.OpenEpoch(new Epoch(2), from);
            store.OpenEpoch(new Epoch(2), from);
            Assert.Throws<StaleEpochException>(() => store.Append(Delta(new Random(7))));
        }
        using var again = Open();
        Assert.Throws<StaleEpochException>(() => again.Append(Delta(new Random(7))));
        var latest = again.ResolvePoint(new PointSelector.Latest())!;
        Assert.Equal("e2-s2", latest.Id);
        Assert.Equal(_model[2], await ReadAll(again.At(latest)));
    }

    [Fact]
    public void Duplicates_are_ignored_and_gaps_are_refused()
    {
        using var store = Create();
        Fill(store, new Random(8), batches: 1);
        var next = Delta(new Random(9));
        Assert.True(store.Append(next));
        Assert.False(store.Append(next));
        _ordinal++;
        Assert.Equal(3, Assert.Throws<StreamGapException>(() => store.Append(Delta(new Random(10)))).Held.Ordinal);
    }

    private string Segment => Path.Combine(_folder, "log", "0000000001.seg");

    private void Flip(byte[] whole, int at)
    {
        var flipped = whole.ToArray();
        flipped[at] ^= 4;
        File.WriteAllBytes(Segment, flipped);
    }

    private static byte[] SyncedAt(long end)
    {
        var mark = new byte[24];
        BitConverter.TryWriteBytes(mark, 1L);
        BitConverter.TryWriteBytes(mark.AsSpan(8), end);
        BitConverter.TryWriteBytes(mark.AsSpan(16), System.IO.Hashing.XxHash3.HashToUInt64(mark.AsSpan(0, 16)));
        return mark;
    }

    private RetentionStore Create()
    {
        var store = RetentionStore.Create(_folder, Machine, [new DiskGeometry(0, "vda", DiskBytes)], Epoch.First, RealFileSystem.Instance, TimeProvider.System);
        store.Append(BatchCodec.Encode(Header(BatchKind.Marker, 0, 0) with { Marker = MarkerKind.StreamStart }, [], "continue"u8));
        return store;
    }

    private RetentionStore Open() => RetentionStore.Open(_folder, RealFileSystem.Instance, TimeProvider.System);

    private void Fill(RetentionStore store, Random random, int batches)
    {
        for (var i = 0; i < batches; i++) store.Append(BatchCodec.Compress(Delta(random), (PayloadCompression)random.Next(3)));
        store.Flush();
    }

    private BatchHeader Header(BatchKind kind, long first, long last) => new()
    {
        Kind = kind, MachineTag = BatchCodec.TagOf(Machine), Epoch = Epoch.First, Incarnation = 1, Ordinal = ++_ordinal,
        First = new Sequence(first), Last = new Sequence(last), Time = DateTimeOffset.UnixEpoch.AddSeconds(_ordinal),
    };

    private Batch Delta(Random random)
    {
        var (first, extents, payload) = (_model.Count, new List<Extent>(), new List<byte>());
        for (var i = random.Next(1, 4); i > 0; i--)
        {
            var (offset, length) = (random.Next(DiskBytes / 512 - 64) * 512, random.Next(1, 64) * 512);
            var (data, state) = (new byte[length], _model[^1].ToArray());
            var kind = random.Next(4) == 0 ? ExtentKind.Zero : ExtentKind.Data;
            if (kind == ExtentKind.Data) random.NextBytes(data.AsSpan(0, length / 2));
            if (kind == ExtentKind.Data) payload.AddRange(data);
            data.CopyTo(state, offset);
            extents.Add(new Extent(offset, length, 0, kind));
            _model.Add(state);
        }
        return BatchCodec.Encode(Header(BatchKind.Delta, first, _model.Count - 1), extents.ToArray(), payload.ToArray());
    }

    private async Task AssertViews(RetentionStore store)
    {
        for (var sequence = 1; sequence < _model.Count; sequence++) Assert.Equal(_model[sequence], await ReadAll(store, sequence));
    }

    private static Task<byte[]> ReadAll(RetentionStore store, long sequence) =>
        ReadAll(store.At(store.ResolvePoint(new PointSelector.ById($"e1-s{sequence}"))!));

    private static async Task<byte[]> ReadAll(StoreView view)
    {
        var bytes = new byte[DiskBytes];
        await view.Disk(0).ReadAsync(0, bytes, CancellationToken.None);
        return bytes;
    }
}
