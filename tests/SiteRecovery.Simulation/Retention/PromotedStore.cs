using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.DataPlane.Keys;
using SiteRecovery.DataPlane.Retention;
using SiteRecovery.Domain.History;
using SiteRecovery.Simulation.World;

namespace SiteRecovery.Simulation.Retention;

/// <summary>A store of which every block was promoted into the base, on a disk that may fail, and what it should show.</summary>
internal sealed class PromotedStore
{
    internal const int BlockBytes = 4096, FramesPerSegment = 8;
    internal const string Folder = "/stores/db1", Base = Folder + "/base/disk-0.raw", Encrypted = Folder + "/base/disk-0.aes";
    internal static readonly RetentionLimits Nothing = new(TimeSpan.FromTicks(1), null);
    private static readonly MachineId Machine = new("db1");
    private readonly Random _random = new(7);
    private long _ordinal = 1;

    internal PromotedStore(bool encrypted = false, int diskBytes = 64 << 10)
    {
        Model = new byte[diskBytes];
        Store = RetentionStore.Create(Folder, Machine, [new DiskGeometry(0, "vda", diskBytes)], Epoch.First, Disk, Clock, options: Options);
        if (encrypted) Store.Encrypt(true);
        Store.Append(BatchCodec.Encode(Header(BatchKind.Marker, 0) with { Marker = MarkerKind.StreamStart }, [], "continue"u8));
        Fill((0, diskBytes));
        Store.Maintain(Nothing, default);
        Assert.Single(Segments);
    }

    private static StoreOptions Options { get; } = new() { SegmentFramesMax = FramesPerSegment, BaseBlocksUnflushedMax = 3, Keys = new KeyWrappings(SimKey.Wrapping, [], KeyWrappings.RenewAfterDefault) };

    internal SimDisk Disk { get; } = new();
    internal SimClock Clock { get; } = new();
    internal byte[] Model { get; }
    internal RetentionStore Store { get; }
    internal long Sequence { get; private set; }
    internal string[] Segments => [.. Disk.Files(Folder + "/log").Where(f => f.EndsWith(".seg", StringComparison.Ordinal))];

    /// <summary>Writes, and then as much as it takes for the segment to be sealed with another one behind it: the first block, again and again.</summary>
    internal void Fill(params (int Offset, int Length)[] writes)
    {
        foreach (var (offset, length) in writes) Write(offset, length);
        for (var segments = 0; segments < 2;)
        {
            Write(0, BlockBytes);
            if (_ordinal % FramesPerSegment == 0) segments++;
        }
        Store.Flush();
    }

    internal void Discard(int offset, int length)
    {
        Model.AsSpan(offset, length).Clear();
        Sequence++;
        Assert.True(Store.Append(BatchCodec.Encode(Header(BatchKind.Delta, Sequence), [new Extent(offset, length, 0, ExtentKind.Zero)], [])));
    }

    internal RetentionStore Open(SimDisk disk, bool readOnly = false, bool givesUp = false) => RetentionStore.Open(Folder, disk, Clock, readOnly, Options with { GivesUpUnreadable = givesUp });

    internal void AssertShows(RetentionStore store, params int[] butFor) => AssertShows(store.At(store.ConsistentUpTo!), Model, butFor);

    internal static void AssertShows(StoreView view, byte[] content, params int[] butFor)
    {
        for (var block = 0; block * BlockBytes < content.Length; block++)
        {
            var expected = content.AsSpan(block * BlockBytes, Math.Min(BlockBytes, content.Length - block * BlockBytes));
            var (shown, number) = (new byte[expected.Length], block);
            if (Array.IndexOf(butFor, block) >= 0) Assert.Contains("damaged", Assert.Throws<IOException>(() => view.File(0).Read(number * BlockBytes, shown)).Message, StringComparison.Ordinal);
            else
            {
                view.File(0).Read(block * BlockBytes, shown);
                Assert.True(expected.SequenceEqual(shown), $"block {block}");
            }
        }
        view.Release();
    }

    /// <summary>Passes of the maintenance, ten seconds apart, until one ends.</summary>
    internal int PassesUntilDone(int most)
    {
        for (var passes = 1; passes <= most; passes++, Clock.Spend(TimeSpan.FromSeconds(10)))
            try
            {
                Store.Maintain(Nothing, default);
                return passes;
            }
            catch (IOException)
            {
                // The next one may.
            }
        throw new InvalidOperationException($"not done after {most} passes");
    }

    /// <summary>Where bytes lie in a segment, as they came, the disk gives nothing any more.</summary>
    internal void SpoilInLog(ReadOnlySpan<byte> bytes)
    {
        foreach (var path in Segments)
        {
            var whole = new byte[Disk.LengthOf(path)];
            Disk.Peek(path, whole);
            if (whole.AsSpan().IndexOf(bytes) is var at and >= 0) Disk.Spoil(path, at);
        }
    }

    private void Write(int offset, int length)
    {
        _random.NextBytes(Model.AsSpan(offset, length));
        Sequence++;
        Assert.True(Store.Append(BatchCodec.Encode(Header(BatchKind.Delta, Sequence), [new Extent(offset, length, 0, ExtentKind.Data)], Model.AsSpan(offset, length))));
    }

    private BatchHeader Header(BatchKind kind, long sequence) => new()
    {
        Kind = kind, MachineTag = BatchCodec.TagOf(Machine), Epoch = Epoch.First, Incarnation = 1, Ordinal = _ordinal++,
        First = new Sequence(sequence), Last = new Sequence(sequence), Time = SimClock.Epoch.AddDays(-1).AddSeconds(_ordinal),
    };
}
