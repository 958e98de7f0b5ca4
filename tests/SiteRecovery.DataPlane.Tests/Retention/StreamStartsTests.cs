using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.DataPlane.Retention;
using SiteRecovery.DataPlane.Storage;
using SiteRecovery.Domain.History;

namespace SiteRecovery.DataPlane.Tests.Retention;

/// <summary>Of a start that no disk gives any more it is told what it said by what became of it.</summary>
public sealed class StreamStartsTests : IDisposable
{
    private const int Block = 4096;
    private static readonly MachineId Machine = new("db1");
    private readonly string _folder = Directory.CreateTempSubdirectory("starts").FullName;
    private readonly List<long> _starts = [];
    private long _ordinal, _sequence, _length = SegmentFile.HeaderBytesOf(SegmentId.Of(1));

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    public void Points_between_starts_that_are_all_lost_can_be_failed_over_to_and_nothing_in_a_gap_can()
    {
        using (var store = Create())
        {
            Start(store, "gap");
            Append(store, BatchKind.Sync, MarkerKind.None, 1);
            Append(store, BatchKind.Marker, MarkerKind.SyncCompleted, 0);
            Write(store, 1);
            Append(store, BatchKind.Marker, MarkerKind.CrashConsistentPoint, 0);
            Start(store, "continue");
            Write(store, 2);
            Append(store, BatchKind.Marker, MarkerKind.CrashConsistentPoint, 0);
            Start(store, "gap");
            Write(store, 3);
            Start(store, "continue"); // of a gap that goes on
            Write(store, 4);
            Append(store, BatchKind.Marker, MarkerKind.SyncCompleted, 0);
            Start(store, "continue");
            Write(store, 5);
            Start(store, "gap");
            Write(store, 6);
            store.Flush();
            store.OpenEpoch(new Epoch(2), store.ConsistentUpTo!); // behind it the segment is sealed
            Assert.Equal(5, store.ConsistentUpTo!.Sequence.Value);
        }
        foreach (var start in _starts) Damage(start);
        using var again = Open();
        var viewable = Enumerable.Range(0, 7).Where(s => again.ResolvePoint(new PointSelector.ById($"e1-s{s}")) is not null);
        Assert.Equal([0, 1, 2, 4, 5], viewable); // 0 and 4 where its synchronization had completed
        var (epoch, first) = (new Epoch(2), new byte[1]);
        foreach (var position in (int[])[1, 2, 4, 5])
        {
            again.OpenEpoch(epoch = epoch.Next(), again.ResolvePoint(new PointSelector.ById($"e1-s{position}"))!);
            again.At(again.ConsistentUpTo!).File(0).Read((position - 1) * Block, first);
            Assert.Equal(position, first[0]);
        }
    }

    /// <summary>1: it has continued; 0: it has not; ?: nobody knows. S: a start; c: a synchronization has completed; y: what one brings; p: a point; w: something else; t: what stands for what was thinned. P, W, and a start behind them: at the time of the frame before.</summary>
    [Theory]
    [InlineData("Sw", false, null, "1")]
    [InlineData("Sw", true, null, "0")]
    [InlineData("Sp", true, null, "1")]
    [InlineData("SwcSw", false, null, "?1")]
    [InlineData("SwcSpSw", true, null, "?10")]
    [InlineData("SwSw", false, null, "11")]
    [InlineData("SwSwcw", false, null, "??")]
    [InlineData("SpSwcw", false, null, "1?")]
    [InlineData("SySwcwSw", false, null, "0?1")] // what is compared comes in a gap
    [InlineData("SwScwS", true, null, "?00")] // nothing is between the second and the end of its gap
    [InlineData("SwwSw", true, 2, "10")] // the newest position is in front of the second
    [InlineData("SS", true, 0, "10")]
    [InlineData("SwtwSw", false, null, "?1")] // what was thinned in between may have made it whole
    [InlineData("SwPSPw", true, null, "?0")] // either of the two may be no point
    [InlineData("SwWSWw", true, 2, "?0")]
    public void What_a_start_said_is_told_by_what_became_of_it(string frames, bool gap, int? newest, string continued)
    {
        var times = new long[frames.Length];
        for (var i = 1; i < frames.Length; i++) times[i] = frames[i] is 'P' or 'W' || (frames[i] == 'S' && frames[i - 1] is 'P' or 'W') ? times[i - 1] : i;
        BatchHeader[] headers = [.. frames.Select((f, i) => new BatchHeader
        {
            Kind = f is 'w' or 'W' or 't' ? BatchKind.Delta : f == 'y' ? BatchKind.Sync : BatchKind.Marker,
            Marker = f switch { 'S' => MarkerKind.StreamStart, 'c' => MarkerKind.SyncCompleted, 'p' or 'P' => MarkerKind.CrashConsistentPoint, _ => MarkerKind.None },
            Thinned = f == 't', Time = At(times[i]), MachineTag = 1, Epoch = Epoch.First, Incarnation = 1, Ordinal = i + 1, First = Sequence.None, Last = Sequence.None,
        })];
        var points = headers.Where(h => h.Marker == MarkerKind.CrashConsistentPoint).Select(h => PointAt(h.Time));
        var said = Enumerable.Range(0, frames.Length).Where(i => frames[i] == 'S')
            .Select(i => StreamStarts.HasContinued(headers, i, gap, points, newest is { } last ? PointAt(headers[last].Time) : null, []) is { } known ? known ? '1' : '0' : '?');
        Assert.Equal(continued, string.Concat(said));
    }

