using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.DataPlane.Keys;
using SiteRecovery.DataPlane.Retention;
using SiteRecovery.DataPlane.Storage;
using SiteRecovery.Domain.History;

namespace SiteRecovery.DataPlane.Tests.Retention;

/// <summary>An encrypted store of November 2026, with a base, a log, leaves of its root hash and its key: whatever becomes of the formats, it is read.</summary>
public sealed class EncryptedGoldenTests : IDisposable
{
    private const int DiskBytes = 64 << 10, WriteBytes = 6000, Writes = 30;
    private static readonly MachineId Machine = new("db1");
    private static readonly string GoldenFolder = Path.Combine(AppContext.BaseDirectory, "Golden", "encrypted");
    private readonly string _folder = Directory.CreateTempSubdirectory("golden").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    public void Every_position_of_an_encrypted_store_of_old_is_read_with_its_key_and_goes_on()
    {
        if (Environment.GetEnvironmentVariable("SITERECOVERY_APPROVE") == "1") Make();
        foreach (var file in Directory.GetFiles(GoldenFolder, "*", SearchOption.AllDirectories))
        {
            var path = Path.Combine(_folder, Path.GetRelativePath(GoldenFolder, file));
            Directory.CreateDirectory(Path.GetDirectoryName(path)!);
            File.Copy(file, path);
        }
        using var store = RetentionStore.Open(Path.Combine(_folder, "store"), RealFileSystem.Instance, TimeProvider.System, options: Options(_folder));
        Assert.Null(store.FailedReason);
        Assert.Empty(store.Verify());
        store.Scrub(long.MaxValue, CancellationToken.None);
        Assert.Empty(store.Rot);
        var points = Enumerable.Range(1, Writes).Select(s => store.ResolvePoint(new PointSelector.ById($"e1-s{s}"))).OfType<RecoveryPoint>().ToArray();
        Assert.Equal((16, Writes), (points.Length, (int)points[^1].Sequence.Value));
        foreach (var point in points)
        {
            var (disk, bytes) = (DiskAt((int)point.Sequence.Value), new byte[DiskBytes]);
            var view = store.At(point);
            view.File(0).Read(0, bytes);
            view.Release();
            Assert.True(disk.AsSpan().SequenceEqual(bytes), $"{point.Id} shows other bytes");
            Assert.Equal(ModelRoot.Of([disk]), store.Prove(point, CancellationToken.None));
        }
        Assert.True(store.Append(Delta(Writes + 1)));
        store.Maintain(new RetentionLimits(TimeSpan.FromSeconds(5), null), CancellationToken.None);
        Assert.Equal(ModelRoot.Of([DiskAt(Writes + 1)]), store.Prove(store.ConsistentUpTo!, CancellationToken.None));
    }

    private void Make([System.Runtime.CompilerServices.CallerFilePath] string file = "")
    {
        foreach (var golden in (string[])[GoldenFolder, Path.Combine(Path.GetDirectoryName(file)!, "..", "Golden", "encrypted")])
        {
            if (Directory.Exists(golden)) Directory.Delete(golden, recursive: true);
            Directory.CreateDirectory(golden);
            File.WriteAllText(Path.Combine(golden, "store.key"), new string('7', 64) + "\n");
            using var store = RetentionStore.Create(Path.Combine(golden, "store"), Machine, [new DiskGeometry(0, "vda", DiskBytes)], Epoch.First, RealFileSystem.Instance, TimeProvider.System, options: Options(golden));
            store.Encrypt(true);
            store.Append(BatchCodec.Encode(Header(BatchKind.Marker, 0) with { Marker = MarkerKind.StreamStart }, [], "continue"u8));
            for (var s = 1; s <= Writes; s++) store.Append(Delta(s));
            store.Maintain(new RetentionLimits(TimeSpan.FromSeconds(12), null), CancellationToken.None);
            store.Prove(store.ConsistentUpTo!, CancellationToken.None);
        }
    }

    private static StoreOptions Options(string folder) => new()
    {
        SegmentFramesMax = 4, Keys = new KeyWrappings(new KeyFile(Path.Combine(folder, "store.key"), RealFileSystem.Instance), [], KeyWrappings.RenewAfterDefault),
    };

    private static byte[] DiskAt(int sequence)
    {
        var disk = new byte[DiskBytes];
        for (var s = 1; s <= sequence; s++) BytesOf(s).CopyTo(disk, OffsetOf(s));
        return disk;
    }

    private static int OffsetOf(int sequence) => sequence * 7 % 15 * 4000;

    private static byte[] BytesOf(int sequence) => [.. Enumerable.Range(0, WriteBytes).Select(i => (byte)(i / 16 + sequence))];

    private static Batch Delta(int sequence) => BatchCodec.Compress(
        BatchCodec.Encode(Header(BatchKind.Delta, sequence), [new Extent(OffsetOf(sequence), WriteBytes, 0, ExtentKind.Data)], BytesOf(sequence)), sequence % 3 == 0 ? PayloadCompression.None : PayloadCompression.Zstd);

    private static BatchHeader Header(BatchKind kind, int sequence) => new()
    {
        Kind = kind, MachineTag = BatchCodec.TagOf(Machine), Epoch = Epoch.First, Incarnation = 1, Ordinal = sequence + 1,
        First = new Sequence(sequence), Last = new Sequence(sequence), Time = DateTimeOffset.UnixEpoch.AddSeconds(sequence + 1),
    };
}
