using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.DataPlane.Export;
using SiteRecovery.DataPlane.Retention;
using SiteRecovery.DataPlane.Storage;
using SiteRecovery.DataPlane.Tests.Retention;
using SiteRecovery.Domain.History;

namespace SiteRecovery.DataPlane.Tests.Export;

public sealed class LayerFlatteningTests : IDisposable
{
    private const int DiskBytes = 40 << 20;
    private readonly string _folder = Directory.CreateTempSubdirectory("flatten").FullName;
    private readonly byte[] _disk = new byte[DiskBytes];
    private readonly RetentionStore _store;
    private readonly RecoveryPoint _point;

    public LayerFlatteningTests()
    {
        new Random(1).NextBytes(_disk);
        File.WriteAllBytes(Path.Combine(_folder, "below.raw"), _disk);
        _store = RetentionStore.Create(Path.Combine(_folder, "store"), new MachineId("vm"), [new DiskGeometry(0, "vda", DiskBytes)], Epoch.First, RealFileSystem.Instance, TimeProvider.System,
            new Dictionary<ushort, string> { [0] = Path.Combine(_folder, "below.raw") });
        _point = _store.Fold([], new Sequence(7), DateTimeOffset.UnixEpoch, "begin");
    }

    public void Dispose()
    {
        _store.Dispose();
        Directory.Delete(_folder, recursive: true);
    }

    [Fact]
    public async Task Without_room_it_stops_and_says_so_and_with_room_it_goes_on_from_there()
    {
        var files = new ScarceFiles { Free = LayerFlattening.RoomKeptBytes - 1 };
        using (var layers = Open(files))
        {
            var flattening = new LayerFlattening(layers, _folder, files, TimeProvider.System);
            var full = await Assert.ThrowsAsync<IOException>(() => flattening.RunAsync(default));
            Assert.Contains("waits for room", full.Message, StringComparison.Ordinal);
            Assert.InRange(flattening.BytesDone, 1, DiskBytes - 1);
            layers.Disks[0].File.Write(DiskBytes - 8192, new byte[100]);
            _disk.AsSpan(DiskBytes - 8192, 100).Clear();
        }
        files.Free = long.MaxValue;
        using (var again = Open(files))
        {
            var flattening = new LayerFlattening(again, _folder, files, TimeProvider.System);
            Assert.InRange(flattening.BytesDone, 1, DiskBytes - 1);
            await flattening.RunAsync(default);
            Assert.Equal((DiskBytes, DiskBytes), (flattening.BytesDone, flattening.BytesTotal));
            Assert.Equal([(DiskBytes - 8192L, 4096L)], again.Written[0].Runs);
        }
        Assert.Equal(_disk, await File.ReadAllBytesAsync(Path.Combine(_folder, "layers", ReplicaLayers.FileOf(0) + ".data")));
    }

    [Fact]
    public async Task Told_to_stop_it_stops_between_two_pieces()
    {
        using var layers = Open(RealFileSystem.Instance);
        var flattening = new LayerFlattening(layers, _folder, RealFileSystem.Instance, TimeProvider.System);
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => flattening.RunAsync(new CancellationToken(canceled: true)));
        Assert.InRange(flattening.BytesDone, 0, 1 << 20);
    }

    /// <summary>A machine whose disks are whole must not stand still for what it no longer reads.</summary>
    [Fact]
    public async Task Flat_it_needs_nothing_of_the_store_that_it_lay_over_and_before_that_it_does()
    {
        var lost = _point with { Sequence = new Sequence(99) };
        Assert.Throws<InvalidDataException>(() => Open(RealFileSystem.Instance, lost, mayStandAlone: true));
        Assert.Empty(Directory.GetFiles(Path.Combine(_folder, "layers")));
        using (var layers = Open(RealFileSystem.Instance))
        {
            layers.Disks[0].File.Write(8192, new byte[4096]);
            _disk.AsSpan(8192, 4096).Clear();
            layers.Disks[0].File.FlattenFrom(0);
        }
        var refused = Assert.Throws<InvalidDataException>(() => Open(RealFileSystem.Instance, lost, mayStandAlone: true));
        Assert.Contains("is not viewable", refused.Message, StringComparison.Ordinal);
        using (var layers = Open(RealFileSystem.Instance)) await new LayerFlattening(layers, _folder, RealFileSystem.Instance, TimeProvider.System).RunAsync(default);
        using (var alone = Open(RealFileSystem.Instance, lost, mayStandAlone: true))
        {
            var read = new byte[DiskBytes];
            alone.Disks[0].File.Read(0, read);
            Assert.True(_disk.AsSpan().SequenceEqual(read));
            Assert.Equal([(8192L, 4096L)], alone.Written[0].Runs);
            alone.Disks[0].File.Write(100, [1]);
        }
        Assert.Throws<InvalidDataException>(() => Open(RealFileSystem.Instance, lost));
    }

    private ReplicaLayers Open(IFileSystem files, RecoveryPoint? point = null, bool mayStandAlone = false) => new(_store, point ?? _point, Path.Combine(_folder, "layers"), files, mayStandAlone);

    private sealed class ScarceFiles : RealFiles
    {
        internal long Free { get; set; }

        public override long FreeBytes(string path) => Free;
    }
}
