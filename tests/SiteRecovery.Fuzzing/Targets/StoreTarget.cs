using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.DataPlane.Retention;
using SiteRecovery.Domain.History;

namespace SiteRecovery.Fuzzing.Targets;

/// <summary>
/// A whole retention store of which one file is not what was written: opened, looked at everywhere, proven, scrubbed, maintained, and appended to. The first byte says which file.
/// </summary>
internal sealed class StoreTarget : FuzzTarget
{
    private const string Folder = "/stores/db1";
    private const int DiskBytes = 1 << 20;
    private static readonly DateTimeOffset Begun = new(2026, 11, 28, 0, 0, 0, TimeSpan.Zero);
    private readonly MemoryFiles _template = new();
    private readonly string[] _paths;
    private readonly Clock _clock = new();

    internal StoreTarget()
    {
        Write(_template);
        _paths = [.. _template.Paths];
    }

    internal override string Name => "store";
    internal override int InputBytesMax => 256 << 10;
    internal override IReadOnlyList<byte[]> Words { get; } = [.. JsonWords.Of("version", "epochs", "disks", "promoted", "thinned", "points", "checksum", "segment", "notes")];

    /// <summary>Every view of it allocates; nothing in it is larger than a piece of 1 MiB, of which verifying and promoting take some.</summary>
    internal override long AllocatedMax(int inputBytes) => 256L << 20;

    internal override IEnumerable<byte[]> Seeds() => _paths.Select((path, i) => (byte[])[(byte)i, .. _template[path]]);

    internal override bool Expects(Exception refusal) => refusal is IOException or InvalidDataException or StaleEpochException or StreamGapException;

    internal override void Repair(byte[] input, Random random)
    {
        if (input.Length == 0) return;
        var file = input[1..];
        Checksums.File(_paths[input[0] % _paths.Length], file);
        file.CopyTo(input, 1);
    }

    internal override void Run(byte[] input)
    {
        if (input.Length == 0) return;
        var files = _template.Fork();
        files[_paths[input[0] % _paths.Length]] = input[1..];
        using var store = RetentionStore.Open(Folder, files, _clock, readOnly: input[0] >= 128);
        Each(() => store.Verify());
        foreach (var point in store.Points.Take(8)) Each(() => Look(store, point));
        if (store.ConsistentUpTo is { } newest) Each(() => Look(store, newest));
        if (input[0] >= 128) return;
        Each(() => store.HashesAsync(0, 0, 65536, 16, CancellationToken.None).AsTask().GetAwaiter().GetResult());
        Each(() => store.Scrub(4 << 20, CancellationToken.None));
        Each(() => store.DamageOfNewest());
        Each(() => store.Append(Next(store)));
        Each(() => store.Flush());
        Each(() => store.Maintain(new RetentionLimits(TimeSpan.FromSeconds(30), null, null), CancellationToken.None));
        Each(() => store.ProveNewest(4 << 20, CancellationToken.None));
        if (store.ConsistentUpTo is { } last) Each(() => store.Verify(last, CancellationToken.None));
    }

    /// <summary>One refusal says nothing of the rest.</summary>
    private void Each(Action look)
    {
        try
        {
            look();
        }
        catch (Exception refusal) when (Expects(refusal))
        {
            // That is how it refuses.
        }
    }

    private static void Look(RetentionStore store, RecoveryPoint point)
    {
        var view = store.At(point);
        var buffer = new byte[64 << 10];
        foreach (var disk in view.Disks.Where(d => d.SizeBytes <= 4 * DiskBytes))
            for (long at = 0; at < disk.SizeBytes; at += buffer.Length) view.Read(disk.Index, at, buffer.AsSpan(0, (int)Math.Min(buffer.Length, disk.SizeBytes - at)));
        view.Release();
    }

    private static Batch Next(RetentionStore store)
    {
        var held = store.Held;
        return BatchCodec.Encode(new BatchHeader
        {
            Kind = BatchKind.Marker, Marker = MarkerKind.Tick, MachineTag = BatchCodec.TagOf(store.Machine), Epoch = store.CurrentEpoch, Incarnation = held.Incarnation, Ordinal = held.Ordinal + 1,
            First = store.DurableSequence, Last = store.DurableSequence, Time = Begun.AddMinutes(30),
        }, [], []);
    }

    /// <summary>Of all kinds of files that there are: promoted and thinned segments, a fork, a note, a proof.</summary>
    private void Write(MemoryFiles files)
    {
        using var store = RetentionStore.Create(Folder, new MachineId("db1"), [new DiskGeometry(0, "vda", DiskBytes)], Epoch.First, files, _clock, null, new StoreOptions { SegmentBytesMax = 32 << 10 });
        var writer = new Stream(store);
        writer.Start();
        for (var minute = 0; minute < 12; minute++) writer.Minute(Begun.AddMinutes(minute), seconds: 6);
        store.Flush();
        var tiers = new Domain.Policies.RetentionTiers([new(TimeSpan.FromMinutes(2), TimeSpan.FromMinutes(10))]);
        store.Maintain(new RetentionLimits(TimeSpan.FromMinutes(3), null, tiers), CancellationToken.None);
        var fork = store.ConsistentUpTo!;
        store.OpenEpoch(fork.Epoch.Next(), fork);
        writer.Start();
        for (var minute = 12; minute < 15; minute++) writer.Minute(Begun.AddMinutes(minute), seconds: 6);
        store.Flush();
        store.Maintain(new RetentionLimits(TimeSpan.FromMinutes(3), null, tiers), CancellationToken.None);
        store.ProveNewest(64 << 20, CancellationToken.None);
        store.Verify(store.Points[^1], CancellationToken.None);
        store.Protect(store.Points[^1], true);
    }

    private sealed class Clock : TimeProvider
    {
        public override DateTimeOffset GetUtcNow() => Begun;
    }

    /// <summary>A source's stream into the store.</summary>
    private sealed class Stream(RetentionStore store)
    {
        private readonly Random _random = new(5);
        private long _incarnation, _ordinal;
        private long _sequence;

        internal void Start()
        {
            (_incarnation, _ordinal) = (_incarnation + 1, 0);
            _sequence = Math.Max(_sequence, store.DurableSequence.Value);
            Append(BatchKind.Marker, MarkerKind.StreamStart, Begun.AddMinutes(_incarnation == 1 ? 0 : 12), [], "continue"u8);
        }

        internal void Minute(DateTimeOffset from, int seconds)
        {
            for (var second = 0; second < 60; second += 60 / seconds)
            {
                var payload = new byte[4096];
                _random.NextBytes(payload.AsSpan(0, 1024));
                _sequence++;
                Append(BatchKind.Delta, MarkerKind.None, from.AddSeconds(second), [new Extent(_random.Next(DiskBytes / 4096) * 4096L, 4096, 0, ExtentKind.Data)], payload);
                Append(BatchKind.Marker, MarkerKind.CrashConsistentPoint, from.AddSeconds(second), [], []);
            }
        }

        private void Append(BatchKind kind, MarkerKind marker, DateTimeOffset time, Extent[] extents, ReadOnlySpan<byte> payload)
        {
            var header = new BatchHeader
            {
                Kind = kind, Marker = marker, MachineTag = BatchCodec.TagOf(store.Machine), Epoch = store.CurrentEpoch, Incarnation = _incarnation, Ordinal = ++_ordinal,
                First = new Sequence(_sequence), Last = new Sequence(_sequence), Time = time,
            };
            store.Append(BatchCodec.Compress(BatchCodec.Encode(header, extents, payload), PayloadCompression.Zstd));
        }
    }
}
