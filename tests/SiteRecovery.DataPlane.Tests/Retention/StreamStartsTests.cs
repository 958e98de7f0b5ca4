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
        using (var store = RetentionStore.Create(_folder, Machine, [new DiskGeometry(0, "vda", 1 << 20)], Epoch.First, RealFileSystem.Instance, TimeProvider.System))
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
        using var again = RetentionStore.Open(_folder, RealFileSystem.Instance, TimeProvider.System);
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

    /// <summary>S: a start; c: a synchronization has completed; p: a point; w: something else; t: what stands for what was thinned. P, W, and a start behind them: at the time of the frame before.</summary>
    [Theory]
    [InlineData("Sw", false, null, "1")]
    [InlineData("Sw", true, null, "0")]
    [InlineData("Sp", true, null, "1")]
    [InlineData("SwcSw", false, null, "01")]
    [InlineData("SwcSpSw", true, null, "010")]
    [InlineData("SwSw", false, null, "11")]
    [InlineData("SwSwcw", false, null, "00")]
    [InlineData("SpSwcw", false, null, "10")]
    [InlineData("SwwSw", true, 2, "10")] // the newest position is in front of the second
    [InlineData("SS", true, 0, "10")]
    [InlineData("SwtwSw", false, null, "01")] // what was thinned in between may have made it whole
    [InlineData("SwPSPw", true, null, "00")] // either of the two may be no point
    [InlineData("SwWSWw", true, 2, "00")]
    public void What_a_start_said_is_told_by_what_became_of_it(string frames, bool gap, int? newest, string continued)
    {
        var times = new long[frames.Length];
        for (var i = 1; i < frames.Length; i++) times[i] = frames[i] is 'P' or 'W' || (frames[i] == 'S' && frames[i - 1] is 'P' or 'W') ? times[i - 1] : i;
        BatchHeader[] headers = [.. frames.Select((f, i) => new BatchHeader
        {
            Kind = f is 'w' or 'W' or 't' ? BatchKind.Delta : BatchKind.Marker,
            Marker = f switch { 'S' => MarkerKind.StreamStart, 'c' => MarkerKind.SyncCompleted, 'p' or 'P' => MarkerKind.CrashConsistentPoint, _ => MarkerKind.None },
            Thinned = f == 't', Time = At(times[i]), MachineTag = 1, Epoch = Epoch.First, Incarnation = 1, Ordinal = i + 1, First = Sequence.None, Last = Sequence.None,
        })];
        var points = headers.Where(h => h.Marker == MarkerKind.CrashConsistentPoint).Select(h => PointAt(h.Time));
        var said = Enumerable.Range(0, frames.Length).Where(i => frames[i] == 'S')
            .Select(i => StreamStarts.HasContinued(headers, i, gap, points, newest is { } last ? PointAt(headers[last].Time) : null) ? '1' : '0');
        Assert.Equal(continued, string.Concat(said));
    }

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
