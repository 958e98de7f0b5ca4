using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.DataPlane.Retention;
using SiteRecovery.Domain.History;
using SiteRecovery.Simulation.World;

namespace SiteRecovery.Simulation.Retention;

/// <summary>Root hashes of points of a disk of several blocks.</summary>
public sealed class StoreProofTests
{
    private const int Blocks = 4;
    private static readonly string Segment = Path.Combine(StoreRun.Folder, "log", "0000000001.seg");
    private readonly SimDisk _disk = new();
    private readonly byte[] _content = new byte[Blocks * RootHash.BlockBytes];
    private readonly List<(RecoveryPoint Point, string Root)> _points = [];
    private RetentionStore _store;
    private long _ordinal, _sequence;

    public StoreProofTests()
    {
        _store = RetentionStore.Create(StoreRun.Folder, StoreScript.Machine, [new DiskGeometry(0, "vda", _content.Length)], Epoch.First, _disk, new SimClock());
        Append(MarkerKind.StreamStart, "continue", null);
        Point(0);
        Point(3);
        Point(1, 2);
    }

    [Fact]
    public void A_proof_that_is_left_half_way_leaves_no_trace_in_that_of_another_point()
    {
        AssertProves(0);
        _store.ProveNewest(1, CancellationToken.None);
        AssertProves(1);
        AssertProves(2);
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void Nor_does_one_that_a_crash_has_ended(bool killed)
    {
        AssertProves(0);
        var images = new List<SimDisk>();
        _disk.After = _ => images.Add(killed ? _disk.Kill() : _disk.LosePower(images.Count));
        AssertProves(2);
        foreach (var image in images)
        {
            _store = RetentionStore.Open(StoreRun.Folder, image, new SimClock());
            AssertProves(1);
        }
    }

    /// <summary>Else a leaf would be of a write that nobody has any more, and that no way from point to point touches: no root would ever be right again.</summary>
    [Fact]
    public void Nothing_of_a_proof_outlives_what_it_has_read()
    {
        AssertProves(2);
        var images = new List<SimDisk>();
        _disk.After = _ =>
        {
            for (var seed = 0; seed < 8; seed++) images.Add(_disk.LosePower(seed));
        };
        Write(3);
        Append(MarkerKind.ApplicationConsistentPoint, "point", null);
        _store.ProveNewest(long.MaxValue, CancellationToken.None);
        _disk.After = null;
        var lost = 0;
        foreach (var image in images)
        {
            _store = RetentionStore.Open(StoreRun.Folder, image, new SimClock());
            if (_store.ConsistentUpTo != _points[2].Point with { Kind = PointKind.CrashConsistent, Label = null }) continue;
            AssertProves(2);
            lost++;
        }
        Assert.True(lost > 0, "nothing was ever lost");
    }

    [Fact]
    public void Nor_what_has_rotted_and_was_cut_off()
    {
        AssertProves(2);
        Write(3);
        var end = _disk.LengthOf(Segment);
        Append(MarkerKind.ApplicationConsistentPoint, "point", null);
        _store.Flush();
        var images = new List<SimDisk>();
        _disk.After = _ => images.Add(_disk.Kill());
        _store.ProveNewest(long.MaxValue, CancellationToken.None);
        _disk.After = null;
        Assert.True(images.Count > 2);
        foreach (var image in images)
        {
            image.Flip(Segment, end - 100, 1);
            RetentionStore.Open(StoreRun.Folder, image, new SimClock()).Dispose();
            _store = RetentionStore.Open(StoreRun.Folder, image, new SimClock());
            Assert.Equal((true, _points[2].Point.Sequence), (_store.HasLost, _store.ConsistentUpTo!.Sequence));
            AssertProves(2);
        }
    }

    /// <summary>What it is made from is there all the same.</summary>
    [Theory, InlineData(0), InlineData(4096)]
    public void A_bad_sector_in_what_it_keeps_ends_one_proof_at_most(int at)
    {
        AssertProves(0);
        _store.Dispose();
        _disk.Spoil(Path.Combine(StoreRun.Folder, ProofFile.FileName), at);
        _store = RetentionStore.Open(StoreRun.Folder, _disk, new SimClock());
        try
        {
            _store.Prove(_points[1].Point, CancellationToken.None);
        }
        catch (InvalidDataException)
        {
            // The next one makes all leaves anew.
        }
        AssertProves(1);
        AssertProves(2);
    }

    /// <summary>Of a long history alone what was written where is hours of reading.</summary>
    [Fact]
    public void A_proof_that_is_stopped_reads_no_more_of_what_was_written()
    {
        AssertProves(0);
        using var stop = new CancellationTokenSource();
        var reads = 0;
        _disk.Faults = io =>
        {
            if (io.Kind != IoKind.Read || !io.Path.EndsWith(".seg", StringComparison.Ordinal)) return Fault.None;
            reads++;
            stop.Cancel();
            return Fault.None;
        };
        Assert.ThrowsAny<OperationCanceledException>(() => _store.Prove(_points[2].Point, stop.Token));
        Assert.InRange(reads, 1, 2); // of one frame
        _disk.Faults = null;
        AssertProves(2);
    }

    private void AssertProves(int point) => Assert.Equal(_points[point].Root, _store.Prove(_points[point].Point, CancellationToken.None));

    private void Point(params int[] blocks)
    {
        foreach (var block in blocks) Write(block);
        Append(MarkerKind.ApplicationConsistentPoint, "point", null);
        _store.Flush();
        _points.Add((_store.ConsistentUpTo!, StoreScript.RootOf([_content])));
    }

    private void Write(int block)
    {
        _content.AsSpan(block * RootHash.BlockBytes, 700).Fill((byte)++_sequence);
        Append(MarkerKind.None, "", new Extent(block * RootHash.BlockBytes, 700, 0, ExtentKind.Data));
    }

    private void Append(MarkerKind marker, string text, Extent? extent)
    {
        var header = new BatchHeader
        {
            Kind = extent is null ? BatchKind.Marker : BatchKind.Delta, Marker = marker, MachineTag = BatchCodec.TagOf(StoreScript.Machine), Epoch = Epoch.First, Incarnation = 1, Ordinal = ++_ordinal,
            First = new Sequence(_sequence), Last = new Sequence(_sequence), Time = StoreScript.At(_ordinal),
        };
        Assert.True(_store.Append(extent is { } at ? BatchCodec.Encode(header, [at], _content.AsSpan((int)at.Offset, at.Length)) : BatchCodec.Encode(header, [], System.Text.Encoding.UTF8.GetBytes(text))));
    }
}
