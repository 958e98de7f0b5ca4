using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.DataPlane.ProcessServer;
using SiteRecovery.DataPlane.Retention;
using SiteRecovery.DataPlane.Storage;
using SiteRecovery.Domain.History;

namespace SiteRecovery.DataPlane.Tests.ProcessServer;

public sealed class CoalescingTests : SpoolFixture
{
    private int _stores;

    [Theory, InlineData(1), InlineData(2), InlineData(3), InlineData(4), InlineData(5), InlineData(6)]
    public async Task A_coalesced_stream_gives_the_same_disks_wherever_it_can_still_be_viewed(int seed)
    {
        var (random, originals) = (new Random(seed), RandomStream(seed));
        var rewritten = Rewritten(originals, out var coalesced);
        Assert.True(coalesced > 0);
        AssertSameStream(originals, rewritten);
        using var plain = Filled(originals);
        using var filled = Filled(rewritten);
        await AssertSameAsync(plain, filled, originals);
        for (var round = 0; round < 3; round++)
        {
            // The target may hold a part already, of either form, when the rest comes in the other.
            var at = random.Next(1, originals.Count);
            using var mixed = Filled([.. originals[..at], .. rewritten[at..]]);
            await AssertSameAsync(plain, mixed, originals);
            var cut = Filled(rewritten[..at]);
            Assert.True(at == 0 || !rewritten[(int)cut.Held.Ordinal - 1].Header.Absorbed);
            cut = Reopened(cut);
            foreach (var batch in (round % 2 == 0 ? originals : rewritten)[(int)cut.Held.Ordinal..]) Assert.True(cut.Append(batch));
            cut.Flush();
            using var again = Reopened(cut);
            await AssertSameAsync(plain, again, originals);
        }
    }

    [Fact]
    public void Nothing_counts_as_durable_before_the_data_of_what_was_absorbed_is_there()
    {
        var agent = new Agent(this);
        List<Batch> stream = [agent.Start(), agent.Write(writes: 1), agent.Marker(MarkerKind.CrashConsistentPoint), agent.Write(blocks: 1), agent.Marker(MarkerKind.Tick), agent.Write(blocks: 1), agent.Marker(MarkerKind.Tick)];
        var rewritten = Rewritten(stream, out var coalesced);
        Assert.Equal(2, coalesced);
        using var store = Filled(rewritten[..3]);
        var (held, newest, consistent) = (store.Held, store.DurableSequence, store.ConsistentUpTo);
        foreach (var batch in rewritten[3..5])
        {
            Assert.True(store.Append(batch));
            store.Flush();
            Assert.Equal((held, held, newest, consistent), (store.Held, store.Durable, store.DurableSequence, store.ConsistentUpTo));
        }
        Assert.Throws<StreamGapException>(() => store.Append(stream[5]));
        Assert.Throws<StreamGapException>(() => store.Append(BatchCodec.Encode(stream[5].Header with { Kind = BatchKind.Marker, Marker = MarkerKind.CrashConsistentPoint }, [], [])));
        Assert.Null(store.ResolvePoint(new PointSelector.ById($"e1-s{stream[3].Header.Last}")));
        foreach (var batch in rewritten[5..]) store.Append(batch);
        store.Flush();
        Assert.Equal((new StreamPosition(1, 7), stream[^1].Header.Last), (store.Durable, store.DurableSequence));
    }

    [Fact]
    public void What_overwrites_nothing_is_left_alone()
    {
        var agent = new Agent(this);
        List<Batch> stream = [agent.Start()];
        for (var i = 0; i < 20; i++)
            stream.Add(BatchCodec.Encode(agent.Marker(MarkerKind.Tick).Header with { Kind = BatchKind.Delta, Marker = MarkerKind.None, First = new(i + 1), Last = new(i + 1) }, [new Extent(i * 4096, 4096, 0, ExtentKind.Data)], new byte[4096]));
        var rewritten = Rewritten(stream, out var coalesced);
        Assert.Equal(0, coalesced);
        Assert.Equal(stream.Select(b => b.Frame.ToArray()), rewritten.Select(b => b.Frame.ToArray()));
    }

    [Fact]
    public void A_run_ends_before_its_carrier_would_exceed_the_limits_of_a_batch()
    {
        var agent = new Agent(this);
        List<Batch> stream = [agent.Start()];
        var sequence = 0;
        for (var i = 0; i < 24; i++)
        {
            var extents = Enumerable.Range(0, 300).Select(n => new Extent((i / 2 * 300 + n) * 4096L, 4096, 0, i % 3 == 0 ? ExtentKind.Zero : ExtentKind.Data)).ToArray();
            stream.Add(BatchCodec.Encode(agent.Marker(MarkerKind.Tick).Header with { Kind = BatchKind.Delta, Marker = MarkerKind.None, First = new(sequence + 1), Last = new(sequence += 300) },
                extents, new byte[i % 3 == 0 ? 0 : 300 * 4096]));
        }
        var rewritten = Rewritten(stream, out var coalesced);
        Assert.True(coalesced > 10);
        Assert.True(rewritten.Count(b => b.Header is { Coalesced: true, Absorbed: false }) > 1);
        Assert.All(rewritten, b => Assert.True(b.Header.ExtentCount <= BatchCodec.ExtentsMax && b.Header.RawBytes <= BatchCodec.PayloadBytesMax));
    }

