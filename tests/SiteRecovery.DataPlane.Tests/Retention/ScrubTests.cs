using System.IO.Hashing;
using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.DataPlane.Retention;
using SiteRecovery.DataPlane.Storage;
using SiteRecovery.Domain.History;

namespace SiteRecovery.DataPlane.Tests.Retention;

/// <summary>Rot in what nobody reads is found, and the newest state is mended by what the source sends again.</summary>
public sealed class ScrubTests : IDisposable
{
    private const int DiskBytes = 1 << 20, Block = 4096;
    private static readonly MachineId Machine = new("db1");
    private readonly string _folder = Directory.CreateTempSubdirectory("scrub").FullName;
    private readonly byte[] _now = new byte[DiskBytes];
    private readonly RetentionStore _store;
    private long _ordinal, _sequence;

    public ScrubTests()
    {
        _store = RetentionStore.Create(_folder, Machine, [new DiskGeometry(0, "vda", DiskBytes)], Epoch.First, RealFileSystem.Instance, TimeProvider.System,
            options: new StoreOptions { SegmentFramesMax = 10 });
        Append(BatchKind.Marker, MarkerKind.StreamStart, [], "continue"u8.ToArray());
        for (var i = 0; i < 55; i++) Write(i * 3 * Block % DiskBytes);
    }

    public void Dispose()
    {
        _store.Dispose();
        Directory.Delete(_folder, recursive: true);
    }

    [Theory]
    [InlineData("log/0000000002.seg")]
    [InlineData("base/disk-0.raw")]
    [InlineData("base/disk-0.sum")]
    public void A_flipped_bit_in_any_file_that_is_read_back_is_found_and_found_gone(string file)
    {
        if (file.StartsWith("base", StringComparison.Ordinal)) _store.Maintain(new RetentionLimits(TimeSpan.FromTicks(1), null), CancellationToken.None);
        Round();
        Assert.Empty(_store.Rot);
        Assert.NotNull(_store.ScrubbedAt);
        Flip(file);
        Round();
        Assert.Contains(Path.GetFileName(file)[..6], Assert.Single(_store.Rot).File, StringComparison.Ordinal);
        Flip(file);
        Round();
        Assert.Empty(_store.Rot);
    }

    [Fact]
    public void A_round_goes_on_where_the_last_piece_ended()
    {
        Flip("log/0000000004.seg");
        var pieces = 0;
        for (; _store.ScrubbedAt is null; pieces++) _store.Scrub(3 * Block, CancellationToken.None);
        Assert.InRange(pieces, 10, 60);
        Assert.Single(_store.Rot);
    }

    [Fact]
    public async Task What_cannot_be_read_differs_from_what_the_source_has_and_is_mended_by_what_it_sends()
    {
        Flip("log/0000000002.seg");
        var (hashes, theirs) = (await HashesAsync(), SourceHashes());
        var differing = Enumerable.Range(0, theirs.Length).Where(i => hashes[i] != theirs[i]).ToArray();
        var damaged = Assert.Single(differing);
        Append(BatchKind.Marker, MarkerKind.StreamStart, [], "gap"u8.ToArray());
        Append(BatchKind.Sync, MarkerKind.None, [new Extent(damaged * Block, Block, 0, ExtentKind.Data)], _now[(damaged * Block)..((damaged + 1) * Block)]);
        Append(BatchKind.Marker, MarkerKind.SyncCompleted, [], []);
        Assert.Equal(theirs, await HashesAsync());
        var mended = new byte[DiskBytes];
        _store.At(_store.ConsistentUpTo!).File(0).Read(0, mended);
        Assert.Equal(_now, mended);
    }

    [Fact]
    public void What_of_the_newest_state_is_lost_is_told_until_it_is_hidden_and_each_point_that_shows_it_is_marked()
    {
        Append(BatchKind.Marker, MarkerKind.CrashConsistentPoint, [], "shows it"u8.ToArray());
        Append(BatchKind.Marker, MarkerKind.CrashConsistentPoint, [], "at the same write"u8.ToArray());
        var shows = _store.Points[^1];
        for (var i = 0; i < 12; i++) Write(200 * Block);
        Assert.Empty(_store.DamageOfNewest());
        Round();
        Assert.Equal((true, null), (_store.NoteOf(shows).VerifiedAt is not null, _store.NoteOf(shows).Damage));

        Flip("log/0000000002.seg");
        Round();

        var (disk, offset, length) = Assert.Single(_store.DamageOfNewest());
        Assert.Equal((0, 0L, 64L << 10), (disk, offset % (64 << 10), length));
        Assert.Contains("scrub", _store.NoteOf(shows).Damage, StringComparison.Ordinal);
        // As the source sends it again.
        Append(BatchKind.Marker, MarkerKind.StreamStart, [], "gap"u8.ToArray());
        Append(BatchKind.Sync, MarkerKind.None, [new Extent(offset, (int)length, 0, ExtentKind.Data)], _now[(int)offset..(int)(offset + length)]);
        Append(BatchKind.Marker, MarkerKind.SyncCompleted, [], []);
        Append(BatchKind.Marker, MarkerKind.CrashConsistentPoint, [], "does not"u8.ToArray());
        var after = _store.Points[^1];
        Round();
        Assert.Empty(_store.DamageOfNewest());
        Assert.Null(_store.NoteOf(after).Damage);
        Assert.NotNull(_store.NoteOf(shows).Damage);
        // Whoever mends the file itself, from a copy say, is believed after a round.
        Flip("log/0000000002.seg");
        Round();
        Assert.Null(_store.NoteOf(shows).Damage);
    }

