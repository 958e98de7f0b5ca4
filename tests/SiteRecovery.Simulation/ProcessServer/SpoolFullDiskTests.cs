using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.DataPlane.ProcessServer;
using SiteRecovery.Domain.History;
using SiteRecovery.Simulation.World;

namespace SiteRecovery.Simulation.ProcessServer;

/// <summary>A process server whose disk is full waits for room.</summary>
public sealed class SpoolFullDiskTests : IPositionListener
{
    private StreamPosition _received;

    [Fact]
    public async Task A_full_disk_is_tried_again_after_a_while_and_not_all_the_time()
    {
        var (disk, clock, tries) = (new SimDisk(), new SimClock(), 0);
        await using var spool = new SpoolTarget(new SpoolOptions { Folder = "/spool" }, _ => null, disk, clock);
        var opening = new StreamOpening(new MachineId("db1"), Epoch.First, [new DiskGeometry(0, "vda", 1 << 20)], 1);
        await using var session = await spool.OpenAsync(opening, this, default);
        disk.CapacityBytes = disk.UsedBytes;
        disk.Faults = io => io.Kind == IoKind.Create && ++tries > 100 ? throw new InvalidOperationException("it tries all the time") : Fault.None;
        var header = new BatchHeader
        {
            Kind = BatchKind.Delta, MachineTag = BatchCodec.TagOf(opening.Machine), Epoch = Epoch.First, Incarnation = 1, Ordinal = 1, First = new Sequence(1), Last = new Sequence(1), Time = SimClock.Epoch,
        };
        var offer = session.OfferAsync(BatchCodec.Encode(header, [new Extent(0, 512, 0, ExtentKind.Data)], new byte[512]), default).AsTask();
        Assert.False(offer.IsCompleted);
        Assert.Contains("No space", spool.StatusOf(opening.Machine).LastError!, StringComparison.Ordinal);
        disk.CapacityBytes = long.MaxValue;
        while (!offer.IsCompleted)
        {
            clock.Next(clock.Elapsed + TimeSpan.FromSeconds(1));
            await Task.Yield();
        }
        await offer;
        Assert.Equal(new StreamPosition(1, 1), _received);
    }

    void IPositionListener.Received(StreamPosition position) => _received = position;

    void IPositionListener.Durable(StreamPosition position, Sequence sequence)
    {
    }
}