    [Fact]
    public async Task Under_pressure_what_waits_shrinks_and_the_stream_goes_on_and_every_point_stays()
    {
        Link.Up = false;
        var (spool, agent) = (Open(bytesMax: 2 << 20, segmentBytes: 128 << 10, coalesceAt: 0.5), new Agent(this));
        await using var session = await agent.OpenAsync(spool);
        await session.OfferAsync(agent.Start(), default);
        for (var i = 0; i < 600; i++)
        {
            await session.OfferAsync(agent.Write(blocks: 4), default).AsTask().WaitAsync(TimeSpan.FromSeconds(30));
            if (i % 50 == 0) await session.OfferAsync(agent.Marker(MarkerKind.ApplicationConsistentPoint, $"p{i}"), default);
        }
        Assert.True(agent.Sent.Sum(b => (long)b.Frame.Length) > 3 << 20);
        Assert.True(spool.StatusOf(Machine).CoalescedBatches > 100);
        spool = Killed(spool, folder => File.WriteAllBytes(Segments()[1] + ".tmp", new byte[1000]));
        Assert.Empty(Directory.GetFiles(Folder, "*.tmp"));
        Link.Up = true;
        await UntilAsync(() => spool.StatusOf(Machine) is { Batches: 0, Connected: false } s && s.Durable.Ordinal == agent.Ordinal);
        Assert.Equal(Model[^1], await ReadAsync(Model.Count - 1));
        var points = agent.Sent.Where(b => b.Header.Marker == MarkerKind.ApplicationConsistentPoint).Select(b => b.Header.Last.Value).ToArray();
        Assert.Equal(points, Store.Points.Select(p => p.Sequence.Value));
        foreach (var point in points) Assert.Equal(Model[(int)point], await ReadAsync(point));
    }

    [Fact]
    public async Task What_the_sender_has_begun_with_is_not_rewritten_under_it()
    {
        var (spool, agent) = (Open(coalesceAt: 0, segmentBytes: 32 << 10), new Agent(this));
        await using var session = await agent.OpenAsync(spool);
        await session.OfferAsync(agent.Start(), default);
        await UntilAsync(() => agent.DurableUpTo.Ordinal == 1);
        Link.Takes = false;
        var first = await OfferedAsync(1); // the sender holds it, before a link that takes nothing
        await UntilAsync(() => Link.Waiting > 0);
        await OfferedAsync(80);
        await UntilAsync(() => spool.StatusOf(Machine).CoalescedBatches > 40);
        Link.Takes = true;
        await UntilAsync(() => agent.DurableUpTo.Ordinal == agent.Ordinal || session.Closed.IsCompleted);
        Assert.False(session.Closed.IsCompleted);
        Assert.Contains(Link.Passed, b => b.Frame.Span.SequenceEqual(first.Frame.Span));
        Assert.Equal(Model[^1], await ReadAsync(Model.Count - 1));

        async Task<Batch> OfferedAsync(int batches)
        {
            for (var i = 0; i < batches; i++) await session.OfferAsync(agent.Write(blocks: 2), default);
            return agent.Sent[^1];
        }
    }

    /// <summary>As a loss of power leaves it.</summary>
    [Fact]
    public async Task Absorbed_deltas_whose_carrier_is_lost_hold_up_nothing()
    {
        Link.Up = false;
        var (spool, agent) = (Open(coalesceAt: 0, segmentBytes: 32 << 10), new Agent(this));
        var session = await agent.OpenAsync(spool);
        await session.OfferAsync(agent.Start(), default);
        for (var i = 0; i < 80; i++) await session.OfferAsync(agent.Write(blocks: 2), default);
        await UntilAsync(() => spool.StatusOf(Machine).CoalescedBatches > 0);
        spool = Killed(spool, _ =>
        {
            using var torn = File.OpenWrite(Segments()[0]);
            torn.SetLength(torn.Length - 1);
        });
        var later = new Agent(this, incarnation: 2);
        await using var next = await later.OpenAsync(spool);
        await next.OfferAsync(later.Start(), default);
        Link.Up = true;
        await UntilAsync(() => later.DurableUpTo == new StreamPosition(2, 1));
        Assert.Equal(0, spool.StatusOf(Machine).Batches);
    }

    [Fact]
    public async Task Without_pressure_every_write_stays_viewable()
    {
        Link.Up = false;
        var (spool, agent) = (Open(coalesceAt: 0.5, segmentBytes: 4096), new Agent(this));
        await using var session = await agent.OpenAsync(spool);
        await session.OfferAsync(agent.Start(), default);
        for (var i = 0; i < 40; i++) await session.OfferAsync(agent.Write(blocks: 2), default);
        Link.Up = true;
        await UntilAsync(() => agent.DurableUpTo.Ordinal == agent.Ordinal);
        Assert.Equal(0, spool.StatusOf(Machine).CoalescedBatches);
        for (var sequence = 1; sequence < Model.Count; sequence += 7) Assert.Equal(Model[sequence], await ReadAsync(sequence));
    }

