using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.DataPlane.ProcessServer;
using SiteRecovery.Domain.History;
using SiteRecovery.Simulation.World;

namespace SiteRecovery.Simulation.ProcessServer;

/// <summary>What waits, and since when, is said without asking the disk: it may hang.</summary>
public sealed class SpoolStatusTests : IPositionListener
{
    private const int Batches = 3;
    private static readonly SpoolOptions Options = new() { Folder = "/spool" };
    private static readonly StreamOpening Opening = new(new MachineId("db1"), Epoch.First, [new DiskGeometry(0, "vda", 1 << 20)], 1);

    [Fact]
    public async Task It_is_known_of_what_came_just_now_and_of_what_an_earlier_process_left()
    {
        var (disk, clock) = (new SimDisk(), new SimClock());
        await using (var spool = new SpoolTarget(Options, _ => null, disk, clock))
        {
            await using var session = await spool.OpenAsync(Opening, this, default);
            for (var i = 1; i <= Batches; i++) await session.OfferAsync(Batch(i), default);
            AssertKnown(spool, disk);
        }
        var left = disk.Kill();
        await using var next = new SpoolTarget(Options, _ => null, left, clock);
        for (var tries = 0; next.EpochOf(Opening.Machine) is null; await Task.Delay(10)) Assert.InRange(++tries, 0, 1000);
        AssertKnown(next, left);
    }

    /// <summary>Whoever rewrites a segment holds what the answer needs.</summary>
    [Fact]
    public async Task It_is_as_it_was_known_last_where_the_disk_does_not_rename_a_segment()
    {
        using var hangs = new ManualResetEventSlim();
        using var goesOn = new ManualResetEventSlim();
        var disk = new SimDisk();
        await using var spool = new SpoolTarget(Options with { BytesMax = 256 << 10, CoalesceAtFraction = 0.1 }, _ => null, disk, TimeProvider.System);
        await using var session = await spool.OpenAsync(Opening, this, default);
        await session.OfferAsync(Batch(1), default);
        Assert.Equal(1, spool.StatusOf(Opening.Machine).Batches);
        disk.After = io =>
        {
            if (io.Kind != IoKind.Rename || !io.Path.Contains(".seg", StringComparison.Ordinal)) return;
            hangs.Set();
            goesOn.Wait(TimeSpan.FromSeconds(60));
        };
        var offered = Task.Run(async () =>
        {
            for (var i = 2; !hangs.IsSet; i++) await session.OfferAsync(Batch(i), default);
        });
        for (var tries = 0; !hangs.IsSet; await Task.Delay(10)) Assert.InRange(++tries, 0, 1000);
        var asked = Task.Run(() => spool.StatusOf(Opening.Machine));
        await Task.WhenAny(asked, Task.Delay(TimeSpan.FromSeconds(5)));
        var isAnswered = asked.IsCompleted;
        goesOn.Set();
        disk.After = null;
        await offered;
        Assert.True(isAnswered);
        Assert.Equal(SimClock.Epoch.AddSeconds(1), (await asked).OldestAt);
    }

    private static void AssertKnown(SpoolTarget spool, SimDisk disk)
    {
        var reads = 0;
        disk.Faults = io =>
        {
            if (io.Kind == IoKind.Read) reads++;
            return Fault.None;
        };
        var status = spool.StatusOf(Opening.Machine);
        Assert.Equal(((long)Batches, SimClock.Epoch.AddSeconds(1), 0), (status.Batches, status.OldestAt, reads));
        disk.Faults = null;
    }

    private static Batch Batch(int ordinal) => BatchCodec.Encode(new BatchHeader
    {
        Kind = BatchKind.Delta, MachineTag = BatchCodec.TagOf(Opening.Machine), Epoch = Epoch.First, Incarnation = 1, Ordinal = ordinal, First = new Sequence(ordinal), Last = new Sequence(ordinal),
        Time = SimClock.Epoch.AddSeconds(ordinal),
    }, [new Extent(0, 512, 0, ExtentKind.Data)], new byte[512]);

    void IPositionListener.Received(StreamPosition position)
    {
    }

    void IPositionListener.Durable(StreamPosition position, Sequence sequence)
    {
    }
}
