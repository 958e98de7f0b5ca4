using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.DataPlane.Retention;
using SiteRecovery.Domain.History;
using SiteRecovery.Simulation.World;

namespace SiteRecovery.Simulation.Retention;

/// <summary>Root hashes of points of a disk of several blocks.</summary>
public sealed class StoreProofTests
{
    private const int Blocks = 4;
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
        foreach (var block in blocks)
        {
            _content.AsSpan(block * RootHash.BlockBytes, 700).Fill((byte)++_sequence);
            Append(MarkerKind.None, "", new Extent(block * RootHash.BlockBytes, 700, 0, ExtentKind.Data));
        }
        Append(MarkerKind.ApplicationConsistentPoint, "point", null);
        _store.Flush();
        _points.Add((_store.ConsistentUpTo!, StoreScript.RootOf([_content])));
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
