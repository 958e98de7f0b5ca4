using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.DataPlane.Retention;
using SiteRecovery.Domain.History;

namespace SiteRecovery.DataPlane.Tests.Retention;

public sealed class ReadAheadTests : IDisposable
{
    private const int Frames = 8, FrameBytes = 64 << 10;
    private static readonly MachineId Machine = new("db1");
    private readonly string _folder = Directory.CreateTempSubdirectory("ahead").FullName;
    private readonly CountedReads _files = new("0000000001.seg");

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    public void Who_reads_a_view_in_the_order_of_the_log_has_the_next_frames_brought()
    {
        using var store = Fill();
        Read(store, Enumerable.Range(0, Frames));
        Assert.Equal(Frames - 1, _files.Expected.Count); // from the second one on it is known to be in order
        Assert.All(_files.Expected, e => Assert.True(e.Length >= FrameBytes));
        Assert.Equal(_files.Expected.Order(), _files.Expected);
    }

    [Fact]
    public void Who_reads_it_in_any_other_order_has_nothing_brought()
    {
        using var store = Fill();
        Read(store, Enumerable.Range(0, Frames).Reverse());
        Assert.Empty(_files.Expected);
    }

    /// <summary>The log in the order of the disk.</summary>
    private RetentionStore Fill()
    {
        var store = RetentionStore.Create(_folder, Machine, [new DiskGeometry(0, "vda", Frames * FrameBytes)], Epoch.First, _files, TimeProvider.System);
        store.Append(BatchCodec.Encode(Header(0) with { Kind = BatchKind.Marker, Marker = MarkerKind.StreamStart }, [], "continue"u8));
        for (var n = 1; n <= Frames; n++) store.Append(BatchCodec.Encode(Header(n), [new Extent((n - 1) * FrameBytes, FrameBytes, 0, ExtentKind.Data)], Data(n - 1)));
        return store;
    }

    private static BatchHeader Header(long sequence) => new()
    {
        Kind = BatchKind.Delta, MachineTag = BatchCodec.TagOf(Machine), Epoch = Epoch.First, Incarnation = 1, Ordinal = sequence + 1,
        First = new Sequence(sequence), Last = new Sequence(sequence), Time = DateTimeOffset.UnixEpoch.AddSeconds(sequence),
    };

    private static byte[] Data(int frame)
    {
        var data = new byte[FrameBytes];
        new Random(frame).NextBytes(data);
        return data;
    }

    private void Read(RetentionStore store, IEnumerable<int> frames)
    {
        var file = store.At(store.ConsistentUpTo!).File(0);
        _files.Expected.Clear();
        foreach (var frame in frames)
        {
            var read = new byte[FrameBytes];
            file.Read(frame * FrameBytes, read);
            Assert.Equal(Data(frame), read);
        }
    }
}
