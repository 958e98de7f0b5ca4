using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.DataPlane.MasterTarget;
using SiteRecovery.DataPlane.ProcessServer;
using SiteRecovery.DataPlane.Retention;
using SiteRecovery.DataPlane.Storage;
using SiteRecovery.Domain.History;

namespace SiteRecovery.DataPlane.Tests.ProcessServer;

/// <summary>An agent's stream, a spool in a real folder, and the master target's store as the next room.</summary>
public abstract class SpoolFixture : IAsyncDisposable
{
    protected const int DiskBytes = 1 << 20;
    private protected static readonly Guid Boot = new(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11);
    private protected static readonly MachineId Machine = new("db1");
    private readonly string _root = Directory.CreateTempSubdirectory("spool").FullName;
    private readonly List<SpoolTarget> _spools = [];
    private protected readonly StoreReceiver Stores;
    private protected readonly FaultyLink Link;
    private protected readonly List<byte[]> Model = [new byte[DiskBytes]]; // the disk after each sequence
    private protected string Folder;

    protected SpoolFixture()
    {
        Folder = Path.Combine(_root, "spool");
        Stores = new StoreReceiver(Path.Combine(_root, "stores"), RealFileSystem.Instance, TimeProvider.System);
        Link = new FaultyLink(Stores);
    }

    private protected RetentionStore Store => Stores.StoreOf(Machine);

    private protected SpoolTarget Open(long bytesMax = 1L << 30, int segmentBytes = 64 << 10, double coalesceAt = 2, Guid? boot = null)
    {
        var spool = new SpoolTarget(new SpoolOptions
        {
            Folder = Folder, BytesMax = bytesMax, SegmentBytes = segmentBytes, CoalesceAtFraction = coalesceAt, ReconnectDelayMax = TimeSpan.FromMilliseconds(20), BootId = boot ?? Boot,
        }, _ => Link, RealFileSystem.Instance, TimeProvider.System);
        _spools.Add(spool);
        return spool;
    }

    /// <summary>What kill -9 leaves: the files as they are. The abandoned spool keeps its folder and never meets the next room again.</summary>
    private protected SpoolTarget Killed(SpoolTarget abandoned, Action<string>? damage = null, Guid? boot = null, double coalesceAt = 2, int segmentBytes = 64 << 10)
    {
        Assert.False(Link.Up);
        var copy = Path.Combine(_root, "spool-" + Guid.NewGuid().ToString("N"));
        Directory.CreateDirectory(copy);
        foreach (var file in Directory.GetFiles(Folder))
        {
            try
            {
                File.Copy(file, Path.Combine(copy, Path.GetFileName(file)));
            }
            catch (FileNotFoundException)
            {
                // Durable, and gone while it was copied.
            }
        }
        _spools.Remove(abandoned);
        _ = abandoned.DisposeAsync().AsTask();
        Folder = copy;
        damage?.Invoke(copy);
        return Open(boot: boot, coalesceAt: coalesceAt, segmentBytes: segmentBytes);
    }

    private protected string[] Segments() => Directory.GetFiles(Folder, "*.seg").Order(StringComparer.Ordinal).ToArray();

    private protected static async Task UntilAsync(Func<bool> condition)
    {
        using var deadline = new CancellationTokenSource(TimeSpan.FromSeconds(30));
        while (!condition()) await Task.Delay(2, deadline.Token);
    }

    private protected async Task<byte[]> ReadAsync(long sequence)
    {
        var bytes = new byte[DiskBytes];
        await Store.At(Store.ResolvePoint(new PointSelector.ById($"e1-s{sequence}"))!).Disk(0).ReadAsync(0, bytes, default);
        return bytes;
    }

    public async ValueTask DisposeAsync()
    {
        foreach (var spool in _spools) await spool.DisposeAsync();
        await Stores.DisposeAsync();
        Directory.Delete(_root, true);
        GC.SuppressFinalize(this);
    }

    /// <summary>What an agent says, batch by batch, without its engine.</summary>
    private protected sealed class Agent(SpoolFixture fixture, long incarnation = 1, int seed = 1, int epoch = 1) : IPositionListener
    {
        private readonly Random _random = new(seed);
        public long Ordinal { get; set; }
        public List<Batch> Sent { get; } = [];
        public StreamPosition ReceivedUpTo { get; private set; }
        public StreamPosition DurableUpTo { get; private set; }
        public Sequence DurableSequence { get; private set; }
        public StreamOpening Opening => new(Machine, new Epoch(epoch), [new DiskGeometry(0, "vda", DiskBytes)], incarnation);
        public Batch this[int ordinal] => Sent.First(b => b.Header.Ordinal == ordinal);

        public void Received(StreamPosition position) => ReceivedUpTo = position;

        public void Durable(StreamPosition position, Sequence sequence) => (DurableUpTo, DurableSequence) = (position, sequence);

        public ValueTask<IStreamSession> OpenAsync(IStreamTarget spool) => spool.OpenAsync(Opening, this, default);

        public Batch Start() => Marker(MarkerKind.StreamStart, "continue");

        public Batch Marker(MarkerKind kind, string text = "") =>
            Add(BatchCodec.Encode(Header(BatchKind.Marker, fixture.Model.Count - 1, fixture.Model.Count - 1) with { Marker = kind }, [], System.Text.Encoding.UTF8.GetBytes(text)));

        public Batch Write(int blocks = DiskBytes / 4096, int writes = 3)
        {
            var (first, extents, payload) = (fixture.Model.Count, new List<Extent>(), new List<byte>());
            for (var i = 0; i < writes; i++)
            {
                var (offset, length) = (_random.Next(blocks) * 4096, _random.Next(1, 9) * 512);
                var (data, state, zero) = (new byte[length], fixture.Model[^1].ToArray(), _random.Next(8) == 0);
                if (!zero) _random.NextBytes(data);
                if (!zero) payload.AddRange(data);
                data.CopyTo(state, offset);
                extents.Add(new Extent(offset, length, 0, zero ? ExtentKind.Zero : ExtentKind.Data));
                fixture.Model.Add(state);
            }
            return Add(BatchCodec.Encode(Header(BatchKind.Delta, first, fixture.Model.Count - 1), extents.ToArray(), payload.ToArray()));
        }

        public Batch Sync()
        {
            var data = new byte[4096];
            _random.NextBytes(data);
            return Add(BatchCodec.Encode(Header(BatchKind.Sync, fixture.Model.Count - 1, fixture.Model.Count - 1), [new Extent(_random.Next(DiskBytes / 4096) * 4096, 4096, 0, ExtentKind.Data)], data));
        }

        public async Task SendAsync(IStreamSession session, int batches)
        {
            if (Ordinal == 0) await session.OfferAsync(Start(), default);
            for (var i = 0; i < batches; i++) await session.OfferAsync(Write(), default);
        }

        private Batch Add(Batch batch)
        {
            Sent.Add(batch);
            return batch;
        }

        private BatchHeader Header(BatchKind kind, long first, long last) => new()
        {
            Kind = kind, MachineTag = BatchCodec.TagOf(Machine), Epoch = new Epoch(epoch), Incarnation = incarnation, Ordinal = ++Ordinal,
            First = new Sequence(first), Last = new Sequence(last), Time = DateTimeOffset.UnixEpoch.AddSeconds(Ordinal),
        };
    }
}
