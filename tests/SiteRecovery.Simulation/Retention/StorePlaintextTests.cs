using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.DataPlane.Keys;
using SiteRecovery.DataPlane.Retention;
using SiteRecovery.Domain.History;
using SiteRecovery.Simulation.World;

namespace SiteRecovery.Simulation.Retention;

/// <summary>What an encrypted base has taken over of a plain one is gone, and stays so when the power does.</summary>
public sealed class StorePlaintextTests
{
    private const int Blocks = 8, BlockBytes = 4096, Losses = 20;
    private static readonly byte[] Secret = "the sum of all invoices is 4711 "u8.ToArray();
    private readonly SimDisk _disk = new();
    private long _ordinal, _sequence;

    [Fact]
    public void Nothing_of_a_block_that_was_encrypted_later_comes_back_with_a_loss_of_power()
    {
        using var store = RetentionStore.Create(StoreRun.Folder, StoreScript.Machine, [new DiskGeometry(0, "vda", Blocks * BlockBytes)], Epoch.First, _disk, new SimClock(),
            options: new StoreOptions { SegmentFramesMax = 2, Keys = new KeyWrappings(SimKey.Wrapping, [], KeyWrappings.RenewAfterDefault) });
        store.Append(BatchCodec.Encode(Header(BatchKind.Marker, 0) with { Marker = MarkerKind.StreamStart }, [], "continue"u8));
        WriteAll(store);
        Assert.Equal(Losses, LossesThatShow());
        store.Encrypt(true);
        WriteAll(store);
        WriteAll(store);
        Assert.Equal(0, LossesThatShow());
    }

    /// <summary>All that was written before is promoted at the end.</summary>
    private void WriteAll(RetentionStore store)
    {
        for (var block = 0; block < Blocks; block++)
        {
            var data = Enumerable.Repeat(Secret, BlockBytes / Secret.Length).SelectMany(s => s).ToArray();
            store.Append(BatchCodec.Encode(Header(BatchKind.Delta, ++_sequence), [new Extent(block * BlockBytes, BlockBytes, 0, ExtentKind.Data)], data));
        }
        // What lies in the segment that is still written to is no part of it.
        for (var i = 0; i < 3; i++) store.Append(BatchCodec.Encode(Header(BatchKind.Marker, _sequence) with { Marker = MarkerKind.Tick }, [], []));
        store.Maintain(new RetentionLimits(TimeSpan.FromTicks(1), null), CancellationToken.None);
    }

    private int LossesThatShow() => Enumerable.Range(0, Losses).Select(_disk.LosePower)
        .Count(image => image.Files(StoreRun.Folder).Any(f => f.Contains("/base/", StringComparison.Ordinal) && image.TryReadAll(f)!.AsSpan().IndexOf(Secret) >= 0));

    private BatchHeader Header(BatchKind kind, long sequence) => new()
    {
        Kind = kind, MachineTag = BatchCodec.TagOf(StoreScript.Machine), Epoch = Epoch.First, Incarnation = 1, Ordinal = ++_ordinal,
        First = new Sequence(sequence), Last = new Sequence(sequence), Time = SimClock.Epoch.AddDays(-1).AddSeconds(_ordinal),
    };
}
