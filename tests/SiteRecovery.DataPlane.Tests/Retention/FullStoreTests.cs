using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.DataPlane.MasterTarget;
using SiteRecovery.DataPlane.Storage;
using SiteRecovery.Domain.History;

namespace SiteRecovery.DataPlane.Tests.Retention;

/// <summary>A store on a full disk is opened anew for each attempt, and says all the while that it takes no writes.</summary>
public sealed class FullStoreTests : IDisposable
{
    private const int BlockBytes = 64 << 10;
    private static readonly MachineId Machine = new("db1");
    private static readonly DiskGeometry[] Disks = [new(0, "vda", 1 << 20)];
    private readonly string _folder = Directory.CreateTempSubdirectory("full").FullName;
    private readonly FullFiles _files = new();
    private readonly Heard _heard = new();
    private long _incarnation, _ordinal, _sequence;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    public async Task That_it_takes_no_writes_is_said_until_it_has_taken_one()
    {
        await using var stores = new StoreReceiver(_folder, _files, TimeProvider.System);
        await OfferAsync(stores, fails: false);
        Assert.Null(stores.FailureOf(Machine));

        _files.IsFull = true;
        for (var attempt = 0; attempt < 3; attempt++)
        {
            await OfferAsync(stores, fails: true);
            AssertSaid();
            stores.Hold(Machine, Disks, Epoch.First);
            Assert.Null(stores.StoreOf(Machine).FailedReason); // it was opened anew
            AssertSaid();
        }

        _files.IsFull = false;
        stores.Hold(Machine, Disks, Epoch.First);
        AssertSaid(); // nobody has written to it since
        await OfferAsync(stores, fails: false);
        Assert.Null(stores.FailureOf(Machine));
        Assert.Null(stores.ReportOf(Machine).FailedReason);

        void AssertSaid()
        {
            Assert.Contains("no space", stores.FailureOf(Machine), StringComparison.Ordinal);
            Assert.Equal(stores.FailureOf(Machine), stores.ReportOf(Machine).FailedReason);
        }
    }

    [Fact]
    public async Task What_is_removed_leaves_no_reason_to_the_next_one()
    {
        await using var stores = new StoreReceiver(_folder, _files, TimeProvider.System);
        _files.IsFull = true;
        await OfferAsync(stores, fails: true);
        stores.Hold(Machine, Disks, Epoch.First);
        Assert.NotNull(stores.FailureOf(Machine));
        await stores.RemoveAsync(Machine, CancellationToken.None);
        stores.Hold(Machine, Disks, new Epoch(2));
        Assert.Null(stores.FailureOf(Machine));
    }

    /// <summary>A stream that begins anew, whose start finds room also where a write does not, and a write.</summary>
    private async Task OfferAsync(StoreReceiver stores, bool fails)
    {
        var written = _sequence;
        (_incarnation, _ordinal) = (_incarnation + 1, 0);
        await using var session = await stores.OpenAsync(new StreamOpening(Machine, Epoch.First, Disks, _incarnation), _heard, default);
        await session.OfferAsync(BatchCodec.Encode(Header(BatchKind.Marker) with { Marker = MarkerKind.StreamStart }, [], "continue"u8), default);
        await _heard.DurableAsync(_incarnation, 1);
        if (fails && _files.HasRefused) Assert.NotNull(stores.FailureOf(Machine));
        _sequence++;
        await session.OfferAsync(BatchCodec.Encode(Header(BatchKind.Delta), [new Extent(0, BlockBytes, 0, ExtentKind.Data)], new byte[BlockBytes]), default);
        if (fails) Assert.IsType<IOException>(await session.Closed);
        else await _heard.DurableAsync(_incarnation, 2);
        if (fails) _sequence = written;
    }

    private BatchHeader Header(BatchKind kind) => new()
    {
        Kind = kind, MachineTag = BatchCodec.TagOf(Machine), Epoch = Epoch.First, Incarnation = _incarnation, Ordinal = ++_ordinal,
        First = new Sequence(_sequence), Last = new Sequence(_sequence), Time = DateTimeOffset.UnixEpoch.AddSeconds(_sequence),
    };

    /// <summary>What is small still goes into the last block.</summary>
    private sealed class FullFiles : RealFiles
    {
        internal bool IsFull { get; set; }
        internal bool HasRefused { get; private set; }

        protected override IBlockFile Around(string path, IBlockFile file) => path.EndsWith(".seg", StringComparison.Ordinal) ? new Full(this, file) : file;

        private sealed class Full(FullFiles files, IBlockFile file) : AroundFile(file)
        {
            public override void Write(long offset, ReadOnlySpan<byte> from)
            {
                if (files.IsFull && from.Length >= BlockBytes) throw files.Refusal();
                base.Write(offset, from);
            }
        }

        private IOException Refusal()
        {
            HasRefused = true;
            return new IOException("no space left on device");
        }
    }

    private sealed class Heard : IPositionListener
    {
        private readonly Lock _gate = new();
        private StreamPosition _durable;
        private TaskCompletionSource _moved = new(TaskCreationOptions.RunContinuationsAsynchronously);

        public void Received(StreamPosition position)
        {
            // Nobody waits for it.
        }

        void IPositionListener.Durable(StreamPosition position, Sequence sequence)
        {
            lock (_gate)
            {
                _durable = position;
                _moved.SetResult();
                _moved = new(TaskCreationOptions.RunContinuationsAsynchronously);
            }
        }

        internal async Task DurableAsync(long incarnation, long ordinal)
        {
            while (true)
            {
                Task moved;
                lock (_gate)
                {
                    if (_durable.CompareTo(new StreamPosition(incarnation, ordinal)) >= 0) return;
                    moved = _moved.Task;
                }
                await moved.WaitAsync(TimeSpan.FromSeconds(20));
            }
        }
    }
}
