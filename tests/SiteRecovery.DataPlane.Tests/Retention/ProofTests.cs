using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.DataPlane.Retention;
using SiteRecovery.DataPlane.Storage;
using SiteRecovery.Domain.History;

namespace SiteRecovery.DataPlane.Tests.Retention;

/// <summary>The root hash of a point comes from what changed since the last one, and tells when that point shows something else.</summary>
public sealed class ProofTests : IDisposable
{
    private const int DiskBytes = 4 << 20, Block = 4096, Leaf = RootHash.BlockBytes;
    private static readonly MachineId Machine = new("db1");
    private readonly string _folder = Directory.CreateTempSubdirectory("proof").FullName;
    private readonly CountedReads _files = new("base.raw");
    private readonly byte[] _now = new byte[DiskBytes];
    private RetentionStore _store;
    private long _ordinal, _sequence;

    public ProofTests()
    {
        new Random(3).NextBytes(_now);
        File.WriteAllBytes(Base, _now);
        _store = RetentionStore.Create(Path.Combine(_folder, "store"), Machine, [new DiskGeometry(0, "vda", DiskBytes)], Epoch.First, _files, TimeProvider.System,
            new Dictionary<ushort, string> { [0] = Base }, new StoreOptions { SegmentFramesMax = 8 });
        _store.Fold([], new Sequence(_sequence = 7), DateTimeOffset.UnixEpoch, "begin");
        Append(BatchKind.Marker, MarkerKind.StreamStart, [], "continue"u8.ToArray());
    }

    private string Base => Path.Combine(_folder, "base.raw");

    public void Dispose()
    {
        _store.Dispose();
        Directory.Delete(_folder, recursive: true);
    }

    [Fact]
    public void Only_what_changed_is_read_also_by_the_next_process()
    {
        Assert.Equal(ModelRoot.Of(_now), Prove(Point()));
        _files.Bytes = 0;
        for (var i = 0; i < 30; i++) Write(i % 3 * 5 * Leaf + i * Block);
        Assert.Equal(ModelRoot.Of(_now), Prove(Point()));
        Assert.InRange(_files.Bytes, 1, 9 * Leaf);

        Write(60 * Leaf);
        var point = Point();
        _store.Flush();
        _store.Dispose();
        _store = RetentionStore.Open(Path.Combine(_folder, "store"), _files, TimeProvider.System);
        _files.Bytes = 0;
        Assert.Equal(ModelRoot.Of(_now), Prove(point));
        Assert.InRange(_files.Bytes, 1, 2 * Leaf);
    }

    [Fact]
    public void In_the_background_the_newest_point_is_proven_piece_by_piece()
    {
        Point();
        Write(0);
        var newest = Point();
        var pieces = 0;
        for (; _store.NoteOf(newest).Root is null; pieces++) _store.ProveNewest(Leaf * 4, CancellationToken.None);
        Assert.InRange(pieces, DiskBytes / Leaf / 4 - 1, DiskBytes / Leaf / 4 + 2);
        Assert.Equal(ModelRoot.Of(_now), _store.NoteOf(newest).Root);
    }

    /// <summary>A store is told every few seconds whether it is to be encrypted.</summary>
    [Fact]
    public void What_the_store_is_already_throws_no_proof_away()
    {
        Point();
        Write(0);
        var newest = Point();
        var pieces = 0;
        for (; _store.NoteOf(newest).Root is null && pieces < DiskBytes / Leaf; pieces++)
        {
            _store.ProveNewest(Leaf * 4, CancellationToken.None);
            _store.Encrypt(false);
        }
        Assert.InRange(pieces, 1, DiskBytes / Leaf / 4 + 2);
    }

    [Fact]
    public void A_new_epoch_that_forks_back_and_leaves_that_are_damaged_are_read_anew()
    {
        var early = Point();
        var then = (byte[])_now.Clone();
        Write(0);
        Prove(Point());
        _store.OpenEpoch(new Epoch(2), early);
        Assert.Equal(ModelRoot.Of(then), Prove(_store.ConsistentUpTo!));

        _store.Dispose();
        var leaves = Path.Combine(_folder, "store", "PROOF");
        var bytes = File.ReadAllBytes(leaves);
        bytes[4096 + 17] ^= 4;
        File.WriteAllBytes(leaves, bytes);
        _store = RetentionStore.Open(Path.Combine(_folder, "store"), _files, TimeProvider.System);
        Assert.Equal(ModelRoot.Of(then), Prove(_store.ConsistentUpTo!));
    }

    [Fact]
    public void A_verification_says_when_a_point_shows_something_else_than_it_did()
    {
        var point = Point();
        Prove(point);
        Assert.Null(_store.Verify(point, CancellationToken.None).Damage);
        // The base has no checksums of its own: without the root hash nobody would notice.
        using (var file = RealFileSystem.Instance.Open(Base, FileOpening.ReadWrite)) file.Write(99, [(byte)(_now[99] + 1)]);
        Assert.Contains("root hash", _store.Verify(point, CancellationToken.None).Damage, StringComparison.Ordinal);
    }

    private string Prove(RecoveryPoint point)
    {
        var root = _store.Prove(point, CancellationToken.None);
        Assert.Equal(root, _store.NoteOf(point).Root);
        return root;
    }

    private void Write(int offset)
    {
        _now.AsSpan(offset, Block).Fill((byte)++_sequence);
        Append(BatchKind.Delta, MarkerKind.None, [new Extent(offset, Block, 0, ExtentKind.Data)], _now[offset..(offset + Block)]);
    }

    private RecoveryPoint Point()
    {
        Append(BatchKind.Marker, MarkerKind.CrashConsistentPoint, [], "here"u8.ToArray());
        return _store.Points[^1];
    }

    private void Append(BatchKind kind, MarkerKind marker, Extent[] extents, byte[] payload) => _store.Append(BatchCodec.Encode(new BatchHeader
    {
        Kind = kind, Marker = marker, MachineTag = BatchCodec.TagOf(Machine), Epoch = Epoch.First, Incarnation = 2, Ordinal = ++_ordinal, First = new Sequence(_sequence), Last = new Sequence(_sequence),
        Time = DateTimeOffset.UnixEpoch.AddSeconds(_ordinal),
    }, extents, payload));
}
