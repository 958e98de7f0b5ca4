using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.DataPlane.Retention;
using SiteRecovery.DataPlane.Storage;
using SiteRecovery.Domain.History;

namespace SiteRecovery.EndToEnd.InProcess;

/// <summary>Break glass: everything from a store's directory, which a master target still holds open.</summary>
public sealed class SrctlStoreTests : IDisposable
{
    private const int DiskBytes = 9 << 20, BlockBytes = 64 << 10, Batches = 20;
    private static readonly DateTimeOffset Start = DateTimeOffset.Parse("2026-01-31T03:00:00Z", System.Globalization.CultureInfo.InvariantCulture);
    private readonly string _folder = Directory.CreateTempSubdirectory("sr-srctl-store").FullName;
    private readonly CancellationTokenSource _stop = new(TimeSpan.FromMinutes(2));
    private readonly Srctl _srctl;
    private readonly List<byte[]> _states = [new byte[DiskBytes]]; // of disk 0, by sequence
    private readonly RetentionStore _store;
    private long _ordinal;

    public SrctlStoreTests()
    {
        _srctl = new Srctl(In("config"), _stop.Token);
        _store = RetentionStore.Create(Db1, new MachineId("db1"), [new DiskGeometry(0, "vda", DiskBytes), new DiskGeometry(1, "vdb", BlockBytes)], Epoch.First, RealFileSystem.Instance, TimeProvider.System);
        _store.Append(BatchCodec.Encode(Header(BatchKind.Marker, 0, MarkerKind.StreamStart), [], "continue"u8));
        var random = new Random(5);
        for (var i = 1; i <= Batches; i++) Write(random, i);
        _store.Append(BatchCodec.Encode(Header(BatchKind.Marker, Batches, MarkerKind.ApplicationConsistentPoint), [], "before the upgrade"u8));
        Write(random, Batches + 1);
        _store.Flush();
    }

    private string Db1 => In("stores/db1");
    private string Segment => Path.Combine(Db1, "log", "0000000001.seg");
    private string In(string name) => Path.Combine(_folder, name);

