using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.DataPlane.ProcessServer;
using SiteRecovery.Domain.History;
using SiteRecovery.Simulation.World;

namespace SiteRecovery.Simulation.ProcessServer;

/// <summary>A process server starts on a disk that cannot be read for a while.</summary>
public sealed class SpoolUnreadableTests : IPositionListener
{
    private const int Batches = 40;
    private static readonly MachineId Machine = new("db1");
    private StreamPosition _received;

    /// <summary>Whichever of its reads fails first: what is kept is neither lost nor sent wrongly, nobody is let in before it is known, and nobody has to start the process anew.</summary>
    [Fact]
    public async Task What_it_keeps_is_taken_up_when_the_disk_can_be_read_again()
    {
        var before = await FilledAsync();
        var failing = 1;
        for (; ; failing++)
        {
            var (disk, clock, reads, first) = (before.Kill(), new SimClock(), 0, failing);
            disk.Faults = io => io.Kind == IoKind.Read && ++reads >= first ? Fault.Error : Fault.None;
            await using var spool = new SpoolTarget(Options, _ => null, disk, clock);
            IOException refused;
            try
            {
                await (await OpenAsync(spool, clock)).DisposeAsync();
                break; // all of them have had their turn
            }
            catch (IOException failure)
            {
                refused = failure;
            }
            Assert.Contains("cannot be read", refused.Message, StringComparison.Ordinal);
            Assert.Contains("cannot be read", spool.StatusOf(Machine).LastError, StringComparison.Ordinal);
            disk.Faults = null;
            while (spool.StatusOf(Machine) is not { Batches: Batches } status || status.LastError?.Contains("cannot be read", StringComparison.Ordinal) == true)
            {
                clock.Next(clock.Elapsed + TimeSpan.FromSeconds(1));
                await Task.Yield();
            }
            await using var session = await OpenAsync(spool, clock);
            Assert.Equal(new StreamPosition(1, Batches), session.Opened.Held);
        }
        Assert.True(failing > 4, $"{failing} reads");
    }

    private static SpoolOptions Options => new() { Folder = "/spool", BytesMax = 1 << 20, SegmentBytes = 16 << 10 };

    private static StreamOpening Opening => new(Machine, Epoch.First, [new DiskGeometry(0, "vda", 1 << 20)], 1);

    private async Task<SimDisk> FilledAsync()
    {
        var (disk, clock) = (new SimDisk(), new SimClock());
        await using var spool = new SpoolTarget(Options, _ => null, disk, clock);
        await using var session = await OpenAsync(spool, clock);
        for (var i = 1; i <= Batches; i++)
        {
            var header = new BatchHeader
            {
                Kind = BatchKind.Delta, MachineTag = BatchCodec.TagOf(Machine), Epoch = Epoch.First, Incarnation = 1, Ordinal = i, First = new Sequence(i), Last = new Sequence(i), Time = SimClock.Epoch,
            };
            await session.OfferAsync(BatchCodec.Encode(header, [new Extent(0, 1024, 0, ExtentKind.Data)], new byte[1024]), default);
        }
        Assert.Equal(new StreamPosition(1, Batches), _received);
        return disk.Kill();
    }

    /// <summary>It waits a moment for the link, which there is none of.</summary>
    private async Task<IStreamSession> OpenAsync(SpoolTarget spool, SimClock clock)
    {
        var opening = spool.OpenAsync(Opening, this, default).AsTask();
        while (!opening.IsCompleted)
        {
            clock.Next(clock.Elapsed + TimeSpan.FromSeconds(1));
            await Task.Yield();
        }
        return await opening;
    }

    void IPositionListener.Received(StreamPosition position) => _received = position;

    void IPositionListener.Durable(StreamPosition position, Sequence sequence)
    {
    }
}