    /// <summary>Digits: a write with that sequence.</summary>
    [Theory]
    [InlineData("S1S2c3", null, "??")]
    [InlineData("S1S2c3", 1, "1?")]
    [InlineData("S1S2c3", 2, "11")] // with no end of a gap in between
    [InlineData("S1S1c2", 1, "1?")] // in the second only where in the first too
    [InlineData("S1S1c1", 1, "??")] // it could be viewed behind the gap
    public void An_epoch_that_forked_proves_that_what_it_forks_from_was_whole(string frames, int? origin, string continued)
    {
        BatchHeader[] headers = [.. frames.Select((f, i) => new BatchHeader
        {
            Kind = char.IsDigit(f) ? BatchKind.Delta : BatchKind.Marker,
            Marker = f switch { 'S' => MarkerKind.StreamStart, 'c' => MarkerKind.SyncCompleted, _ => MarkerKind.None },
            Time = At(i), MachineTag = 1, Epoch = Epoch.First, Incarnation = 1, Ordinal = i + 1, First = new Sequence(f - '0'), Last = new Sequence(f - '0'),
        })];
        (Epoch, Sequence)[] origins = origin is { } at ? [(Epoch.First, new Sequence(at)), (new Epoch(2), new Sequence(2))] : [];
        var said = Enumerable.Range(0, frames.Length).Where(i => frames[i] == 'S').Select(i => StreamStarts.HasContinued(headers, i, gap: false, [], null, origins) is { } known ? known ? '1' : '0' : '?');
        Assert.Equal(continued, string.Concat(said));
    }

    [Fact]
    public void What_an_epoch_lies_over_stays_what_it_forked_from_though_nothing_says_any_more_how_that_began()
    {
        Forked().Dispose();
        Damage(_starts[1]);
        using var again = Open();
        Assert.Equal((null, "e2-s10"), (again.FailedReason, again.ConsistentUpTo?.Id));
        AssertShowsFork(again);
    }

    /// <summary>So an end may say that was made from a guess.</summary>
    [Theory, InlineData(2), InlineData(3), InlineData(4)]
    public void What_an_epoch_wrote_is_shown_over_nothing_else_than_it_forked_from(int epochs)
    {
        using (var store = Forked())
        {
            // Its frames in the last segment, in one that is sealed, and in one that others follow.
            for (var epoch = 3; epoch <= epochs; epoch++) store.OpenEpoch(new Epoch(epoch), store.ConsistentUpTo!);
            if (epochs == 4) store.Fold([], new Sequence(11), At(101), "behind it");
        }
        var path = Path.Combine(_folder, "log", "0000000001.end");
        var end = SegmentEnd.TryRead(File.ReadAllBytes(path), BatchCodec.TagOf(Machine), 1)!;
        File.WriteAllBytes(path, (end with { FirstSequence = 4, LastSequence = 5 }).ToBytes());
        foreach (var givesUp in (bool[])[false, true])
        {
            using var store = Open(givesUp);
            Assert.Contains("epoch 2 forks from e1-s2", store.FailedReason, StringComparison.Ordinal);
            Assert.Equal(("e1-s5", false), (store.ConsistentUpTo?.Id, store.HasLost));
            Assert.Null(store.ResolvePoint(new PointSelector.ById("e2-s10")));
            Assert.Equal(new Epoch(epochs), store.CurrentEpoch);
        }
        // Nothing of it was touched.
        File.Delete(path);
        using var again = Open();
        Assert.Null(again.FailedReason);
        AssertShowsFork(again);
    }