    [Fact]
    public async Task Points_and_info_tell_what_a_store_in_use_holds()
    {
        var points = (await _srctl.DoneAsync("store", "points", Db1, "-o", "json")).Json["items"]!.AsArray();
        Assert.Equal(["e1-s21", "e1-s20"], points.Select(p => (string)p!["id"]!));
        Assert.Equal(("applicationConsistent", "before the upgrade"), ((string)points[1]!["kind"]!, (string)points[1]!["label"]!));
        var line = (await _srctl.DoneAsync("store", "points", Db1)).Out.Split('\n').Single(l => l.StartsWith("e1-s20 ", StringComparison.Ordinal));
        Assert.True(System.Text.RegularExpressions.Regex.IsMatch(line, "^e1-s20  2026-01-31T03:00:2.*applicationConsistent  before the upgrade  -     unverified  +[0-8][.0-9]* +[0-9.]+ [KMi]*B +-$"), line);
        Assert.Single((await _srctl.DoneAsync("store", "points", Db1, "-o", "json", "--to", "2026-01-31T03:00:22Z")).Json["items"]!.AsArray());
        var info = (await _srctl.DoneAsync("store", "info", Db1, "-o", "json")).Json;
        Assert.Equal(("db1", "e1-s21", 1), ((string)info["machine"]!, (string)info["newest"]!["id"]!, (int)info["points"]!));
        Assert.Contains("\nmachine: db1\n", (await _srctl.DoneAsync("store", "info", Db1)).Out, StringComparison.Ordinal);
        Assert.Contains("db1", (await _srctl.DoneAsync("store", "info", In("stores"))).Out, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("latest", Batches + 1, false)]
    [InlineData("latest-application-consistent", Batches, true)]
    [InlineData("e1-s7", 7, true)]
    [InlineData("at:2026-01-31T03:00:10Z", 9, false)] // the stream start took the first second
    public async Task An_exported_image_is_the_disk_at_that_point_byte_by_byte(string point, int sequence, bool sparse)
    {
        var image = In("image.raw");
        string[] arguments = ["store", "export", Db1, "--point", point, "--disk", "vda", "--to", image];
        var run = await _srctl.DoneAsync(sparse ? [.. arguments, "--sparse"] : arguments);
        Assert.Equal(image + "\n", run.Out);
        Assert.Contains("export: 100 %", run.People, StringComparison.Ordinal);
        Assert.Equal(_states[sequence], await File.ReadAllBytesAsync(image, _stop.Token));
        Assert.Equal(["image.raw"], Directory.GetFiles(_folder).Select(Path.GetFileName));
        using var file = RealFileSystem.Instance.Open(image, FileOpening.Read);
        Assert.Equal(sparse, Holes(file) > 0);
    }

    [Fact]
    public async Task A_map_covers_the_disk_and_every_hole_of_it_is_zero()
    {
        var at = 0L;
        foreach (var extent in (await _srctl.DoneAsync("store", "map", Db1, "--point", "e1-s21", "--disk", "0", "-o", "json")).Json["items"]!.AsArray())
        {
            Assert.Equal(at, (long)extent!["offset"]!);
            var part = _states[^1].AsSpan((int)at, (int)(long)extent["length"]!);
            if ((bool)extent["hole"]!) Assert.False(part.ContainsAnyExcept((byte)0));
            at += part.Length;
        }
        Assert.Equal(DiskBytes, at);
    }

    [Fact]
    public async Task A_flipped_byte_is_reported_with_file_and_offset_and_what_precedes_it_still_exports()
    {
        Assert.Contains("good up to e1-s21", (await _srctl.DoneAsync("store", "verify", Db1)).People, StringComparison.Ordinal);
        var bytes = await File.ReadAllBytesAsync(Segment, _stop.Token);
        bytes[bytes.Length / 2] ^= 1;
        await File.WriteAllBytesAsync(Segment, bytes, _stop.Token);

        var verify = await _srctl.RunAsync("store", "verify", In("stores"), "-o", "json");
        Assert.Equal(1, verify.ExitCode);
        var damage = verify.Json["items"]![0]!["damage"]![0]!;
        Assert.Equal(Segment, (string)damage["file"]!);
        Assert.InRange((long)damage["offset"]!, 1, bytes.Length / 2);
        Assert.Contains($"{(long)damage["offset"]!}", (await _srctl.RunAsync("store", "verify", Db1)).Out, StringComparison.Ordinal);

        await _srctl.DoneAsync("store", "export", Db1, "--point", "e1-s3", "--disk", "0", "--to", In("old.raw"));
        Assert.Equal(_states[3], await File.ReadAllBytesAsync(In("old.raw"), _stop.Token));
        var lost = await _srctl.RefusedAsync(10, "store", "export", Db1, "--point", "e1-s21", "--disk", "0", "--to", In("new.raw"));
        Assert.Contains("damaged", lost.People, StringComparison.Ordinal);
        Assert.False(File.Exists(In("new.raw")));
    }

    [Fact]
    public async Task A_store_that_cannot_be_read_hides_no_other()
    {
        using (RetentionStore.Create(In("stores/a-bad"), new MachineId("bad"), [new DiskGeometry(0, "vda", DiskBytes)], Epoch.First, RealFileSystem.Instance, TimeProvider.System))
        {
        }
        await File.WriteAllTextAsync(In("stores/a-bad/MANIFEST.json"), "{", _stop.Token);
        foreach (var verb in new[] { "info", "verify" })
        {
            var run = await _srctl.RunAsync("store", verb, In("stores"), "-o", "json");
            Assert.Equal(1, run.ExitCode);
            var (bad, good) = (run.Json["items"]![0]!, run.Json["items"]![1]!);
            Assert.Equal((In("stores/a-bad"), "db1", "e1-s21"), ((string)bad["folder"]!, (string)good["machine"]!, (string)good["newest"]!["id"]!));
            Assert.NotEmpty((string)bad["error"]!);
            Assert.Contains("  do:", run.People, StringComparison.Ordinal);
        }
        var table = await _srctl.RunAsync("store", "info", In("stores"));
        Assert.Contains(In("stores/a-bad"), table.Out, StringComparison.Ordinal);
        Assert.Contains("e1-s21", table.Out, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_time_without_a_zone_is_UTC_wherever_srctl_runs()
    {
        // A zone nine hours ahead, as a file, so that no time zones need to be installed.
        byte[] zone = [.. "TZif"u8, .. new byte[16], .. new byte[16], 0, 0, 0, 1, 0, 0, 0, 4, 0, 0, 0x7E, 0x90, 0, 0, .. "JST\0"u8];
        await File.WriteAllBytesAsync(In("zone"), zone, _stop.Token);
        _srctl.Environment["TZ"] = In("zone");
        var points = (await _srctl.DoneAsync("store", "points", Db1, "-o", "json", "--to", "2026-01-31T03:00:22")).Json["items"]!.AsArray();
        Assert.Equal("e1-s20", (string)Assert.Single(points)!["id"]!);
        Assert.Equal(2, (await _srctl.RunAsync("store", "points", Db1, "--from", "yesterday")).ExitCode);
    }

    [Fact]
    public async Task What_lies_below_a_log_is_exported_mapped_and_missed_by_verify()
    {
        var (folder, below, state) = (In("based/db2"), In("below.raw"), new byte[DiskBytes]);
        new Random(8).NextBytes(state.AsSpan(BlockBytes, 3 * BlockBytes));
        await File.WriteAllBytesAsync(below, state, _stop.Token);
        using (var store = RetentionStore.Create(folder, new MachineId("db2"), [new DiskGeometry(0, "vda", DiskBytes)], Epoch.First, RealFileSystem.Instance, TimeProvider.System, new Dictionary<ushort, string> { [0] = below }))
            store.Fold([], new Sequence(41), Start, "the old site's disk");
        Assert.Contains("the old site's disk", (await _srctl.DoneAsync("store", "points", folder)).Out, StringComparison.Ordinal);
        Assert.Equal(below, (string)(await _srctl.DoneAsync("store", "info", folder, "-o", "json")).Json["disks"]![0]!["base"]!);
        await _srctl.DoneAsync("store", "export", folder, "--point", "e1-s41", "--to", In("below.copy"));
        Assert.Equal(state, await File.ReadAllBytesAsync(In("below.copy"), _stop.Token));
        Assert.Contains((await _srctl.DoneAsync("store", "map", folder, "-o", "json")).Json["items"]!.AsArray(), e => !(bool)e!["hole"]! && (long)e["length"]! >= 3 * BlockBytes);
        await _srctl.DoneAsync("store", "verify", folder);
        File.Move(below, In("moved.raw"));
        Assert.Contains(below, (await _srctl.RunAsync("store", "verify", folder)).Out, StringComparison.Ordinal);
        Assert.Contains(below, (await _srctl.RefusedAsync(1, "store", "export", folder, "--to", In("again.copy"))).People, StringComparison.Ordinal);
        Assert.False(File.Exists(In("again.copy")));
    }

    [Fact]
    public async Task What_cannot_be_done_is_refused_with_a_remedy_and_leaves_everything_as_it_was()
    {
        await _srctl.RefusedAsync(10, "store", "points", In("nowhere"));
        await _srctl.RefusedAsync(10, "store", "points", Directory.CreateDirectory(In("empty")).FullName);
        Assert.Contains("db1", (await _srctl.RefusedAsync(2, "store", "points", In("stores"))).People, StringComparison.Ordinal);
        await File.WriteAllTextAsync(In("taken"), "kept", _stop.Token);
        string[] export = ["store", "export", Db1, "--to", In("taken")];
        await _srctl.RefusedAsync(10, [.. export, "--disk", "0", "--point", "e1-s999"]);
        await _srctl.RefusedAsync(10, [.. export, "--disk", "0", "--point", "at:2020-01-01T00:00:00Z"]);
        await _srctl.RefusedAsync(2, [.. export, "--disk", "0", "--point", "yesterday"]);
        var ahead = await _srctl.RefusedAsync(2, [.. export, "--disk", "0", "--point", "at:2127-01-01"]);
        Assert.Contains("read as 2127-01-01T00:00:00.000Z (UTC)", ahead.People, StringComparison.Ordinal);
        Assert.Contains("newest position is e1-s21", ahead.People, StringComparison.Ordinal);
        Assert.Contains("0 (vda), 1 (vdb)", (await _srctl.RefusedAsync(10, [.. export, "--disk", "vdc"])).People, StringComparison.Ordinal);
        await _srctl.RefusedAsync(2, export); // which disk?
        Assert.Contains("--force", (await _srctl.RefusedAsync(2, [.. export, "--disk", "0"])).People, StringComparison.Ordinal);
        Assert.Equal("kept", await File.ReadAllTextAsync(In("taken"), _stop.Token));
        await _srctl.DoneAsync([.. export, "--disk", "1", "--force"]);
        Assert.Equal(new byte[BlockBytes], await File.ReadAllBytesAsync(In("taken"), _stop.Token));
    }

    public void Dispose()
    {
        _store.Dispose();
        _stop.Dispose();
        Directory.Delete(_folder, recursive: true);
    }

    /// <summary>One write of a random block: of noise, of zeroes, or of noise with zeroes in it.</summary>
    private void Write(Random random, int sequence)
    {
        var (offset, data, state) = (random.Next(DiskBytes / BlockBytes) * BlockBytes, new byte[BlockBytes], _states[^1].ToArray());
        var zero = sequence % 5 == 0;
        if (!zero) random.NextBytes(data.AsSpan(0, BlockBytes / (1 + sequence % 2)));
        data.CopyTo(state, offset);
        _states.Add(state);
        Extent[] extent = [new(offset, BlockBytes, 0, zero ? ExtentKind.Zero : ExtentKind.Data)];
        _store.Append(BatchCodec.Compress(BatchCodec.Encode(Header(BatchKind.Delta, sequence), extent, zero ? [] : data), (PayloadCompression)(sequence % 3)));
    }

    private BatchHeader Header(BatchKind kind, long sequence, MarkerKind marker = MarkerKind.None) => new()
    {
        Kind = kind, Marker = marker, MachineTag = BatchCodec.TagOf(new MachineId("db1")), Epoch = Epoch.First, Incarnation = 1, Ordinal = ++_ordinal,
        First = new Sequence(sequence), Last = new Sequence(sequence), Time = Start.AddSeconds(_ordinal),
    };

    private static long Holes(IBlockFile file)
    {
        var holes = 0L;
        for (long at = 0; at < file.LengthBytes;)
        {
            var (length, hole) = file.RunAt(at);
            if (hole) holes += length;
            at += length;
        }
        return holes;
    }
}
