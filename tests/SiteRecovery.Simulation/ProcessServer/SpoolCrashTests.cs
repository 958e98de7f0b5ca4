using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.DataPlane.ProcessServer;
using SiteRecovery.Domain.History;
using SiteRecovery.Simulation.World;

namespace SiteRecovery.Simulation.ProcessServer;

/// <summary>A process server's spool after every single I/O: what a killed one has received is sent on, and after a loss of power nothing that is damaged or has a gap.</summary>
public sealed class SpoolCrashTests
{
    private static readonly MachineId Machine = new("db1");
    private readonly List<(SimDisk Image, string How, StreamPosition Received, Epoch Epoch, bool Killed)> _images = [];
    private readonly Dictionary<StreamPosition, byte[]> _frames = [];
    private readonly SimDisk _disk = new();
    private StreamOpening _opening = new(Machine, Epoch.First, [new DiskGeometry(0, "vda", 1 << 20)], 1);
    private StreamPosition _received;
    private long _sequence;

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    public async Task What_was_received_survives_a_kill_and_nothing_damaged_is_sent(int seed)
    {
        var random = new Random(seed);
        _disk.CreateDirectory("/data");
        _disk.After = io =>
        {
            _images.Add((_disk.Kill(), $"killed after {io}", _received, _opening.Epoch, true));
            var loss = random.Next();
            _images.Add((_disk.LosePower(loss), $"without power ({loss}) after {io}", _received, _opening.Epoch, false));
        };
        await using var spool = new SpoolTarget(Options, _ => null, _disk, new SimClock());
        var session = await spool.OpenAsync(_opening, new Positions(this), default);
        for (var step = 0; step < 30; step++)
        {
            if (random.Next(10) == 0)
            {
                var epoch = random.Next(3) == 0 ? _opening.Epoch.Next() : _opening.Epoch;
                _opening = _opening with { Epoch = epoch, Incarnation = _opening.Incarnation + 1 };
                _received = epoch > Epoch.First && session.Opened.Held.Incarnation < _opening.Incarnation ? default : _received;
                session = await spool.OpenAsync(_opening, new Positions(this), default);
                _received = default;
            }
            await session.OfferAsync(Next(random, _received.Incarnation == _opening.Incarnation ? _received.Ordinal + 1 : 1), default);
            await AssertImagesAsync();
        }
    }

    private Batch Next(Random random, long ordinal)
    {
        var payload = new byte[random.Next(1, 2500)];
        random.NextBytes(payload);
        _sequence++;
        var batch = BatchCodec.Encode(new BatchHeader
        {
            Kind = BatchKind.Delta, MachineTag = BatchCodec.TagOf(Machine), Epoch = _opening.Epoch, Incarnation = _opening.Incarnation, Ordinal = ordinal,
            First = new Sequence(_sequence), Last = new Sequence(_sequence), Time = SimClock.Epoch,
        }, [new Extent(0, payload.Length, 0, ExtentKind.Data)], payload);
        _frames[batch.Position] = batch.Frame.ToArray();
        return batch;
    }

    private async Task AssertImagesAsync()
    {
        foreach (var (image, how, received, epoch, killed) in _images)
        {
            var next = new NextRoom();
            await using var spool = new SpoolTarget(Options, _ => next, image, new SimClock());
            var opening = _opening with { Epoch = epoch, Incarnation = received.Incarnation > 0 ? received.Incarnation : _opening.Incarnation };
            await using var session = await spool.OpenAsync(opening, new Positions(null), default);
            var held = session.Opened.Held;
            if (killed) Assert.True(held.CompareTo(received) >= 0, $"{how}: it holds {held}, but had received {received}");
            using var deadline = new CancellationTokenSource(TimeSpan.FromSeconds(20));
            while (spool.StatusOf(Machine).Batches > 0) await Task.Delay(1, deadline.Token);
            var (last, lastEpoch) = AssertSent(next, how);
            // What it kept of an earlier epoch is no longer held when a later one has begun, and may have been sent until then.
            var isOver = held == default && lastEpoch < epoch;
            // What does not continue where the next room stands is dropped, and the agent hears of it.
            Assert.True(held == last || isOver || (!killed && session.Closed.IsCompleted), $"{how}: it said that it holds {held}, and sent up to {last} of epoch {lastEpoch}");
        }
        _images.Clear();
    }

    private (StreamPosition Last, Epoch Epoch) AssertSent(NextRoom next, string how)
    {
        var (last, epoch) = (default(StreamPosition), default(Epoch));
        foreach (var batch in next.Taken)
        {
            Assert.True(_frames.TryGetValue(batch.Position, out var frame) && frame.AsSpan().SequenceEqual(batch.Frame.Span), $"{how}: {batch.Position} is not what was offered");
            Assert.True(batch.Position.Incarnation == last.Incarnation ? batch.Position.Ordinal == last.Ordinal + 1 : batch.Position is { Ordinal: 1 } p && p.Incarnation > last.Incarnation, $"{how}: {batch.Position} follows {last}");
            (last, epoch) = (batch.Position, batch.Header.Epoch);
        }
        return (last, epoch);
    }

    private static SpoolOptions Options => new() { Folder = "/data/spool", BytesMax = 1 << 20, SegmentBytes = 8 << 10 };

    private sealed class Positions(SpoolCrashTests? test) : IPositionListener
    {
        public void Received(StreamPosition position)
        {
            if (test is not null) test._received = position;
        }

        public void Durable(StreamPosition position, Sequence sequence)
        {
        }
    }

    /// <summary>Takes everything, and has it for good at once.</summary>
    private sealed class NextRoom : IStreamTarget
    {
        private readonly Lock _gate = new();
        private readonly List<Batch> _taken = [];

        public IReadOnlyList<Batch> Taken { get { lock (_gate) return [.. _taken]; } }

        public ValueTask<IStreamSession> OpenAsync(StreamOpening opening, IPositionListener positions, CancellationToken stop)
        {
            lock (_gate)
            {
                var (held, sequence) = _taken.Count > 0 ? (_taken[^1].Position, _taken[^1].Header.Last) : (default, Sequence.None);
                return new(new Session(this, positions, new StreamOpened(held, held, sequence, false)));
            }
        }

        private sealed class Session(NextRoom room, IPositionListener positions, StreamOpened opened) : IStreamSession
        {
            private readonly TaskCompletionSource<Exception?> _closed = new();

            public StreamOpened Opened => opened;
            public Task<Exception?> Closed => _closed.Task;

            public ValueTask OfferAsync(Batch batch, CancellationToken stop)
            {
                lock (room._gate) room._taken.Add(batch);
                positions.Received(batch.Position);
                positions.Durable(batch.Position, batch.Header.Last);
                return default;
            }

            public ValueTask<ulong[]> HashesAsync(ushort disk, long offset, int blockBytes, int blocks, CancellationToken stop) => new(new ulong[blocks]);

            public ValueTask DisposeAsync()
            {
                _closed.TrySetResult(null);
                return default;
            }
        }
    }
}