    [Fact]
    public void An_epoch_that_goes_on_from_what_is_left_says_so_on_the_disk_before_anything_lies_over_it()
    {
        long fork;
        using (var store = Create())
        {
            Start(store, "continue");
            Write(store, 1);
            fork = _length;
            Write(store, 2);
            store.Flush();
            store.OpenEpoch(new Epoch(2), store.ConsistentUpTo!);
        }
        File.Delete(Path.Combine(_folder, "log", "0000000001.end"));
        Damage(fork);
        for (var attempt = 0; attempt < 2; attempt++)
        {
            using var store = Open();
            Assert.True(store.LacksItsStream);
            Assert.Equal((1, 2L), Fork()); // what is lost may be put back
            store.OpenEpoch(new Epoch(2), new RecoveryPoint(Epoch.First, new Sequence(2), default, PointKind.CrashConsistent)); // it was
        }
        using (var store = Open())
        {
            store.Append(BatchCodec.Encode(new BatchHeader
            {
                Kind = BatchKind.Marker, Marker = MarkerKind.StreamStart, MachineTag = BatchCodec.TagOf(Machine), Epoch = new Epoch(2), Incarnation = 2, Ordinal = 1, First = Sequence.None, Last = Sequence.None, Time = At(9),
            }, [], "gap"u8));
        }
        Assert.Equal((0, 0L), Fork());
        using var again = Open();
        Assert.Equal((null, new Epoch(2), true), (again.FailedReason, again.CurrentEpoch, again.LacksItsStream));
        again.OpenEpoch(new Epoch(2), new RecoveryPoint(Epoch.First, new Sequence(2), default, PointKind.CrashConsistent));

        (int, long) Fork() => StoreManifest.Parse(File.ReadAllBytes(Path.Combine(_folder, StoreManifest.FileName))).Epochs[1] is var epoch && epoch.ContinuesAfter is null or 1
            ? (epoch.ForkedFromEpoch, epoch.ForkedFromSequence) : default;
    }

    /// <summary>Epoch 2 forks from 2, between two marks, and has a block of its own at 10. Only by its fork it is known what the second start said.</summary>
    private RetentionStore Forked()
    {
        var store = Create();
        Start(store, "gap");
        Append(store, BatchKind.Sync, MarkerKind.None, 1);
        Append(store, BatchKind.Marker, MarkerKind.SyncCompleted, 0);
        Write(store, 1);
        Start(store, "continue");
        Write(store, 2);
        Write(store, 3);
        Start(store, "gap");
        Write(store, 4);
        Append(store, BatchKind.Marker, MarkerKind.SyncCompleted, 0);
        Write(store, 5);
        store.Flush();
        store.OpenEpoch(new Epoch(2), store.ResolvePoint(new PointSelector.ById("e1-s2"))!);
        var layer = Path.Combine(_folder, "layer");
        File.WriteAllBytes(layer, [.. Enumerable.Repeat((byte)9, 8 * Block)]);
        using var file = RealFileSystem.Instance.Open(layer, FileOpening.Read);
        store.Fold([new WrittenDisk(0, file, [(7 * Block, Block)])], new Sequence(10), At(100), "kept");
        return store;
    }

    private static void AssertShowsFork(RetentionStore store)
    {
        var shown = new byte[8 * Block];
        store.At(store.ResolvePoint(new PointSelector.ById("e2-s10"))!).File(0).Read(0, shown);
        Assert.Equal([1, 2, 0, 0, 0, 0, 0, 9], Enumerable.Range(0, 8).Select(i => (int)shown[i * Block]));
    }

    private RetentionStore Create() => RetentionStore.Create(_folder, Machine, [new DiskGeometry(0, "vda", 1 << 20)], Epoch.First, RealFileSystem.Instance, TimeProvider.System);

    private RetentionStore Open(bool givesUp = false) => RetentionStore.Open(_folder, RealFileSystem.Instance, TimeProvider.System, options: new StoreOptions { GivesUpUnreadable = givesUp });

    private static RecoveryPoint PointAt(DateTimeOffset time) => new(Epoch.First, Sequence.None, time, PointKind.CrashConsistent);

    private static DateTimeOffset At(long second) => DateTimeOffset.UnixEpoch.AddSeconds(second);

    private void Start(RetentionStore store, string text)
    {
        _starts.Add(_length);
        Append(store, BatchKind.Marker, MarkerKind.StreamStart, 0, text);
    }

    private void Write(RetentionStore store, byte value)
    {
        _sequence++;
        Append(store, BatchKind.Delta, MarkerKind.None, value);
    }

    private void Append(RetentionStore store, BatchKind kind, MarkerKind marker, byte value, string text = "")
    {
        Extent[] extents = kind == BatchKind.Marker ? [] : [new Extent((Math.Max(1, _sequence) - 1) * Block, Block, 0, ExtentKind.Data)];
        var payload = kind == BatchKind.Marker ? System.Text.Encoding.UTF8.GetBytes(text) : [.. Enumerable.Repeat(value, Block)];
        var batch = BatchCodec.Encode(new BatchHeader
        {
            Kind = kind, Marker = marker, MachineTag = BatchCodec.TagOf(Machine), Epoch = Epoch.First, Incarnation = 1, Ordinal = ++_ordinal,
            First = new Sequence(_sequence), Last = new Sequence(_sequence), Time = At(_ordinal),
        }, extents, payload);
        store.Append(batch);
        _length += batch.Frame.Length;
    }

    private void Damage(long start)
    {
        using var file = File.Open(Path.Combine(_folder, "log", "0000000001.seg"), FileMode.Open);
        file.Position = start + BatchCodec.HeaderBytes;
        var was = file.ReadByte();
        file.Position--;
        file.WriteByte((byte)~was);
    }
}
