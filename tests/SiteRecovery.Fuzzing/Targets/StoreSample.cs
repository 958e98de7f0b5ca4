using System.Text;
using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.DataPlane.Keys;
using SiteRecovery.DataPlane.Retention;
using SiteRecovery.Domain.History;

namespace SiteRecovery.Fuzzing.Targets;

/// <summary>A small store with everything in it that a store may have.</summary>
internal sealed class StoreSample
{
    internal const string Folder = "/stores/db1";
    internal const int DiskBytes = 256 << 10;
    internal static readonly DateTimeOffset Begun = new(2026, 11, 28, 0, 0, 0, TimeSpan.Zero);
    internal static readonly MachineId Machine = new("db1");

    internal StoreSample(bool encrypted = false)
    {
        Options = new StoreOptions { SegmentBytesMax = 10 << 10, Keys = encrypted ? new KeyWrappings(new KeyFile("/store.key", new MemoryFiles { ["/store.key"] = Encoding.ASCII.GetBytes(new string('7', 64)) }), [], KeyWrappings.RenewAfterDefault) : null };
        Write(Files, Options);
        Paths = [.. Files.Paths];
    }

    internal StoreOptions Options { get; }
    internal static TimeProvider Clock { get; } = new StoppedClock();
    internal MemoryFiles Files { get; } = new();
    internal IReadOnlyList<string> Paths { get; }

    /// <summary>An input is a file's content behind a byte that says which; the upper half is for whoever reads it.</summary>
    internal IEnumerable<byte[]> Inputs => Paths.Select((path, i) => (byte[])[(byte)i, .. Files[path]]);

    internal string PathOf(byte[] input) => Paths[(input[0] & 127) % Paths.Count];

    internal void Repair(byte[] input)
    {
        if (input.Length == 0) return;
        var file = input[1..];
        Checksums.File(PathOf(input), file);
        file.CopyTo(input, 1);
    }

    /// <summary>Of all kinds of files that there are: promoted and thinned segments, a fork, a note, a proof.</summary>
    private static void Write(MemoryFiles files, StoreOptions options)
    {
        using var store = RetentionStore.Create(Folder, Machine, [new DiskGeometry(0, "vda", DiskBytes)], Epoch.First, files, Clock, null, options);
        if (options.Keys is not null) store.Encrypt(true);
        var writer = new Stream(store);
        writer.Start();
        for (var minute = 0; minute < 12; minute++) writer.Minute(Begun.AddMinutes(minute), seconds: 2);
        store.Flush();
        var tiers = new Domain.Policies.RetentionTiers([new(TimeSpan.FromMinutes(2), TimeSpan.FromMinutes(10))]);
        store.Maintain(new RetentionLimits(TimeSpan.FromMinutes(3), null, tiers), CancellationToken.None);
        var fork = store.ConsistentUpTo!;
        store.OpenEpoch(fork.Epoch.Next(), fork);
        writer.Start();
        for (var minute = 12; minute < 15; minute++) writer.Minute(Begun.AddMinutes(minute), seconds: 2);
        store.Flush();
        store.Maintain(new RetentionLimits(TimeSpan.FromMinutes(3), null, tiers), CancellationToken.None);
        store.ProveNewest(64 << 20, CancellationToken.None);
        store.Verify(store.Points[^1], CancellationToken.None);
        store.Protect(store.Points[^1], true);
    }

    private sealed class StoppedClock : TimeProvider
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
