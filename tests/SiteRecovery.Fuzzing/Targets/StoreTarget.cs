using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.DataPlane.Keys;
using SiteRecovery.DataPlane.Retention;
using SiteRecovery.Domain.History;

namespace SiteRecovery.Fuzzing.Targets;

/// <summary>
/// A whole retention store of which one file is not what was written: opened, looked at everywhere, proven, scrubbed, maintained, and appended to. The first byte says which file.
/// </summary>
/// <param name="encrypted">Of an encrypted one: its keys are others in each process, and so are its bytes.</param>
internal sealed class StoreTarget(bool encrypted) : FuzzTarget
{
    private const long DiskBytesLooked = 4 * StoreSample.DiskBytes;
    private readonly StoreSample _sample = new(encrypted);

    internal override string Name => encrypted ? "store-sealed" : "store";
    internal override int SelectorBytes => 1;
    internal override int InputBytesMax => 256 << 10;
    internal override IReadOnlyList<byte[]> Words { get; } = [.. JsonWords.Of("version", "epochs", "disks", "promoted", "thinned", "points", "checksum", "segment", "notes")];

    /// <summary>Every view of it allocates; nothing in it is larger than a piece of 1 MiB, of which verifying and promoting take some.</summary>
    internal override long AllocatedMax(int inputBytes) => 256L << 20;

    internal override IEnumerable<byte[]> Seeds() => _sample.Inputs;

    internal override bool Expects(Exception refusal) => refusal is IOException or InvalidDataException or StaleEpochException or StreamGapException or StoreLockedException;

    internal override void Repair(byte[] input, Random random) => _sample.Repair(input);

    internal string PathOf(byte[] input) => _sample.PathOf(input);

    internal override void Run(byte[] input)
    {
        if (input.Length == 0) return;
        var files = _sample.Files.Fork();
        files[_sample.PathOf(input)] = input[1..];
        using var store = RetentionStore.Open(StoreSample.Folder, files, StoreSample.Clock, readOnly: input[0] >= 128, _sample.Options);
        Each(() => store.Verify());
        foreach (var point in store.Points.TakeLast(2)) Each(() => Look(store, point));
        if (store.ConsistentUpTo is { } newest) Each(() => Look(store, newest));
        if (input[0] >= 128) return;
        Each(() => store.HashesAsync(0, 0, 65536, 16, CancellationToken.None).AsTask().GetAwaiter().GetResult());
        Each(() => store.Scrub(4 << 20, CancellationToken.None));
        Each(() => store.DamageOfNewest());
        Each(() => store.Append(Next(store)));
        Each(() => store.Flush());
        Each(() => store.Maintain(new RetentionLimits(TimeSpan.FromSeconds(30), null, null), CancellationToken.None));
        Each(() => store.ProveNewest(4 << 20, CancellationToken.None));
        // Of a disk that is said to be as large as can be all of it is read, which has no end here.
        if (store.ConsistentUpTo is { } last && store.Disks.All(d => d.SizeBytes <= DiskBytesLooked)) Each(() => store.Verify(last, CancellationToken.None));
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
        foreach (var disk in view.Disks.Where(d => d.SizeBytes <= DiskBytesLooked))
            for (long at = 0; at < disk.SizeBytes; at += buffer.Length) view.Read(disk.Index, at, buffer.AsSpan(0, (int)Math.Min(buffer.Length, disk.SizeBytes - at)));
        view.Release();
    }

    private static Batch Next(RetentionStore store)
    {
        var held = store.Held;
        return BatchCodec.Encode(new BatchHeader
        {
            Kind = BatchKind.Marker, Marker = MarkerKind.Tick, MachineTag = BatchCodec.TagOf(store.Machine), Epoch = store.CurrentEpoch, Incarnation = held.Incarnation, Ordinal = held.Ordinal + 1,
            First = store.DurableSequence, Last = store.DurableSequence, Time = StoreSample.Begun.AddMinutes(30),
        }, [], []);
    }
}
