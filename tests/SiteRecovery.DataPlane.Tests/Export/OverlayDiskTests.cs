using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.DataPlane.Export;
using SiteRecovery.DataPlane.Retention;
using SiteRecovery.DataPlane.Storage;
using SiteRecovery.Domain.History;

namespace SiteRecovery.DataPlane.Tests.Export;

public sealed class OverlayDiskTests : IDisposable
{
    private const int DiskBytes = 1 << 20;
    private readonly string _folder = Directory.CreateTempSubdirectory("overlay").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    public async Task An_overlay_equals_the_model_after_reopening_and_never_touches_the_store()
    {
        var machine = new MachineId("db1");
        using var store = RetentionStore.Create(Path.Combine(_folder, "store"), machine, [new DiskGeometry(0, "vda", DiskBytes)], Epoch.First, RealFileSystem.Instance, TimeProvider.System);
        var header = new BatchHeader
        {
            Kind = BatchKind.Marker, Marker = MarkerKind.StreamStart, MachineTag = BatchCodec.TagOf(machine), Epoch = Epoch.First, Incarnation = 1, Ordinal = 1,
            First = Sequence.None, Last = Sequence.None, Time = DateTimeOffset.UnixEpoch,
        };
        store.Append(BatchCodec.Encode(header, [], "continue"u8));
        var (model, random) = (new byte[DiskBytes], new Random(1));
        random.NextBytes(model);
        var delta = header with { Kind = BatchKind.Delta, Marker = MarkerKind.None, Ordinal = 2, First = new Sequence(1), Last = new Sequence(1) };
        store.Append(BatchCodec.Encode(delta, [new Extent(0, DiskBytes, 0, ExtentKind.Data)], model));
        store.Flush();
        var segment = Path.Combine(_folder, "store", "log", "0000000001.seg");
        var before = File.ReadAllBytes(segment);
        OverlayDisk Open() => new(store.At(store.ConsistentUpTo!).Disk(0), Path.Combine(_folder, "vda"), RealFileSystem.Instance);
        await using (var disk = Open())
            for (var i = 0; i < 60; i++)
            {
                var (offset, data) = (random.Next(DiskBytes - 9000), new byte[random.Next(1, 9000)]);
                if (i % 3 > 0) random.NextBytes(data);
                if (i % 3 > 0) await disk.WriteAsync(offset, data, false, CancellationToken.None);
                else await disk.WriteZeroesAsync(offset, data.Length, true, false, CancellationToken.None);
                data.CopyTo(model, offset);
            }
        await using var again = Open();
        var read = new byte[DiskBytes];
        await again.ReadAsync(0, read, CancellationToken.None);
        Assert.Equal(model, read);
        Assert.Equal(before, File.ReadAllBytes(segment));
    }
}