    private List<Batch> RandomStream(int seed)
    {
        var (random, agent, stream) = (new Random(seed), new Agent(this, seed: seed), new List<Batch>());
        stream.Add(agent.Start());
        for (var i = 0; i < 120; i++)
            stream.Add(random.Next(12) switch
            {
                0 => agent.Marker(MarkerKind.CrashConsistentPoint),
                1 when random.Next(3) == 0 => agent.Sync(),
                < 4 => agent.Marker(MarkerKind.Tick),
                _ => BatchCodec.Compress(agent.Write(blocks: random.Next(2, 24), writes: random.Next(1, 6)), (PayloadCompression)random.Next(3)),
            });
        return stream;
    }

    /// <summary>Through a segment file, as the spool does it.</summary>
    private List<Batch> Rewritten(List<Batch> stream, out long coalesced)
    {
        var files = RealFileSystem.Instance;
        files.CreateDirectory(Folder);
        var segment = SpoolSegment.Create(files, Folder, ++_stores, new Agent(this).Opening);
        foreach (var batch in stream)
        {
            segment.File(files).Write(segment.End, batch.Frame.Span);
            segment.End += batch.Frame.Length;
        }
        (var end, coalesced) = new SegmentCoalescer(files).Rewrite(segment, segment.Path + ".tmp", default);
        if (coalesced > 0) Assert.True(end < segment.End);
        segment.Close();
        File.Move(segment.Path + ".tmp", segment.Path, true);
        var again = SpoolSegment.TryOpen(files, segment.Path, Machine, _stores, givesUp: false)!;
        var rewritten = new List<Batch>();
        var at = new List<(long, StreamPosition)>();
        again.Scan(files, true, givesUp: false, (offset, header) => at.Add((offset, new(header.Incarnation, header.Ordinal))));
        Assert.Equal(end, again.End);
        foreach (var (offset, position) in at) rewritten.Add(again.ReadFrame(files, offset, position));
        again.Close();
        return rewritten;
    }

    private static void AssertSameStream(List<Batch> originals, List<Batch> rewritten)
    {
        Assert.Equal(originals.Select(Fixed), rewritten.Select(Fixed));
        foreach (var (original, now) in originals.Zip(rewritten))
            if (original.Header.Kind != BatchKind.Delta) Assert.True(original.Frame.Span.SequenceEqual(now.Frame.Span));

        static BatchHeader Fixed(Batch batch) => batch.Header with
        {
            Coalesced = false, Absorbed = false, Compression = PayloadCompression.None, ExtentCount = 0, RawBytes = 0, StoredBytes = 0, RawHash = 0,
        };
    }

    private RetentionStore Filled(List<Batch> stream)
    {
        var store = RetentionStore.Create(Path.Combine(Folder, "store-" + ++_stores), Machine, [new DiskGeometry(0, "vda", DiskBytes)], Epoch.First, RealFileSystem.Instance, TimeProvider.System);
        foreach (var batch in stream) Assert.True(store.Append(batch));
        store.Flush();
        return store;
    }

    private static RetentionStore Reopened(RetentionStore store)
    {
        var before = (store.Held, store.Durable, store.DurableSequence, store.ConsistentUpTo, store.Consistent);
        store.Dispose();
        var again = RetentionStore.Open(store.Folder, RealFileSystem.Instance, TimeProvider.System);
        Assert.Equal(before, (again.Held, again.Durable, again.DurableSequence, again.ConsistentUpTo, again.Consistent));
        return again;
    }

    private static async Task AssertSameAsync(RetentionStore plain, RetentionStore coalesced, List<Batch> stream)
    {
        Assert.Equal((plain.Held, plain.DurableSequence, plain.ConsistentUpTo), (coalesced.Held, coalesced.DurableSequence, coalesced.ConsistentUpTo));
        Assert.Equal(plain.Points, coalesced.Points);
        var viewable = 0;
        for (var sequence = 1L; sequence <= plain.DurableSequence.Value; sequence++)
        {
            if (coalesced.ResolvePoint(new PointSelector.ById($"e1-s{sequence}")) is not { } point) continue;
            viewable++;
            Assert.Equal(await AllAsync(plain, plain.ResolvePoint(new PointSelector.ById($"e1-s{sequence}"))!), await AllAsync(coalesced, point));
        }
        Assert.True(viewable >= stream.Select(b => b.Header).Where(h => h.Marker == MarkerKind.CrashConsistentPoint).Select(h => h.Last).Distinct().Count());
    }

    private static async Task<byte[]> AllAsync(RetentionStore store, RecoveryPoint point)
    {
        var bytes = new byte[DiskBytes];
        await store.At(point).Disk(0).ReadAsync(0, bytes, default);
        return bytes;
    }
}
