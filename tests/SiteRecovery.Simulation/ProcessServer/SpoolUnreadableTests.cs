using System.Collections.Concurrent;
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

    /// <summary>Whichever of its frames the disk does not give any more: after a while it is given up, by a process that has begun with it as by one that finds it, and the source sends it again.</summary>
    [Theory, InlineData(false), InlineData(true)]
    public async Task A_sector_that_cannot_be_read_any_more_stops_nothing_for_long(bool atStart)
    {
        var (disk, clock) = (await FilledAsync(), new SimClock());
        var segments = disk.Files("/spool").Where(f => f.EndsWith(".seg", StringComparison.Ordinal)).ToArray();
        if (atStart) disk.Spoil(segments[0], 0);
        Taker? taker = null;
        await using var spool = new SpoolTarget(Options, _ => taker, disk, clock);
        IStreamSession? session = null;
        if (!atStart)
        {
            session = await OpenAsync(spool, clock);
            Assert.Equal(new StreamPosition(1, Batches), session.Opened.Held);
        }
        disk.Spoil(segments[^1], disk.LengthOf(segments[^1]) / 2);
        taker = new Taker();
        await UntilAsync(async () => session is null ? await OpensAsync(spool, clock) : session.Closed.IsCompleted, clock);
        if (session is not null) Assert.Contains("cannot be read", (await session.Closed)!.Message, StringComparison.Ordinal);
        await using var again = await OpenAsync(spool, clock);
        Assert.InRange(again.Opened.Held.Ordinal, 0, Batches - 1);
    }

    /// <summary>The small files beside the segments: nothing of what is kept hangs on them for good.</summary>
    [Theory, InlineData("~state.json"), InlineData("~durable")]
    public async Task Nor_does_one_in_what_it_remembers(string file)
    {
        var (disk, clock) = (await FilledAsync(), new SimClock());
        disk.Spoil($"/spool/{Machine}{file}", 0);
        await using var spool = new SpoolTarget(Options, _ => null, disk, clock);
        await UntilAsync(() => OpensAsync(spool, clock), clock);
        await using var again = await OpenAsync(spool, clock);
        Assert.Equal(new StreamPosition(1, Batches), again.Opened.Held);
    }

    /// <summary>What follows the last good frame is cut off, which a file system refuses where it cannot read the page that the file would end in.</summary>
    [Fact]
    public async Task Nor_does_one_that_a_segment_would_end_in()
    {
        const int payload = 9 << 10, pageWithTheFirstFramesEnd = 2;
        var options = Options with { SegmentBytes = 32 << 10 };
        var (disk, clock) = (await FilledAsync(options, payload), new SimClock());
        disk.Spoil(disk.Files("/spool").First(f => f.EndsWith(".seg", StringComparison.Ordinal)), pageWithTheFirstFramesEnd * 4096);
        await using var spool = new SpoolTarget(options, _ => null, disk, clock);
        await UntilAsync(() => OpensAsync(spool, clock), clock);
        await using var again = await OpenAsync(spool, clock);
        Assert.Equal(0, again.Opened.Held.Ordinal);

        // Nor does it stand in front of what follows.
        var next = Opening with { Incarnation = 2 };
        await using (var goesOn = await OpenAsync(spool, clock, next)) await OfferAsync(goesOn, next, 1);
        await using var later = new SpoolTarget(options, _ => null, disk.Kill(), clock);
        await using var session = await OpenAsync(later, clock, next);
        Assert.Equal(new StreamPosition(2, 1), session.Opened.Held);
    }

    /// <summary>A page that the next frame begins in cannot be written any more, be it behind frames or behind a segment's header: what follows goes elsewhere, and a restart knows it.</summary>
    [Theory, InlineData(0), InlineData(3)]
    public async Task Nor_does_one_that_the_next_frame_begins_in(int before)
    {
        var (disk, clock, writes, isGone) = (new SimDisk(), new SimClock(), 0, false);
        disk.Faults = io =>
        {
            if (io.Kind != IoKind.Write || !io.Path.EndsWith(".seg", StringComparison.Ordinal) || writes++ != before + 1 || isGone) return Fault.None;
            isGone = true;
            disk.Spoil(io.Path, io.Offset);
            return Fault.None;
        };
        await using (var spool = new SpoolTarget(Options, _ => null, disk, clock))
        {
            await using var session = await OpenAsync(spool, clock);
            for (var i = 1; i <= before + 3; i++)
            {
                var offered = OfferAsync(session, Opening, i);
                await UntilAsync(() => Task.FromResult(offered.IsCompleted), clock);
                await offered;
            }
            Assert.True(isGone);
            Assert.Equal(new StreamPosition(1, before + 3), _received);
            Assert.InRange(disk.Files("/spool").Count(f => f.EndsWith(".seg", StringComparison.Ordinal)), 1, 2);
        }
        await using var later = new SpoolTarget(Options, _ => null, disk.Kill(), clock);
        await UntilAsync(() => OpensAsync(later, clock), clock);
    }

    /// <summary>What could not be deleted of the epoch before, behind the file that says so: it is neither sent nor taken for what the newer one goes on from.</summary>
    [Fact]
    public async Task What_is_left_of_an_epoch_that_is_over_stands_in_front_of_nothing()
    {
        var (disk, clock) = (await FilledAsync(), new SimClock());
        disk.Faults = io => io.Kind == IoKind.Delete ? Fault.Error : Fault.None;
        await using (var before = new SpoolTarget(Options, _ => null, disk, clock))
        await using (var begun = await OpenAsync(before, clock, Second))
        {
            await OfferAsync(begun, Second, 1);
            Assert.Equal(new StreamPosition(2, 1), _received);
        }
        disk.Faults = null;
        disk.Spoil($"/spool/{Machine}~state.json", 0);
        disk = disk.Kill();
        Assert.True(disk.Files("/spool").Count(f => f.EndsWith(".seg", StringComparison.Ordinal)) > 1);
        var taker = new Taker();
        await using var spool = new SpoolTarget(Options, _ => taker, disk, clock);
        await UntilAsync(() => OpensAsync(spool, clock, Second), clock);
        await using var again = await OpenAsync(spool, clock, Second);
        Assert.Equal(new StreamPosition(2, 1), again.Opened.Held);
        Assert.All(taker.Openings, o => Assert.Equal(Second.Epoch, o.Epoch));
    }

    private static async Task UntilAsync(Func<Task<bool>> holds, SimClock clock)
    {
        using var limit = new CancellationTokenSource(TimeSpan.FromMinutes(1));
        while (!await holds())
        {
            limit.Token.ThrowIfCancellationRequested();
            clock.Next(clock.Elapsed + TimeSpan.FromMilliseconds(200));
            await Task.Yield();
        }
    }

    private Task<bool> OpensAsync(SpoolTarget spool, SimClock clock) => OpensAsync(spool, clock, Opening);

    private async Task<bool> OpensAsync(SpoolTarget spool, SimClock clock, StreamOpening opening)
    {
        try
        {
            await (await OpenAsync(spool, clock, opening)).DisposeAsync();
            return true;
        }
        catch (IOException)
        {
            return false;
        }
    }

    /// <summary>The next room, which takes everything and has nothing durable yet.</summary>
    private sealed class Taker : IStreamTarget
    {
        internal ConcurrentQueue<StreamOpening> Openings { get; } = [];

        public ValueTask<IStreamSession> OpenAsync(StreamOpening opening, IPositionListener positions, CancellationToken stop)
        {
            Openings.Enqueue(opening);
            return new(new Session());
        }

        private sealed class Session : IStreamSession
        {
            public StreamOpened Opened => new(default, default, Sequence.None, true);
            public bool LetsGoOfReceived => false;
            public Task<Exception?> Closed { get; } = new TaskCompletionSource<Exception?>().Task;
            public ValueTask OfferAsync(Batch batch, CancellationToken stop) => default;
            public ValueTask<ulong[]> HashesAsync(ushort disk, long offset, int blockBytes, int blocks, CancellationToken stop) => throw new NotSupportedException();
            public ValueTask DisposeAsync() => default;
        }
    }

    private static SpoolOptions Options => new() { Folder = "/spool", BytesMax = 1 << 20, SegmentBytes = 16 << 10 };

    private static StreamOpening Opening => new(Machine, Epoch.First, [new DiskGeometry(0, "vda", 1 << 20)], 1);
    private static StreamOpening Second => Opening with { Epoch = Epoch.First.Next(), Incarnation = 2 };

    private Task<SimDisk> FilledAsync() => FilledAsync(Options, 1024);

    private async Task<SimDisk> FilledAsync(SpoolOptions options, int payload)
    {
        var (disk, clock) = (new SimDisk(), new SimClock());
        await using var spool = new SpoolTarget(options, _ => null, disk, clock);
        await using var session = await OpenAsync(spool, clock);
        for (var i = 1; i <= Batches; i++) await OfferAsync(session, Opening, i, payload);
        Assert.Equal(new StreamPosition(1, Batches), _received);
        return disk.Kill();
    }

    private static async Task OfferAsync(IStreamSession session, StreamOpening opening, int i, int payload = 1024)
    {
        var header = new BatchHeader
        {
            Kind = BatchKind.Delta, MachineTag = BatchCodec.TagOf(Machine), Epoch = opening.Epoch, Incarnation = opening.Incarnation, Ordinal = i, First = new Sequence(i), Last = new Sequence(i), Time = SimClock.Epoch,
        };
        await session.OfferAsync(BatchCodec.Encode(header, [new Extent(0, payload, 0, ExtentKind.Data)], new byte[payload]), default);
    }

    private Task<IStreamSession> OpenAsync(SpoolTarget spool, SimClock clock) => OpenAsync(spool, clock, Opening);

    /// <summary>It waits a moment for the link, which there is none of.</summary>
    private async Task<IStreamSession> OpenAsync(SpoolTarget spool, SimClock clock, StreamOpening how)
    {
        var (opening, patience) = (spool.OpenAsync(how, this, default).AsTask(), clock.Elapsed + TimeSpan.FromSeconds(10));
        while (!opening.IsCompleted)
        {
            // Not for as long as a disk is waited for.
            if (clock.Elapsed < patience) clock.Next(clock.Elapsed + TimeSpan.FromSeconds(1));
            await Task.Yield();
        }
        return await opening;
    }

    void IPositionListener.Received(StreamPosition position) => _received = position;

    void IPositionListener.Durable(StreamPosition position, Sequence sequence)
    {
    }
}