    [Fact]
    public void Where_a_segment_and_all_that_is_made_of_it_are_damaged_a_view_fails_and_shows_nothing_else()
    {
        Flip("log/0000000002.seg");
        foreach (var made in (string[])["idx", "map"]) File.Delete(Path.Combine(_folder, "log", "0000000002." + made));
        Assert.Contains("segment 2 is damaged", Assert.Throws<IOException>(() => _store.At(_store.ConsistentUpTo!)).Message, StringComparison.Ordinal);
        Round();
        Assert.Single(_store.Rot);
        Flip("log/0000000002.seg");
        var again = new byte[DiskBytes];
        _store.At(_store.ConsistentUpTo!).File(0).Read(0, again);
        Assert.Equal(_now, again);
    }

    [Fact]
    public void Promotion_goes_on_behind_damage_and_the_base_says_where_it_is_until_it_is_written_anew()
    {
        Flip("log/0000000002.seg");
        _store.Maintain(new RetentionLimits(TimeSpan.FromTicks(1), null), CancellationToken.None);
        Assert.True(_store.OldestPoint!.Sequence.Value > 40);
        var (damaged, content, view) = (-1, new byte[Block], _store.At(_store.ConsistentUpTo!));
        for (var block = 0; block < DiskBytes / Block; block++)
        {
            try
            {
                view.File(0).Read(block * Block, content);
                Assert.Equal(_now[(block * Block)..((block + 1) * Block)], content);
            }
            catch (IOException)
            {
                Assert.Equal(-1, damaged);
                damaged = block;
            }
        }
        view.Release();
        Assert.InRange(damaged, 0, int.MaxValue);
        Round();
        Assert.Single(_store.Rot);
        for (var i = 0; i < 20; i++) Write(damaged * Block);
        _store.Maintain(new RetentionLimits(TimeSpan.FromTicks(1), null), CancellationToken.None);
        Round();
        Assert.Empty(_store.Rot);
        var whole = new byte[DiskBytes];
        _store.At(_store.ConsistentUpTo!).File(0).Read(0, whole);
        Assert.Equal(_now, whole);
    }

    [Fact]
    public void A_segment_of_which_nothing_is_known_any_more_hides_only_what_needs_it()
    {
        for (var i = 0; i < 40; i++) Write(i % 50 * Block);
        _store.Maintain(null, CancellationToken.None);
        var before = _store.ResolvePoint(new PointSelector.ById("e1-s1"))!;
        var segments = Directory.GetFiles(Path.Combine(_store.Folder, "log"), "*.seg").Order(StringComparer.Ordinal).ToArray();
        _store.Dispose();
        foreach (var extension in (string[])[".seg", ".idx", ".map"]) Flip(Path.ChangeExtension(segments[1], extension));
        using var again = RetentionStore.Open(_store.Folder, RealFileSystem.Instance, TimeProvider.System);
        again.At(before).File(0).Read(0, new byte[DiskBytes]);
        again.Maintain(new RetentionLimits(TimeSpan.FromDays(1), null), CancellationToken.None);
        Assert.Throws<IOException>(() => again.At(again.ConsistentUpTo!));
    }

    private void Round()
    {
        var last = _store.ScrubbedAt;
        while (_store.ScrubbedAt == last) _store.Scrub(1 << 20, CancellationToken.None);
    }

    /// <summary>In the last byte of a segment's last frame, and in the first byte of a base that is not zero.</summary>
    private void Flip(string file)
    {
        var path = Path.Combine(_folder, file);
        var bytes = File.ReadAllBytes(path);
        bytes[file.EndsWith("seg", StringComparison.Ordinal) ? ^1 : Array.FindIndex(bytes, b => b is not 0 and not 16)] ^= 16;
        using var writer = new FileStream(path, FileMode.Open, FileAccess.Write, FileShare.ReadWrite);
        writer.Write(bytes);
    }

    private ValueTask<ulong[]> HashesAsync() => _store.HashesAsync(0, 0, Block, DiskBytes / Block, CancellationToken.None);

    private ulong[] SourceHashes() => [.. _now.Chunk(Block).Select(b => b.AsSpan().ContainsAnyExcept((byte)0) ? XxHash3.HashToUInt64(b) : 0)];

    private void Write(int offset)
    {
        new Random((int)_sequence).NextBytes(_now.AsSpan(offset, Block));
        Append(BatchKind.Delta, MarkerKind.None, [new Extent(offset, Block, 0, ExtentKind.Data)], _now[offset..(offset + Block)]);
    }

    private void Append(BatchKind kind, MarkerKind marker, Extent[] extents, byte[] payload)
    {
        if (kind == BatchKind.Delta) _sequence++;
        Assert.True(_store.Append(BatchCodec.Encode(new BatchHeader
        {
            Kind = kind, Marker = marker, MachineTag = BatchCodec.TagOf(Machine), Epoch = Epoch.First, Incarnation = 1, Ordinal = ++_ordinal,
            First = new Sequence(_sequence), Last = new Sequence(_sequence), Time = DateTimeOffset.UnixEpoch.AddSeconds(_ordinal),
        }, extents, payload)));
    }
}
